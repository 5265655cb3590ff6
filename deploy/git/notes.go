package git

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// Notes are what is written at commits of a repository, at NotesRef (git-notes(1)).
type Notes struct {
	gitDir  string
	tip     OID    // of the ref; zero: there is none
	Message string // of the ref's newest commit; "": there is none
}

// ReadNotes reads how far the notes of the repository at gitDir are.
func ReadNotes(ctx context.Context, gitDir string) (*Notes, error) {
	out, err := Run(ctx, gitDir, "for-each-ref", "--format=%(objectname)%0a%(contents)", NotesRef)
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	digits, message, there := strings.Cut(string(out), "\n")
	n := &Notes{gitDir: gitDir, Message: message}
	if !there {
		return n, nil
	}
	if n.tip, err = ParseOID(digits); err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	return n, nil
}

// List gives the blobs of notes by the commits that they are at.
func (n *Notes) List(ctx context.Context) (map[OID]OID, error) {
	list, err := Run(ctx, n.gitDir, "notes", "--ref="+NotesRef, "list")
	if err != nil {
		return nil, err
	}
	blobs := make(map[OID]OID)
	for line := range strings.Lines(string(list)) {
		digits, commit, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		at, err := ParseOID(commit)
		if err == nil {
			blobs[at], err = ParseOID(digits)
		}
		if err != nil {
			return nil, fmt.Errorf("list notes: git printed %.100q", line)
		}
	}
	return blobs, nil
}

// NotesChange is a commit of notes.
type NotesChange struct {
	Message string
	Time    time.Time
	All     bool           // Notes are all that there shall be
	Notes   map[OID]string // texts, by commits of the repository
}

// Write makes one commit of a change, on top of the notes that were read. It fails where the ref has moved since. No
// hook runs: the repository, and its reference-transaction, may be somebody else's.
func (n *Notes) Write(ctx context.Context, change *NotesChange) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "commit %s\ncommitter refship <refship@localhost> %d +0000\ndata %d\n%s\n", NotesRef,
		change.Time.Unix(), len(change.Message), change.Message)
	if !n.tip.IsZero() {
		fmt.Fprintf(&b, "from %s\n", n.tip)
	}
	if change.All {
		b.WriteString("deleteall\n")
	}
	for commit, text := range change.Notes {
		fmt.Fprintf(&b, "N inline %s\ndata %d\n%s\n", commit, len(text), text)
	}
	b.WriteString("done\n")
	const name = "fast-import"
	cmd := command(ctx, n.gitDir, Env(n.gitDir), "-c", "core.fsync=committed,reference", "-c", "core.fsyncMethod=fsync",
		"-c", "core.hooksPath=/dev/null", name, "--quiet", "--done", "--date-format=raw")
	cmd.Stdin = &b
	if _, err := output(ctx, cmd, name, limits{nice: 1}); err != nil {
		return fmt.Errorf("write notes: %w", err)
	}
	return nil
}
