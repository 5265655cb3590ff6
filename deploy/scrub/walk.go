package scrub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// atOnce is how many values are read together, each of at most what etcd takes.
const atOnce = 4

// file is a content that a directory names.
type file struct {
	entry tree.Entry
	path  string
	key   string // without chunk
	uncut bool   // at one key, whatever its size
}

// keys are the keys that hold it.
func (f *file) keys() iter.Seq[string] {
	if f.uncut {
		return slices.Values([]string{f.key})
	}
	return store.Chunks(f.key, f.entry.Size)
}

// read reads keys after a rest.
func (s *scrub) read(ctx context.Context, keys ...string) ([]store.KeyValue, error) {
	if err := s.pace.rest(ctx); err != nil {
		return nil, err
	}
	values, err := s.chain.Values(ctx, keys...)
	for _, kv := range values {
		if kv.Revision != 0 {
			s.result.Keys++
			s.result.Bytes += int64(len(kv.Value))
		}
	}
	s.tell()
	return values, err
}

func (s *scrub) tell() {
	if s.progress.Bytes = s.result.Bytes; s.cfg.Progress != nil {
		s.cfg.Progress(s.progress)
	}
}

// damageOf says what is wrong with a value that is not what it should be.
func damageOf(kv store.KeyValue) string {
	if kv.Revision == 0 {
		return "it is missing"
	}
	return "it holds other bytes"
}

// dir checks a directory as the one above names it, and all below it, and tells whether that is whole now.
func (s *scrub) dir(ctx context.Context, e tree.Entry, at string) (whole bool, err error) {
	is := named{e.OID, e.SHA256}
	if s.sound[is] {
		return true, nil
	}
	node, text, damage, err := s.node(ctx, e)
	if err != nil {
		return false, err
	}
	if damage != "" {
		if node, text, err = s.makeNode(ctx, e); err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			s.fail(s.chain.TreeKey(e.OID), at, damage, err)
			return false, nil
		}
	}
	if whole, err = s.below(ctx, node, at); err != nil {
		return false, err
	}
	if damage != "" {
		if !whole {
			s.fail(s.chain.TreeKey(e.OID), at, damage, errors.New("what is below it is not whole"))
			return false, nil
		}
		for i, key := range store.ChunkKeys(s.chain.TreeKey(e.OID), e.Size) {
			if err := s.put(ctx, key, at, text[i*tree.ChunkSize:min((i+1)*tree.ChunkSize, len(text))]); err != nil {
				return false, err
			}
		}
	}
	if whole {
		s.sound[is] = true
	}
	return whole, nil
}

// below checks what a directory names.
func (s *scrub) below(ctx context.Context, node *tree.Node, at string) (whole bool, err error) {
	whole, err = s.files(ctx, func(yield func(file) bool) {
		for _, e := range node.Entries {
			if e.Mode != filemode.Dir && e.Mode != filemode.Submodule &&
				!yield(file{entry: e, path: path.Join(at, e.Name), key: s.chain.ContentKey(e.SHA256)}) {
				return
			}
		}
	})
	for _, e := range node.Entries {
		if err != nil || e.Mode != filemode.Dir {
			continue
		}
		var ok bool
		ok, err = s.dir(ctx, e, path.Join(at, e.Name))
		whole = whole && ok
	}
	return whole && err == nil, err
}

// node reads a directory's node, a chunk at a time and no more than the directory above names. It is damaged if damage
// is not "".
func (s *scrub) node(ctx context.Context, e tree.Entry) (node *tree.Node, text []byte, damage string, err error) {
	left := e.Size
	for key := range store.Chunks(s.chain.TreeKey(e.OID), e.Size) {
		values, err := s.read(ctx, key)
		if err != nil {
			return nil, nil, "", err
		}
		if values[0].Revision == 0 || int64(len(values[0].Value)) != min(left, tree.ChunkSize) {
			return nil, nil, damageOf(values[0]), nil
		}
		text = append(text, values[0].Value...)
		left -= int64(len(values[0].Value))
	}
	if sum := tree.SHA256(sha256.Sum256(text)); sum != e.SHA256 {
		return nil, nil, "it holds other bytes", nil
	}
	node, err = tree.ParseNode(text)
	if err == nil && node.OID(e.OID.Format()) != e.OID {
		err = fmt.Errorf("its tree oid is %s", node.OID(e.OID.Format()))
	}
	if err != nil {
		return nil, nil, "it is what was signed, and wrong: " + err.Error(), nil
	}
	return node, text, "", nil
}

// makeNode makes a directory's node of what git has.
func (s *scrub) makeNode(ctx context.Context, e tree.Entry) (*tree.Node, []byte, error) {
	git, err := s.repository(ctx)
	if err != nil {
		return nil, nil, err
	}
	text, err := git.node(ctx, e.OID)
	if err != nil {
		return nil, nil, err
	}
	has := tree.Entry{Size: int64(len(text)), SHA256: sha256.Sum256(text)}
	if err := differs("tree", has, e); err != nil {
		return nil, nil, err
	}
	node, err := tree.ParseNode(text)
	return node, text, err
}

