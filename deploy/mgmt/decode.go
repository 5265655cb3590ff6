package mgmt

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/tree"
)

const maxSuperblock = 2 << 20 // bytes that are decoded: more than mgmt's etcd client could send

// DecodePayload reads the value of deploy/<N>/payload, made by this package or by mgmt. It refuses what mgmt would
// not run.
func DecodePayload(value []byte) (*Payload, error) {
	p, err := decodePayload(value)
	if err != nil {
		return nil, fmt.Errorf("decode payload: %w", err)
	}
	return p, nil
}

func decodePayload(value []byte) (*Payload, error) {
	if len(value) > maxPayload {
		return nil, fmt.Errorf("it has %d bytes (limit %d)", len(value), maxPayload)
	}
	if bytes.ContainsAny(value, "\r\n") {
		return nil, errors.New("more than one line of base64")
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	n, err := base64.StdEncoding.Strict().Decode(raw, value)
	if err != nil {
		return nil, err
	}
	if err := register(); err != nil {
		return nil, err
	}
	var w wirePayload
	if err := decodeGob(raw[:n], &w); err != nil {
		return nil, err
	}
	p := &Payload{Frontend: w.Name, Settings: Settings{
		Noop: w.Noop, Sema: w.Sema, NoAutoEdges: w.NoAutoEdges, NoAutoGroup: w.NoAutoGroup,
	}}
	is := "" // the frontend by what mgmt dispatches on
	switch g := w.GAPI.(type) {
	case *langGAPI:
		if g.Data == nil || g.Data.UnificationStrategy == nil {
			return nil, errors.New("lang without a UnificationStrategy, which mgmt does not run")
		}
		is, p.InputURI = Lang, g.InputURI
		p.setStrategy(g.Data.UnificationStrategy)
	case *yamlGAPI:
		is, p.InputURI = YAML, g.InputURI
	case *puppetGAPI:
		is, p.InputURI, p.Mode = Puppet, g.InputURI, g.Mode
	case *emptyGAPI:
		is = Empty
	case nil:
		return nil, errors.New("no frontend in it")
	default: // a type that another package of this process has registered
		return nil, fmt.Errorf("%T is not one of mgmt's frontends", g)
	}
	if w.Name != is {
		return nil, fmt.Errorf("it is called %q and holds frontend %s", w.Name, is)
	}
	return p, p.check()
}

// decodeGob reads exactly one value. gob's reader turns bad input into errors, but makes no promise to: should it
// panic, that is an error, too.
func decodeGob(raw []byte, into any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gob: %v", r)
		}
	}()
	r := bytes.NewReader(raw)
	if err := gob.NewDecoder(r).Decode(into); err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%d bytes after its end", r.Len())
	}
	return nil
}

// DecodeSuperblock reads the value of a superblock, made by this package or by mgmt, in the order in which it stands
// there. It takes at most 2 MiB, 2,048 directories in each other, and only what mgmt's reader finds its way in. Names
// are one path element, but may be ".git" (tree.ErrDotGit), and modes any that mgmt writes: a caller that makes files of
// them has to look.
func DecodeSuperblock(value []byte) (*File, error) {
	f, err := decodeSuperblock(value)
	if err != nil {
		return nil, fmt.Errorf("decode superblock: %w", err)
	}
	return f, nil
}

func decodeSuperblock(value []byte) (*File, error) {
	if len(value) > maxSuperblock {
		return nil, fmt.Errorf("it has %d bytes (limit %d)", len(value), maxSuperblock)
	}
	if err := checkNesting(value); err != nil {
		return nil, err
	}
	var w wireSuperblock
	if err := decodeGob(value, &w); err != nil {
		return nil, err
	}
	if w.DataPrefix != dataPrefix || w.Hash != hashName {
		return nil, fmt.Errorf("contents are at %q by %q, not at %q by %q", w.DataPrefix, w.Hash, dataPrefix, hashName)
	}
	if err := checkRoot(w.Tree); err != nil {
		return nil, err
	}
	return fromWire(w.Tree)
}

// fromWire goes as deep as checkNesting let it be.
func fromWire(w *wireFile) (*File, error) {
	f := &File{Name: w.Path, Mode: w.Mode}
	if !w.Mode.IsDir() {
		sum, err := tree.ParseSHA256(w.Hash)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", w.Path, err)
		}
		if len(w.Children) > 0 {
			return nil, fmt.Errorf("%q: a file with children", w.Path)
		}
		f.SHA256 = sum
		return f, nil
	}
	if w.Hash != "" {
		return nil, fmt.Errorf("%q: a directory with a hash", w.Path)
	}
	for _, child := range w.Children {
		if err := tree.CheckName(child.Path); err != nil && !errors.Is(err, tree.ErrDotGit) {
			return nil, fmt.Errorf("%q: %w", child.Path, err)
		}
		below, err := fromWire(child)
		if err != nil {
			return nil, err
		}
		f.Children = append(f.Children, below)
	}
	sorted := slices.Clone(w.Children)
	slices.SortFunc(sorted, func(a, b *wireFile) int { return strings.Compare(a.Path, b.Path) })
	return f, checkTwice(sorted)
}

// Same tells whether two superblocks list the same: names, modes and contents, in the same order.
func Same(a, b *File) bool {
	return a.Name == b.Name && a.Mode == b.Mode && a.SHA256 == b.SHA256 && slices.EqualFunc(a.Children, b.Children, Same)
}

// SameFiles tells whether two superblocks list the same files and directories, with the same contents, in any order
// and with any permissions.
func SameFiles(a, b *File) bool {
	if a.Name != b.Name || a.Mode.IsDir() != b.Mode.IsDir() || a.SHA256 != b.SHA256 {
		return false
	}
	x, y := slices.Clone(a.Children), slices.Clone(b.Children)
	sortByName(x)
	sortByName(y)
	return slices.EqualFunc(x, y, SameFiles)
}
