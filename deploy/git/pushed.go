package git

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"refship/deploy/disk"
	"refship/deploy/tree"
)

// What a pack may have to be read in this process, in bytes: as it is, and all of its objects and deltas together.
const (
	maxSmallPack = 256 << 10
	maxInflated  = 2 << 20
)

// pushedObject is an object whose bytes hash to its oid.
type pushedObject struct {
	typ  string
	data []byte
}

// readPushed reads the pack that a small push has brought into its quarantine: nearly all that is asked for of such a
// push is in it, and no git need be started. git index-pack has taken the pack, and completed it. nil: git has to be
// asked for everything, as for a large pack, or one whose objects have SHA-256 names, which go-git does not know.
func readPushed(env []string) map[OID]pushedObject {
	objects := ""
	for _, variable := range env {
		if dir, is := strings.CutPrefix(variable, varObjects+"="); is {
			objects = dir
		}
	}
	packs, err := filepath.Glob(filepath.Join(escapeGlob(objects), "pack", "pack-*.pack"))
	if objects == "" || err != nil || len(packs) != 1 {
		return nil
	}
	pack, err := disk.ReadFile(packs[0], maxSmallPack)
	if err != nil {
		return nil
	}
	found, err := parsePack(pack)
	if err != nil {
		return nil
	}
	return found
}

// escapeGlob quotes what filepath.Glob would take for a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

var errNotSmall = errors.New("pack has too much in it")

// packParser has the objects of a pack that are known so far, and the deltas by what they build upon.
type packParser struct {
	inflated int64
	found    map[OID]pushedObject
	made     []madeObject           // what was found, and whose deltas were not applied yet
	byName   map[OID][]*packDelta   // by the oid of their base
	byPlace  map[int64][]*packDelta // by where their base begins in the pack
	deltas   int                    // how many are not applied yet
}

// madeObject is an object, and where it begins in the pack.
type madeObject struct {
	oid OID
	at  int64
}

type packDelta struct {
	at   int64 // where it begins in the pack
	data []byte
}

// parsePack reads a pack whose objects have SHA-1 names, and which has all that its deltas build upon.
func parsePack(pack []byte) (map[OID]pushedObject, error) {
	body := len(pack) - sha1.Size
	if body < 0 || sha1.Sum(pack[:body]) != [sha1.Size]byte(pack[body:]) {
		return nil, errors.New("pack has another checksum")
	}
	p := &packParser{
		found: map[OID]pushedObject{}, byName: map[OID][]*packDelta{}, byPlace: map[int64][]*packDelta{},
	}
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return nil, err
	}
	for range count {
		if err := p.scan(scanner); err != nil {
			return nil, err
		}
	}
	return p.found, p.resolve()
}

// scan reads one object, or puts a delta aside.
func (p *packParser) scan(scanner *packfile.Scanner) error {
	h, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if err := p.take(h.Length); err != nil {
		return err
	}
	data := bytes.NewBuffer(make([]byte, 0, h.Length))
	if n, _, err := scanner.NextObject(data); err != nil || n != h.Length {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	d := &packDelta{h.Offset, data.Bytes()}
	switch h.Type {
	case plumbing.OFSDeltaObject:
		p.byPlace[h.OffsetReference] = append(p.byPlace[h.OffsetReference], d)
		p.deltas++
	case plumbing.REFDeltaObject:
		base := fromGoGit(h.Reference)
		p.byName[base] = append(p.byName[base], d)
		p.deltas++
	default:
		p.add(h.Offset, h.Type.String(), data.Bytes())
	}
	return nil
}

// take counts what is inflated, before it is.
func (p *packParser) take(bytes int64) error {
	if bytes < 0 || bytes > maxInflated-p.inflated {
		return errNotSmall
	}
	p.inflated += bytes
	return nil
}

func (p *packParser) add(at int64, typ string, data []byte) {
	oid := tree.HashObject(tree.FormatSHA1, typ, data)
	p.found[oid], p.made = pushedObject{typ, data}, append(p.made, madeObject{oid, at})
}

// resolve makes objects of the deltas, each once its base is known.
func (p *packParser) resolve() error {
	for len(p.made) > 0 {
		base := p.made[0]
		p.made = p.made[1:]
		from := p.found[base.oid]
		for _, d := range slices.Concat(p.byName[base.oid], p.byPlace[base.at]) {
			if err := p.apply(d, from); err != nil {
				return err
			}
		}
		delete(p.byName, base.oid) // the same object may be in the pack twice
		delete(p.byPlace, base.at)
	}
	if p.deltas > 0 {
		return errors.New("pack lacks what a delta builds upon")
	}
	return nil
}

func (p *packParser) apply(d *packDelta, from pushedObject) error {
	p.deltas--
	_, n := binary.Uvarint(d.data) // the base's size
	size, m := binary.Uvarint(d.data[max(0, n):])
	if n <= 0 || m <= 0 || size > maxInflated {
		return errNotSmall
	}
	if err := p.take(int64(size)); err != nil {
		return err
	}
	data, err := packfile.PatchDelta(from.data, d.data)
	if err != nil {
		return err
	}
	p.add(d.at, from.typ, data)
	return nil
}
