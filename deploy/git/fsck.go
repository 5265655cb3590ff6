package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Flaw is what git's fsck found in an object that was pushed.
type Flaw struct {
	Object string // oid
	ID     string // git's message id, such as zeroPaddedFilemode: git-fsck(1), FSCK MESSAGES
}

// FlawWatch looks for the first flaw in what receive-pack writes to a client with a side band, which is a sequence of
// pkt-lines (gitprotocol-common(5)); of those that begin with a 2, git's words (gitprotocol-pack(5)).
type FlawWatch struct {
	mu   sync.Mutex
	in   []byte // of a pkt-line that has not come whole
	left int    // of the pkt-line to be taken in; 0: its length comes next
	line []byte // of git's words, so far
	flaw Flaw
}

// maxFlawLine bounds a line that is looked at, in bytes.
const maxFlawLine = 1024

// On is w, watched.
func (f *FlawWatch) On(w io.Writer) io.Writer { return &flawWriter{w, f} }

// Found is the flaw; zero: none was found.
func (f *FlawWatch) Found() Flaw {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flaw
}

type flawWriter struct {
	io.Writer
	f *FlawWatch
}

func (w *flawWriter) Write(b []byte) (int, error) {
	w.f.take(b)
	return w.Writer.Write(b)
}

func (f *FlawWatch) take(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(b) > 0 && f.left >= 0 {
		want := f.left
		if want == 0 {
			want = 4
		}
		n := min(want-len(f.in), len(b))
		f.in, b = append(f.in, b[:n]...), b[n:]
		if len(f.in) < want {
			return
		}
		f.packet(f.left == 0)
		f.in = f.in[:0]
	}
}

// packet takes in a length, or what is behind it. What is no pkt-line ends the watch.
func (f *FlawWatch) packet(isLength bool) {
	if isLength {
		size, err := strconv.ParseUint(string(f.in), 16, 16)
		switch {
		case err != nil:
			f.left = -1
		case size > 4: // else a flush, or nothing is in it
			f.left = int(size) - 4
		}
		return
	}
	f.left = 0
	if f.in[0] != 2 {
		return
	}
	for part := range bytes.Lines(f.in[1:]) {
		if len(f.line) < maxFlawLine {
			f.line = append(f.line, part...)
		}
		if part[len(part)-1] != '\n' {
			continue
		}
		if found := flawLine.FindSubmatch(f.line); found != nil && f.flaw.ID == "" {
			f.flaw = Flaw{string(found[1]), string(found[2])}
		}
		f.line = f.line[:0]
	}
}

// flawLine is what index-pack says of an object that fsck finds a fault with (fsck_objects_error_function in fsck.c).
var flawLine = regexp.MustCompile(`^error: object ([0-9a-f]{40,64}): ([A-Za-z]{1,60}): `)

// FsckLevels are what git can make of a flaw (git-fsck(1), fsck.<msg-id>).
func FsckLevels() []string { return []string{"ignore", "warn", "error"} }

// CheckFsck refuses a level of a flaw that receive-pack would not take: it passes over an id that it does not know, and
// fails with one that cannot be ignored. (fault.Usage.)
func CheckFsck(ctx context.Context, gitDir, id, level string) error {
	refuse := func(what, remedy string) error { return fault.New(fault.Usage, what, remedy) }
	if !slices.Contains(FsckLevels(), level) {
		return refuse(fmt.Sprintf("%q is none of %s", text.Clip(level), strings.Join(FsckLevels(), ", ")),
			"such as zeroPaddedFilemode=ignore")
	}
	const known = "git's message names the id, such as zeroPaddedFilemode; git help fsck lists all"
	if !isFsckID(id) {
		return refuse(fmt.Sprintf("%q is no message id of git's fsck", text.Clip(id)), known)
	}
	// It says what is wrong with the ids before it says that there is no such pack.
	const noPack = "refship-no-such.pack"
	_, err := Run(ctx, gitDir, "index-pack", "--strict="+id+"="+level, noPack)
	var failed *Error
	switch {
	case !errors.As(err, &failed):
		return err
	case strings.Contains(failed.Said, noPack):
		return nil
	case failed.exitCode() != 128:
		return err
	}
	return refuse(fmt.Sprintf("git takes no %s=%s: %s", id, level, strings.TrimPrefix(failed.Said, "fatal: ")), known)
}

func isFsckID(id string) bool {
	isLetter := func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
	return id != "" && len(id) <= 60 && !strings.ContainsFunc(id, func(r rune) bool { return !isLetter(r) })
}

// receiveFsck is the section of the settings of receive-pack's fsck.
const receiveFsck = "receive.fsck."

// FsckKey is the setting of a repository's git config that says what receive-pack makes of a flaw.
func FsckKey(id string) string { return receiveFsck + id }

// ReadFsck gives these settings of a repository, as "id=level" with the id in lower case, as git lists it, sorted.
func ReadFsck(ctx context.Context, gitDir string) ([]string, error) {
	out, err := Run(ctx, gitDir, "config", "--local", "--get-regexp", `^receive\.fsck\.[a-z]+$`)
	var failed *Error
	if errors.As(err, &failed) && failed.exitCode() == 1 {
		return nil, nil // there are none
	}
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		key, level, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if id := strings.TrimPrefix(key, receiveFsck); id != "skiplist" {
			all = append(all, id+"="+level)
		}
	}
	slices.Sort(all)
	return all, nil
}