// files checks contents, small ones together, and tells whether all are whole now.
func (s *scrub) files(ctx context.Context, list iter.Seq[file]) (whole bool, err error) {
	whole = true
	var batch []file
	held := int64(0)
	flush := func() error {
		ok, err := s.together(ctx, batch)
		whole = whole && ok
		batch, held = nil, 0
		return err
	}
	for f := range list {
		s.progress.Files++
		if !f.uncut && s.sound[named{f.entry.OID, f.entry.SHA256}] {
			continue
		}
		if !f.uncut && f.entry.Size > tree.ChunkSize {
			ok, err := s.large(ctx, f)
			if err != nil {
				return false, err
			}
			whole = whole && ok
			continue
		}
		if len(batch) == atOnce || len(batch) > 0 && held+f.entry.Size > tree.ChunkSize {
			if err := flush(); err != nil {
				return false, err
			}
		}
		batch = append(batch, f)
		held += f.entry.Size
	}
	err = flush()
	return whole, err
}

// together checks contents at one key each with one read.
func (s *scrub) together(ctx context.Context, list []file) (whole bool, err error) {
	if len(list) == 0 {
		return true, nil
	}
	keys := make([]string, len(list))
	for i, f := range list {
		keys[i] = f.key
	}
	values, err := s.read(ctx, keys...)
	if err != nil {
		return false, err
	}
	whole = true
	for i, f := range list {
		sum := tree.NewContentHash(f.entry.OID.Format(), f.entry.Size)
		_, _ = sum.Write(values[i].Value) // a hash never fails
		ok, err := s.judge(ctx, f, sum, values[i])
		if err != nil {
			return false, err
		}
		whole = whole && ok
	}
	return whole, nil
}

// large checks a content that is cut, a chunk at a time.
func (s *scrub) large(ctx context.Context, f file) (whole bool, err error) {
	sum := tree.NewContentHash(f.entry.OID.Format(), f.entry.Size)
	var last store.KeyValue
	for key := range f.keys() {
		values, err := s.read(ctx, key)
		if err != nil {
			return false, err
		}
		if last = values[0]; last.Revision == 0 {
			break // the sum differs
		}
		_, _ = sum.Write(last.Value) // a hash never fails
	}
	return s.judge(ctx, f, sum, last)
}

// judge compares what was read with what the directory names, and repairs it.
func (s *scrub) judge(ctx context.Context, f file, sum *tree.ContentHash, last store.KeyValue) (whole bool, err error) {
	if sum.SHA256() == f.entry.SHA256 && sum.OID() == f.entry.OID && last.Revision != 0 {
		if !f.uncut {
			s.sound[named{f.entry.OID, f.entry.SHA256}] = true
		}
		return true, nil
	}
	damage := damageOf(last)
	if sum.SHA256() == f.entry.SHA256 && last.Revision != 0 {
		damage = fmt.Sprintf("it is what was signed, and another blob, %s", sum.OID())
	}
	why, err := s.mend(ctx, f)
	if why != nil {
		s.fail(f.key, f.path, damage, why)
	}
	return why == nil && err == nil, err
}

// mend writes a content's keys that are not what git has. git's blob is read twice: before anything is written it is
// known to be what the directory names. why is what keeps it from being repaired, err ends the scrub.
func (s *scrub) mend(ctx context.Context, f file) (why, err error) {
	git, err := s.repository(ctx)
	if err == nil {
		err = git.learn(ctx, []tree.Entry{{Mode: filemode.Regular, OID: f.entry.OID}})
	}
	if err == nil {
		err = differs("blob", git.known[f.entry.OID], f.entry)
	}
	if err != nil {
		return asWhy(ctx, err)
	}
	var putting error
	err = git.repo.Blobs(ctx, []tree.OID{f.entry.OID}, func(_ int, size int64, r io.Reader) error {
		for key := range f.keys() {
			chunk := make([]byte, min(size, tree.ChunkSize))
			if f.uncut {
				chunk = make([]byte, size)
			}
			if _, err := io.ReadFull(r, chunk); err != nil {
				return err
			}
			size -= int64(len(chunk))
			if putting = s.put(ctx, key, f.path, chunk); putting != nil {
				return putting
			}
		}
		return nil
	})
	if putting != nil && ctx.Err() == nil {
		return nil, putting
	}
	return asWhy(ctx, err)
}

// asWhy gives an error of git as mend does: it ends the scrub only where the context has ended.
func asWhy(ctx context.Context, err error) (why, end error) {
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return err, nil
}

// maxTries is how often a key is read again that somebody else writes.
const maxTries = 5

// put puts a value where another one is, or none.
func (s *scrub) put(ctx context.Context, key, at string, value []byte) error {
	for try := 1; ; try++ {
		values, err := s.read(ctx, key)
		if err != nil {
			return err
		}
		if values[0].Revision != 0 && string(values[0].Value) == string(value) {
			return nil
		}
		err = s.chain.Mend(ctx, s.head, key, values[0].Revision, value)
		if errors.Is(err, deploy.ErrChanged) && try < maxTries {
			continue
		}
		if err != nil {
			return err
		}
		s.result.Repaired++
		s.found(Finding{Key: key, Path: at, Damage: damageOf(values[0])})
		return nil
	}
}
