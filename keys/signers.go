package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

const (
	// maxSigners bounds an allowed signers file, in bytes, and maxSignerLines in lines: some thousand keys.
	maxSigners     = 1 << 20
	maxSignerLines = 10_000
)

// AllowedSigners says whose signatures count. The zero AllowedSigners allows nobody. It does not change by being asked,
// so goroutines may share it.
type AllowedSigners struct {
	lines    map[string][]placed // by fingerprint, in the order of the sources and their lines
	unusable []error             // of all sources, in that order
	broken   map[string]error    // by fingerprint: the first unusable line of a key that could be read
}

// placed is a signer, and where it comes from.
type placed struct {
	*Signer
	place string // PATH:LINE, or in words
}

// NewAllowedSigners allows one signer; source says in messages where that comes from.
func NewAllowedSigners(source string, s *Signer) *AllowedSigners {
	a := new(AllowedSigners)
	a.add(s, source)
	return a
}

// ReadAllowedSigners reads a file of OpenSSH's format. A line that is not usable allows nobody, and the others count. A
// file that others may write, that is no regular file, or that is over 1 MiB or 10,000 lines is refused as a whole; a
// missing one is fs.ErrNotExist.
func ReadAllowedSigners(path string) (*AllowedSigners, error) {
	text, err := readSigners(path)
	if err == nil {
		var a *AllowedSigners
		if a, err = parseSigners(path, text, time.Local); err == nil {
			return a, nil
		}
	}
	return nil, fmt.Errorf("read allowed signers: %w", err)
}

func readSigners(path string) ([]byte, error) {
	file, err := openGuarded(path, 0o002, "others may write it")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(file, maxSigners+1))
	if err != nil {
		return nil, err
	}
	return text, nil
}

// parseSigners reads a file's text; times without Z are of that location.
func parseSigners(path string, text []byte, local *time.Location) (*AllowedSigners, error) {
	const remedy = "remove lines that are not needed"
	if len(text) > maxSigners {
		return nil, withRemedy(remedy, "%s has more than %d bytes", path, maxSigners)
	}
	a := new(AllowedSigners)
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n > maxSignerLines {
			return nil, withRemedy(remedy, "%s has more than %d lines", path, maxSignerLines)
		}
		s, err := parseSigner(line, local)
		switch {
		case err != nil:
			a.addBroken(s.PublicKey, lineError(path, n, err))
		case s != nil:
			a.add(s, fmt.Sprintf("%s:%d", path, n))
		}
	}
	return a, nil
}

func (a *AllowedSigners) add(s *Signer, place string) {
	a.addLines(ssh.FingerprintSHA256(s.PublicKey), placed{s, place})
}

func (a *AllowedSigners) addLines(fingerprint string, lines ...placed) {
	if a.lines == nil {
		a.lines = make(map[string][]placed)
	}
	a.lines[fingerprint] = append(a.lines[fingerprint], lines...)
}

// addBroken keeps an unusable line; pub is nil if its key could not be read.
func (a *AllowedSigners) addBroken(pub ssh.PublicKey, line error) {
	a.unusable = append(a.unusable, line)
	if pub != nil {
		a.setBroken(ssh.FingerprintSHA256(pub), line)
	}
}

func (a *AllowedSigners) setBroken(fingerprint string, line error) {
	if a.broken == nil {
		a.broken = make(map[string]error)
	}
	if a.broken[fingerprint] == nil {
		a.broken[fingerprint] = line
	}
}

// Merge allows what another source allows, too.
func (a *AllowedSigners) Merge(more *AllowedSigners) {
	for fingerprint, lines := range more.lines {
		a.addLines(fingerprint, lines...)
	}
	a.unusable = append(a.unusable, more.unusable...)
	for fingerprint, line := range more.broken {
		a.setBroken(fingerprint, line)
	}
}

