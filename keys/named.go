package keys

import "bytes"

// Named gives the usable keys of a user, in the file's order.
func (f File) Named(name string) ([]*Key, error) {
	if CheckName(name) != nil {
		return nil, nil
	}
	// Only lines that have the name are parsed: a usable line has it exactly so.
	needle := []byte(`name="` + name + `"`)
	var found []*Key
	err := f.each(func(text []byte) bool {
		if !bytes.Contains(text, needle) {
			return true
		}
		if key, err := parseLine(text); err == nil && key != nil && key.Name == name {
			found = append(found, key)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	var usable []*Key
	for _, key := range found {
		first, err := f.Find(key.PublicKey) // an earlier line may have it, also another user's
		if err != nil {
			return nil, err
		}
		if first != nil && first.Name == name && !containsKey(usable, first) {
			usable = append(usable, first)
		}
	}
	return usable, nil
}

func containsKey(all []*Key, key *Key) bool {
	for _, k := range all {
		if sameKey(k.PublicKey, key.PublicKey) {
			return true
		}
	}
	return false
}
