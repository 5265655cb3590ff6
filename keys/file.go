package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/text"
)

// File is an authorized_keys file. It is read anew at each call, so a change is seen at once.
// Changes are atomic and exclude each other between processes. A missing file has no keys.
// A file that group or others may write is refused as a whole, as sshd does; so is one over 64 MiB.
type File struct{ Path string }

const (
	// maxFile bounds the file, in bytes: some 600,000 keys. Looking one of them up takes some tens of milliseconds.
	maxFile = 64 << 20
	// maxLine bounds a line, in bytes, as OpenSSH does (SSH_MAX_PUBKEY_BYTES). A longer one is not usable.
	maxLine = 16 << 10
	// maxBad is how many lines that are not usable List names one by one.
	maxBad = 1000
)

// entry is one line of the file: a comment (no key, no error), a usable key, or an error with what was understood of
// the key.
type entry struct {
	line int // 1-based
	key  *Key
	err  error
	twin *Key // the usable key of an earlier line that has the same bytes, or nil
}

// parser tells the lines of one file apart, in their order.
type parser struct {
	line  int
	first map[string]*Key // key bytes to the usable key that has them
}

func newParser() *parser { return &parser{first: make(map[string]*Key)} }

func (p *parser) next(text []byte) entry {
	p.line++
	e := entry{line: p.line}
	e.key, e.err = parseLine(text)
	if e.key == nil || e.key.PublicKey == nil {
		return e
	}
	e.key.Line = p.line
	id := string(e.key.PublicKey.Marshal())
	if e.twin = p.first[id]; e.twin != nil && e.err == nil {
		e.err = withRemedy("remove one of the two lines", "the same key as in line %d, of %s", e.twin.Line, e.twin.Name)
	}
	if e.err == nil {
		p.first[id] = e.key
	}
	return e
}

// List gives the usable keys and the lines that are not usable, both in the file's order. After the first 1,000 of
// these, one more stands for the rest, and says how many they are.
func (f File) List() (keys []*Key, bad []error, err error) {
	p, more, last := newParser(), 0, 0 // last is the number of the last line in bad
	err = f.each(func(text []byte) bool {
		switch e := p.next(text); {
		case e.err != nil && len(bad) == maxBad:
			more++
		case e.err != nil:
			bad, last = append(bad, lineError(f.Path, e.line, e.err)), e.line
		case e.key != nil:
			keys = append(keys, e.key)
		}
		return true
	})
	if err != nil {
		return nil, nil, err
	}
	if more > 0 {
		rest := fmt.Errorf("from here on %d more lines are not usable", more)
		bad = append(bad, lineError(f.Path, last+1, rest))
	}
	return keys, bad, nil
}

// Find gives the usable key with these bytes. Where no line has them it gives nil, nil; where lines have them of
// which none is usable, the first one's [ErrLine].
func (f File) Find(pub ssh.PublicKey) (*Key, error) {
	// Only lines that hold the key's base64 are parsed: a usable line has it exactly so.
	needle := keyBase64(pub)
	var found *Key
	var unusable error
	line := 0
	err := f.each(func(text []byte) bool {
		line++
		if !bytes.Contains(text, needle) {
			return true
		}
		key, err := parseLine(text)
		switch {
		case err != nil && unusable == nil:
			unusable = lineError(f.Path, line, err)
		case err == nil && key != nil && sameKey(key.PublicKey, pub): // else it is in a comment
			key.Line, found = line, key
		}
		return found == nil
	})
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, unusable
	}
	return found, nil
}

// each calls fn with each line of the file as it is now, until fn gives false. Of a line that is too long it gives
// the beginning, which is too long as well. The text is good for the time of the call.
func (f File) each(fn func(text []byte) bool) error {
	file, err := openGuarded(f.Path, 0o022, "group or others may write it")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read authorized keys: %w", err)
	}
	defer func() { _ = file.Close() }() // it is only read
	err = f.checkSize(file)
	in := bufio.NewReaderSize(file, maxLine+2)
	for more := true; more && err == nil; {
		var text []byte
		text, err = in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			text = bytes.Clone(text)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
		}
		if len(text) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			more = fn(text)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read authorized keys: %w", err)
	}
	return nil
}