// Following gives signers that allow a key, too, which another one of them has announced at a time as the one that
// follows it: from then on, for the same namespaces and people, and for no longer than the other one itself. Both are
// named by their fingerprints. place says in messages where it was announced.
func (a *AllowedSigners) Following(by, next string, at time.Time, place string) *AllowedSigners {
	all := new(AllowedSigners)
	all.Merge(a)
	for _, line := range a.lines[by] {
		if line.judge(Namespace, at) != "" {
			continue
		}
		follows := *line.Signer
		follows.PublicKey, follows.Namespaces, follows.After = nil, Namespace, at
		all.addLines(next, placed{&follows, place})
	}
	return all
}

// Unusable gives the lines that are not usable. They allow nobody.
func (a *AllowedSigners) Unusable() []error { return a.unusable }

// Knows tells whether a usable line has the key of this fingerprint, no matter what it allows.
func (a *AllowedSigners) Knows(fingerprint string) bool { return len(a.lines[fingerprint]) > 0 }

// Judge says whether a signature counts that the key of this fingerprint ("SHA256:…") made in a namespace at a time,
// and who signed: the principals of the first line that allows it. The signature itself is [Verify]'s question. Times
// are compared in whole seconds, as OpenSSH does. An error is fault.Corrupt and says why not; where several lines have
// the key, it is about the first.
func (a *AllowedSigners) Judge(namespace, fingerprint string, at time.Time) (principals string, err error) {
	for _, line := range a.lines[fingerprint] {
		why := line.judge(namespace, at)
		if why == "" {
			return line.Principals, nil
		}
		if err == nil {
			what := fmt.Sprintf("%s, of %s, %s (%s)", fingerprint, line.Principals, why, line.place)
			err = fault.New(fault.Corrupt, what, "find out who signed with it; if that was right, correct that line")
		}
	}
	if err != nil {
		return "", err
	}
	unknown := &fault.Error{
		Kind: fault.Corrupt, What: fingerprint + " is not an allowed signer",
		Remedy: "if you trust that key, add its line to the allowed signers",
	}
	if broken := a.broken[fingerprint]; broken != nil {
		unknown.What += ": " + broken.Error()
		unknown.Remedy, unknown.Cause = fault.RemedyOf(broken), broken
	}
	return "", unknown
}

// judge says why the line does not allow a signature, "" if it does.
func (s *Signer) judge(namespace string, at time.Time) (why string) {
	signed := "it signed at " + at.UTC().Format(time.RFC3339)
	switch {
	case !matchList(namespace, s.Namespaces):
		return fmt.Sprintf("may not sign in the namespace %q, only in %q", namespace, s.Namespaces)
	case !s.After.IsZero() && at.Unix() < s.After.Unix():
		return fmt.Sprintf("is allowed only from %s on, and %s", s.After.UTC().Format(time.RFC3339), signed)
	case !s.Before.IsZero() && at.Unix() > s.Before.Unix():
		return fmt.Sprintf("was allowed only until %s, and %s", s.Before.UTC().Format(time.RFC3339), signed)
	}
	return ""
}

// AppendSigners adds lines to an allowed signers file, which it makes (0600) if needed; what the file has already stays
// as it is. A crash leaves the old file or the new one.
func AppendSigners(path string, signers ...*Signer) error {
	path, err := followLinks(path)
	if err != nil {
		return fmt.Errorf("add allowed signers: %w", err)
	}
	unlock, err := lock(path)
	if err != nil {
		return fmt.Errorf("add allowed signers: %w", err)
	}
	defer unlock()
	text, err := readSigners(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read allowed signers: %w", err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	err = nil
	for _, s := range signers {
		line := []byte(s.Line())
		if _, wrong := parseSigner(line, time.Local); wrong != nil && err == nil {
			err = wrong
		}
		text = append(text, line...)
	}
	if err == nil {
		_, err = parseSigners(path, text, time.Local)
	}
	if err == nil {
		err = disk.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("add allowed signers: %w", err)
	}
	return nil
}

// followLinks gives what a path leads to, so that a symbolic link stays one when the file is replaced.
func followLinks(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return target, err
}
