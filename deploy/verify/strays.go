package verify

import (
	"context"
	"errors"
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

// The names of refship's own keys below NS/refship/, whose values are not looked at. Some come with later versions.
var (
	ownNames = []string{
		"head", "lock", "stored", "hold", record.ExpiredKey, record.RunsKey, record.ImportedKey, store.CheckpointKey,
		record.RolloutKey, record.RolloutOwnerKey,
	}
	ownPrefixes = []string{record.EventPrefix, store.CosignaturePrefix, "node/", "alive/"}
)

// Where most keys are, after NS.
const (
	deploysAt  = "/deploy/"
	blocksAt   = "/fs/"
	logAt      = "/refship/" + store.LogPrefix
	objectsAt  = "/refship/object/"
	treesAt    = "/refship/tree/"
	contentsAt = "/storage/"
	sumsAt     = contentsAt + "{sha256}"
)

// keyNames judges the names of keys.
type keyNames struct {
	*run
	later map[record.ID]string // a key of each id above the head
}

// strays looks for keys that belong to nothing. etcd counts keys much faster than it lists them: where there are as
// many as were verified, these are all.
func (k *keyNames) strays(ctx context.Context) error {
	places := []string{deploysAt, blocksAt, logAt, objectsAt, treesAt, contentsAt}
	counts, err := k.chain.Counts(ctx, places)
	if err != nil {
		return err
	}
	known := k.known()
	for i, place := range places {
		total := 0
		for _, n := range known[place] {
			total += n
		}
		if counts[i] == int64(total) {
			continue
		}
		if err := k.list(ctx, place, counts[i], known[place]); err != nil {
			return err
		}
	}
	err = k.chain.ScanBeside(ctx, "/refship/", []string{logAt, objectsAt, treesAt}, k.judge)
	if err == nil {
		err = k.tellLater(ctx)
	}
	if err != nil || k.isMgmt {
		return err // mgmt keeps its own beside them
	}
	spaces := []string{deploysAt, blocksAt, "/refship/", contentsAt}
	err = k.chain.ScanBeside(ctx, "/", spaces, func(kv store.KeyValue) { k.strayKey(kv.Key, "nothing belongs there") })
	if errors.Is(err, etcd.ErrDenied) { // who may read a chain may not always read what is beside it
		return nil
	}
	return err
}

// known counts the keys that were verified, by place and, where a hash names them, by its first digit.
func (k *keyNames) known() map[string]map[string]int {
	known := map[string]map[string]int{}
	add := func(place, digits string, n int) {
		if known[place] == nil {
			known[place] = map[string]int{}
		}
		known[place][digits] += n
	}
	add(deploysAt, "", k.ownKeys)
	for _, isThere := range k.blocks {
		if isThere {
			add(blocksAt, "", 1)
		}
	}
	for _, value := range k.log.values {
		if value != nil {
			add(logAt, "", 1)
		}
	}
	for oid := range k.commits.Known() {
		add(objectsAt, oid.String()[:1], 1)
	}
	for oid := range k.objects {
		add(objectsAt, oid.String()[:1], 1)
	}
	chunks := func(i int32) int {
		if k.things.list[i].flaw != 0 {
			return 0
		}
		return int(max(1, (k.things.list[i].size+tree.ChunkSize-1)/tree.ChunkSize))
	}
	for oid, i := range k.things.nodes {
		add(treesAt, oid.String()[:1], chunks(i))
	}
	for sum, i := range k.things.contents {
		add(contentsAt, sum.String()[:1], chunks(i))
	}
	for sum, err := range k.things.uncut {
		if i, ok := k.things.contents[sum]; err == nil && (!ok || k.things.list[i].size > tree.ChunkSize) {
			add(contentsAt, sum.String()[:1], 1)
		}
	}
	return known
}

// list judges the keys of a place that has another number of them than was verified.
func (k *keyNames) list(ctx context.Context, place string, count int64, known map[string]int) error {
	prefix := map[string]string{objectsAt: objectsAt, treesAt: treesAt, contentsAt: sumsAt}[place]
	if prefix == "" {
		return k.chain.Scan(ctx, place, true, k.judge)
	}
	var prefixes []string
	for _, digit := range "0123456789abcdef" {
		prefixes = append(prefixes, prefix+string(digit))
	}
	counts, err := k.chain.Counts(ctx, prefixes)
	if err != nil {
		return err
	}
	for _, n := range counts {
		count -= n
	}
	if count != 0 { // some begin in another way
		return k.chain.Scan(ctx, place, true, k.judge)
	}
	for i, prefix := range prefixes {
		if counts[i] == int64(known[prefix[len(prefix)-1:]]) {
			continue
		}
		if err := k.chain.Scan(ctx, prefix, true, k.judge); err != nil {
			return err
		}
	}
	return nil
}

// judge judges a key of one of the spaces.
func (k *keyNames) judge(kv store.KeyValue) {
	name := strings.TrimPrefix(kv.Key, string(k.chain.Namespace()))
	for space, judge := range map[string]func(string) string{
		deploysAt: k.deployKey, blocksAt: k.block, "/refship/": k.own, contentsAt: k.contentKey,
	} {
		if rest, ok := strings.CutPrefix(name, space); ok {
			k.strayKey(kv.Key, judge(rest))
		}
	}
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
	if !k.isMgmt {
		return "it is mgmt's, and mgmt does not read this chain"
	}
	_, isNamed := k.blocks[string(k.chain.Namespace())+blocksAt+name]
	k.orphanUnless(isNamed)
	return ""
}

// own judges a key below NS/refship/.
func (k *keyNames) own(name string) string {
	if slices.Contains(ownNames, name) ||
		slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return ""
	}
	kind, rest, _ := strings.Cut(name, "/")
	switch id, isPin := record.PinnedID(name); {
	case isPin && id > k.head:
		return "it pins a deploy that does not exist"
	case isPin:
		return ""
	case kind+"/" == store.LogPrefix:
		return k.logKey(rest)
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

// logKey judges a key below NS/refship/log/. Whose deploys are there was compared.
func (k *keyNames) logKey(name string) string {
	id, err := record.ParseID(name)
	if err != nil {
		return "it is no key of the log"
	}
	if id > k.head && k.later[id] == "" {
		k.later[id] = k.chain.LogKey(id)
	}
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
