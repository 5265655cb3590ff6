package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// File is an authorized_keys file. It is read anew at each call, so a change is seen at once.
// Changes are atomic and exclude each other between processes. A missing file has no keys.
// A file that group or others may write is refused as a whole, as sshd does.
type File struct{ Path string }

// entry is one line of the file: a comment (no key, no error), a usable key, or an error with what was understood of the key.
type entry struct {
	raw  []byte // with its newline
	key  *Key
	err  error
	twin int // index of the usable entry that has the same key already, or -1
}

func (e *entry) usable() bool { return e.key != nil && e.err == nil }

// List gives the usable keys and the lines that are not usable, both in the file's order.
func (f File) List() (keys []*Key, bad []*LineError, err error) {
	entries, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	for i, e := range entries {
		switch {
		case e.err != nil:
			bad = append(bad, &LineError{Path: f.Path, Line: i + 1, Err: e.err})
		case e.key != nil:
			keys = append(keys, e.key)
		}
	}
	return keys, bad, nil
}

// Find gives the usable key with these bytes, or nil, nil if there is none.
func (f File) Find(pub ssh.PublicKey) (*Key, error) {
	entries, err := f.read()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.usable() && sameKey(e.key.PublicKey, pub) {
			return e.key, nil
		}
	}
	return nil, nil
}

// Add appends a key; what the file has already stays as it is, byte for byte. A key that is there already, also on a line that is not
// usable, is refused: to change its rules, edit its line.
func (f File) Add(name string, pub ssh.PublicKey, comment string, rules []Rule) error {
	key := &Key{Name: name, Rules: rules, PublicKey: pub, Comment: strings.TrimSpace(comment)}
	if err := key.check(); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	err := f.change(func(entries []entry) ([]byte, error) {
		var text []byte
		for i, e := range entries {
			if e.key != nil && e.key.PublicKey != nil && sameKey(e.key.PublicKey, pub) {
				return nil, f.presentError(&e, i+1)
			}
			text = append(text, e.raw...)
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
func (f File) presentError(e *entry, line int) error {
	hint := fmt.Sprintf("to change what the key may do, edit line %d of %s", line, f.Path)
	owner := e.key.Name
	if owner == "" {
		owner = "nobody"
	}
	if e.err != nil {
		return withHint(hint, "%s is there already, as a key of %s in line %d, which is not usable: %w",
			e.key.Fingerprint(), owner, line, e.err)
	}
	return withHint(hint, "%s is there already, as a key of %s in line %d", e.key.Fingerprint(), owner, line)
}

// Remove takes out every line of the user name, usable or not, and gives their number. With a key goes any later line that has
// the same key under another name: it was not usable, and must not become so by removing the first. Without a line of that name it is an error
// whose hint lists the names.
func (f File) Remove(name string) (int, error) {
	removed := 0
	err := f.change(func(entries []entry) ([]byte, error) {
		var text []byte
		var names []string
		gone := func(e *entry) bool { return e.key != nil && e.key.Name == name && name != "" }
		for _, e := range entries {
			if gone(&e) || e.twin >= 0 && gone(&entries[e.twin]) {
				removed++
				continue
			}
			text = append(text, e.raw...)
			if e.key != nil && e.key.Name != "" {
				names = append(names, e.key.Name)
			}
		}
		if removed == 0 {
			return nil, f.unknownNameError(name, names)
		}
		return text, nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove keys of %s: %w", name, err)
	}
	return removed, nil
}

func (f File) unknownNameError(name string, names []string) error {
	slices.Sort(names)
	hint := "there are no keys yet"
	if names = slices.Compact(names); len(names) > 0 {
		hint = "there are keys of " + strings.Join(names, ", ")
	}
	return withHint(hint, "no line of user %q in %s", name, f.Path)
}

// change lets edit make the file's new text from its lines, with every other change excluded.
func (f File) change(edit func([]entry) ([]byte, error)) error {
	// A symbolic link stays one: the file it points to is changed.
	path, err := filepath.EvalSymlinks(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		path = f.Path
	} else if err != nil {
		return err
	}
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := f.read()
	if err != nil {
		return err
	}
	text, err := edit(entries)
	if err != nil {
		return err
	}
	return replace(path, text, 0o600)
}

// read parses the file as it is now.
func (f File) read() ([]entry, error) {
	text, err := readGuarded(f.Path, 0o022, "group or others may write it")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read authorized keys: %w", err)
	}
	var entries []entry
	first := make(map[string]int) // key bytes to the usable entry that has them
	for raw := range bytes.Lines(text) {
		e := entry{raw: raw, twin: -1}
		e.key, e.err = parseLine(raw)
		if e.key != nil {
			e.key.Line = len(entries) + 1
		}
		if e.key != nil && e.key.PublicKey != nil {
			id := string(e.key.PublicKey.Marshal())
			if i, there := first[id]; there {
				e.twin = i
				if e.err == nil {
					e.err = fmt.Errorf("the same key as in line %d, of %s", i+1, entries[i].key.Name)
				}
			} else if e.err == nil {
				first[id] = len(entries)
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// check refuses what could not be read back as it was given.
func (k *Key) check() error {
	if err := checkName(k.Name); err != nil {
		return err
	}
	if err := checkPublicKey(k.PublicKey); err != nil {
		return err
	}
	if err := checkText(k.Comment); err != nil {
		return fmt.Errorf("comment %q: %w", k.Comment, err)
	}
	if len(k.Rules) == 0 {
		return withHint(rulesHint, "no rules given")
	}
	for _, r := range k.Rules {
		if _, err := parseRule(r.String()); err != nil {
			return withHint(rulesHint, "parse rule %q: %w", r, err)
		}
	}
	return nil
}

// readGuarded reads a regular file, and refuses one whose mode has a forbidden bit; why says what that bit allows.
func readGuarded(path string, forbidden fs.FileMode, why string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode()&forbidden != 0 {
		return nil, withHint("chmod 600 "+path, "%s has mode %04o: %s", path, info.Mode().Perm(), why)
	}
	return io.ReadAll(f)
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
