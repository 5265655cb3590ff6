package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// rest verifies what else is in the namespace: the hint at the head, what is expired, and that each key belongs to
// something.
func (r *run) rest(ctx context.Context) error {
	if err := r.hint(ctx); err != nil {
		return err
	}
	values, err := r.chain.Values(ctx, r.chain.Key(record.ExpiredKey))
	if err != nil {
		return err
	}
	id, err := record.ParseID(string(values[0].Value))
	if values[0].Revision != 0 && (err != nil || id >= max(r.head, 1)) {
		r.stray(record.Corrupt(values[0].Key, fmt.Sprintf("it is %s, and no id below the head", quoted(values[0].Value))))
	}
	return r.strays(ctx)
}

func quoted(value []byte) string { return strconv.Quote(string(value[:min(len(value), 40)])) }

// maxTries is how often the hint is read again that a publish changes meanwhile.
const maxTries = 5

// hint compares NS/refship/head with the head. Only foreign deploys may be above it: each publish of refship puts it.
func (r *run) hint(ctx context.Context) error {
	key := r.chain.Key("head")
	for range maxTries {
		values, err := r.chain.Values(ctx, key)
		if err != nil {
			return err
		}
		state, err := r.chain.State(ctx)
		if err != nil {
			return err
		}
		head := record.ID(0)
		if state.Head != nil {
			head = state.Head.ID
		}
		id, err := record.ParseID(string(values[0].Value))
		switch {
		case values[0].Revision == 0 && r.records == 0, err == nil && id >= r.records && id <= head:
		case head != r.head:
			r.head = head // what came meanwhile is left out
			continue
		case values[0].Revision == 0:
			r.stray(record.Missing(key))
		default:
			r.stray(record.Corrupt(key, fmt.Sprintf("it is %s, and the head is %d", quoted(values[0].Value), head)))
		}
		return nil
	}
	return nil
}

// The names of refship's own keys below NS/refship/, whose values are not looked at. Some come with later versions.
var (
	ownKeys     = []string{"head", "lock", "stored", "hold", record.ExpiredKey, record.RunsKey, "checkpoint", "rollout"}
	ownPrefixes = []string{record.EventPrefix, "log/", "cosignature/", "node/", "alive/"}
)

// keyNames judges the names of keys.
type keyNames struct {
	*run
	mgmt  bool                 // mgmt reads the chain
	later map[record.ID]string // a key of each id above the head
}

// strays looks at the names of all keys.
func (r *run) strays(ctx context.Context) error {
	k := &keyNames{run: r, mgmt: r.isMgmt, later: map[record.ID]string{}}
	spaces := map[string]func(name string) string{
		"/deploy/": k.deployKey, "/fs/": k.block, "/refship/": k.own, "/storage/": k.contentKey,
	}
	for _, space := range store.Spaces() {
		err := r.chain.Scan(ctx, space, true, func(kv store.KeyValue) {
			r.strayKey(kv.Key, spaces[space](strings.TrimPrefix(kv.Key, string(r.chain.Namespace())+space)))
		})
		if err != nil {
			return err
		}
	}
	if err := k.tellLater(ctx); err != nil || k.mgmt {
		return err // mgmt keeps its own beside them
	}
	err := r.chain.ScanBeside(ctx, func(kv store.KeyValue) { r.strayKey(kv.Key, "nothing belongs there") })
	if errors.Is(err, etcd.ErrDenied) { // who may read a chain may not always read what is beside it
		return nil
	}
	return err
}

// strayKey tells of a stray key, if it is one; a key is raw bytes.
func (r *run) strayKey(key, what string) {
	if what == "" {
		return
	}
	shown := key
	if text.Printable(key) != key {
		shown = strconv.Quote(key)
	}
	err := record.Corrupt(shown, what)
	r.stray(err)
}

// deployKey judges a key below NS/deploy/: "" if it belongs there.
func (k *keyNames) deployKey(name string) string {
	number, of, _ := strings.Cut(name, "/")
	id, err := record.ParseID(number)
	if err != nil || !slices.Contains(record.KeyNames[:], of) {
		return "it is no key of a deploy"
	}
	if id > k.head && k.later[id] == "" {
		k.later[id] = k.chain.DeployKey(id, slices.Index(record.KeyNames[:], of))
	}
	return ""
}

// tellLater tells of keys that no deploy has by now: some may have been published meanwhile.
func (k *keyNames) tellLater(ctx context.Context) error {
	if len(k.later) == 0 {
		return nil
	}
	state, err := k.chain.State(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(k.later)) {
		if state.Head == nil || id > state.Head.ID {
			k.strayKey(k.later[id], "it belongs to no deploy: those up to it are missing")
		}
	}
	return nil
}

// block judges a key below NS/fs/.
func (k *keyNames) block(name string) string {
	if !k.mgmt {
		return "it is mgmt's, and mgmt does not read this chain"
	}
	if !k.blocks[string(k.chain.Namespace())+"/fs/"+name] {
		k.result.Orphans++
	}
	return ""
}

// own judges a key below NS/refship/.
func (k *keyNames) own(name string) string {
	if slices.Contains(ownKeys, name) ||
		slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return ""
	}
	kind, rest, _ := strings.Cut(name, "/")
	switch id, isPin := record.PinnedID(name); {
	case isPin && id > k.head:
		return "it pins a deploy that does not exist"
	case isPin:
		return ""
	case kind == "object":
		oid, err := tree.ParseOID(rest)
		if err != nil {
			return "it is no key of refship's"
		}
		k.orphanUnless(k.commits.IsKnown(oid) || k.objects[oid])
		return ""
	case kind != "tree":
		return "it is no key of refship's"
	}
	digits, chunk, ok := cutChunk(rest)
	oid, err := tree.ParseOID(digits)
	if err != nil || !ok {
		return "it is no key of a directory"
	}
	i, known := k.things.nodes[oid]
	k.orphanUnless(known && isChunk(k.things.list[i].size, chunk))
	return ""
}

// contentKey judges a key below NS/storage/.
func (k *keyNames) contentKey(name string) string {
	rest, isSum := strings.CutPrefix(name, "{sha256}")
	digits, chunk, ok := cutChunk(rest)
	sum, err := tree.ParseSHA256(digits)
	if err != nil || !isSum || !ok {
		return "it is no key of a content"
	}
	i, known := k.things.contents[sum]
	_, isUncut := k.things.uncut[sum]
	k.orphanUnless(known && isChunk(k.things.list[i].size, chunk) || isUncut && chunk < 0)
	return ""
}

func (k *keyNames) orphanUnless(needed bool) {
	if !needed {
		k.result.Orphans++
	}
}

// cutChunk takes the number of a chunk off a key; -1 if it has none. ok is false if it is not a number.
func cutChunk(key string) (before string, chunk int64, ok bool) {
	before, number, has := strings.Cut(key, "/")
	if !has {
		return key, -1, true
	}
	chunk, err := strconv.ParseInt(number, 10, 64)
	return before, chunk, err == nil && chunk >= 0 && strconv.FormatInt(chunk, 10) == number
}

// isChunk tells whether a value of a size has a chunk of that number; -1 is the whole.
func isChunk(size, chunk int64) bool {
	if size <= tree.ChunkSize {
		return chunk < 0
	}
	return chunk >= 0 && chunk <= (size-1)/tree.ChunkSize
}
