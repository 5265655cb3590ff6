package keys

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Set gives the keys of a user name these rules, or, with a fingerprint, that key alone. The other lines stay as they
// are, byte for byte. It gives the keys as they are now. Errors: no line has that name, or none of them that key; a
// line of the name that is not usable, which Set does not guess about: then nothing is changed.
func (f File) Set(name, fingerprint string, rules []Rule) ([]*Key, error) {
	var set []*Key
	err := f.change(func(text []byte) ([]byte, error) {
		var all []byte
		var seen lines
		p := newParser()
		for raw := range bytes.Lines(text) {
			e := p.next(raw)
			if seen.add(&e); !e.isOf(name, fingerprint) {
				all = append(all, raw...)
				continue
			}
			if e.err != nil {
				return nil, lineError(f.Path, e.line, e.err)
			}
			key := *e.key
			key.Rules = rules
			if err := key.check(); err != nil {
				return nil, err
			}
			all, set = append(all, key.line()...), append(set, &key)
		}
		if len(set) == 0 {
			return nil, seen.unknownError(f.Path, name, fingerprint)
		}
		return all, nil
	})
	if err != nil {
		return nil, fmt.Errorf("set rules of %s: %w", name, err)
	}
	return set, nil
}

// Remove takes out every line of a user name, usable or not, and gives their number; with a fingerprint it takes out
// that key alone. With a key goes any later line that has the same key under another name: it was not usable, and must
// not become so by removing the first. Without such a line it is an error whose hint lists what there is.
func (f File) Remove(name, fingerprint string) (int, error) {
	removed := 0
	err := f.change(func(text []byte) ([]byte, error) {
		var kept []byte
		var seen lines
		p := newParser()
		for raw := range bytes.Lines(text) {
			e := p.next(raw)
			twin := entry{key: e.twin}
			if e.isOf(name, fingerprint) || twin.isOf(name, fingerprint) {
				removed++
				continue
			}
			kept = append(kept, raw...)
			seen.add(&e)
		}
		if removed == 0 {
			return nil, seen.unknownError(f.Path, name, fingerprint)
		}
		return kept, nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove keys of %s: %w", name, err)
	}
	return removed, nil
}

// isOf tells whether a line is one of a user name, with that key if there is a fingerprint.
func (e *entry) isOf(name, fingerprint string) bool {
	return e.key != nil && e.key.Name == name && name != "" &&
		(fingerprint == "" || e.key.PublicKey != nil && e.key.Fingerprint() == fingerprint)
}

// lines are those that an error names when the one that was asked for is not there.
type lines []*Key

func (l *lines) add(e *entry) {
	if e.key != nil && e.key.Name != "" {
		*l = append(*l, e.key)
	}
}

// unknownError lists the keys of the name, or the names.
func (l lines) unknownError(path, name, fingerprint string) error {
	var names, prints []string
	for _, key := range l {
		names = append(names, key.Name)
		if key.Name == name && key.PublicKey != nil {
			prints = append(prints, key.Fingerprint())
		}
	}
	if len(prints) > 0 {
		return withRemedy("there are "+strings.Join(prints, ", "), "user %q has no key %q in %s", name, fingerprint, path)
	}
	slices.Sort(names)
	remedy := "there are no keys yet"
	if names = slices.Compact(names); len(names) > 0 {
		remedy = "there are keys of " + strings.Join(names, ", ")
	}
	return withRemedy(remedy, "no line of user %q in %s", name, path)
}