func (f File) checkSize(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return f.checkLength(info.Size())
}

func (f File) checkLength(size int64) error {
	if size > maxFile {
		return withRemedy("remove lines that are not needed",
			"%s: %d bytes are more than the limit of %d", f.Path, size, maxFile)
	}
	return nil
}

// Add appends a key; what the file has already stays as it is, byte for byte. A key that is there already, also on a
// line that is not usable, is refused: to change its rules, edit its line.
func (f File) Add(name string, pub ssh.PublicKey, comment string, rules []Rule) error {
	key := &Key{Name: name, Rules: rules, PublicKey: pub, Comment: strings.TrimSpace(comment)}
	if err := key.check(); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	err := f.change(func(text []byte) ([]byte, error) {
		p := newParser()
		for raw := range bytes.Lines(text) {
			if e := p.next(raw); e.key != nil && e.key.PublicKey != nil && sameKey(e.key.PublicKey, pub) {
				return nil, f.presentError(&e)
			}
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return append(text, key.line()...), nil
	})
	if err != nil {
		return fmt.Errorf("add key of %s: %w", name, err)
	}
	return nil
}

// presentError says whose key it is that is there already.
func (f File) presentError(e *entry) error {
	remedy := fmt.Sprintf("to change what the key may do, edit line %d of %s", e.line, f.Path)
	there := fmt.Sprintf("%s is there already, in line %d", e.key.Fingerprint(), e.line)
	if e.key.Name != "" {
		there = fmt.Sprintf("%s is there already, as a key of %s in line %d", e.key.Fingerprint(), e.key.Name, e.line)
	}
	if e.err != nil {
		return withRemedy(remedy, "%s, which is not usable: %w", there, e.err)
	}
	return withRemedy(remedy, "%s", there)
}

// change lets edit make the file's new text from the old one, with every other change excluded.
func (f File) change(edit func(text []byte) ([]byte, error)) error {
	path, err := followLinks(f.Path)
	if err != nil {
		return err
	}
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	text, err := f.read()
	if err != nil {
		return fmt.Errorf("read authorized keys: %w", err)
	}
	if text, err = edit(text); err != nil {
		return err
	}
	if err := f.checkLength(int64(len(text))); err != nil {
		return err
	}
	return disk.WriteFile(path, text, 0o600)
}

// read gives the file's whole text as it is now.
func (f File) read() ([]byte, error) {
	file, err := openGuarded(f.Path, 0o022, "group or others may write it")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it is only read
	if err := f.checkSize(file); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// check refuses what could not be read back as it was given.
func (k *Key) check() error {
	if err := CheckName(k.Name); err != nil {
		return err
	}
	if err := checkPublicKey(k.PublicKey); err != nil {
		return err
	}
	if err := checkText(k.Comment); err != nil {
		return fmt.Errorf("comment %q: %w", k.Comment, err)
	}
	if len(k.Rules) == 0 {
		return withRemedy(rulesRemedy, "no rules given")
	}
	for _, r := range k.Rules {
		if _, err := parseRule(r.String()); err != nil {
			return withRemedy(rulesRemedy, "parse rule %q: %w", r, err)
		}
	}
	return checkLineLength(len(k.line()))
}

// openGuarded opens a regular file to read, and refuses one whose mode has a forbidden bit; why says what that bit
// allows. It does not wait for the other end of a FIFO.
func openGuarded(path string, forbidden fs.FileMode, why string) (*os.File, error) {
	f, err := disk.Open(path, math.MaxInt64) // each caller has a bound of its own
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Mode()&forbidden != 0:
		err = withRemedy("chmod 600 "+text.Quote(path), "%s has mode %04o: %s", path, info.Mode().Perm(), why)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
