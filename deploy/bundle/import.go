package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// ErrLockLost: the chain's lock was lost while a bundle was put into etcd. It has to be imported again.
var ErrLockLost = errors.New("the lock was lost")

// ReasonNotEmpty: a bundle cannot be put into a namespace, since that has something else. About: namespace.
const ReasonNotEmpty fault.Reason = "import-not-empty"

// Target is where a bundle is put.
type Target struct {
	Client   *etcd.Client
	Held     clientv3.Cmp            // compares that the caller has the chain's lock
	Who      record.Hold             // who holds the chain meanwhile, and since when
	Room     func(bytes int64) error // is called before so many bytes are put; its error ends the import
	Progress func(text.Progress)     // may be nil
}

// Import puts the bundle into its namespace of an etcd. That must have none of its keys, or only what an import of the
// same bundle has put: else it is a fault.Conflict, and nothing was changed. Meanwhile the chain is on hold; then as the
// bundle has it. there: all of it was in etcd already. The caller has verified the bundle.
func (f *File) Import(ctx context.Context, into Target) (there bool, err error) {
	into.Who.Reason = record.HoldOfImport
	i := &importer{
		File: f, Target: into, ns: f.Header.Namespace, chain: store.Open(into.Client, f.Header.Namespace),
		kv:       etcd.BoundedBelow(into.Client, string(f.Header.Namespace)+"/"),
		progress: text.Progress{Step: "importing", BytesTotal: f.raw},
	}
	if there, err = i.run(ctx); err != nil {
		return false, fmt.Errorf("import %s: %w", i.ns, err)
	}
	return there, nil
}

// importer is one Import.
type importer struct {
	*File
	Target
	ns       record.Namespace
	chain    *store.Chain // in etcd
	kv       clientv3.KV
	progress text.Progress
}

func (i *importer) run(ctx context.Context) (there bool, err error) {
	keys, bytes, err := i.compare(ctx)
	switch {
	case err != nil:
		return false, err
	case keys == i.keys:
		return true, nil
	}
	if err := i.Room(i.raw - bytes); err != nil {
		return false, err
	}
	// Nobody deploys onto what is there in part: a publish compares that there is no hold.
	if err := i.txn(ctx, nil, clientv3.OpPut(i.chain.Key("hold"), string(i.Who.Encode()))); err != nil {
		return false, err
	}
	// From the bottom up: what a key names is there before the key is.
	w := etcd.NewWriter(ctx, i.kv, i.Held)
	for _, layer := range [][]string{{contentsAt, objectsAt}, {blocksAt, treesAt}, i.others()} {
		for _, prefix := range layer {
			if err := i.put(ctx, w, prefix); err != nil {
				return false, i.lost(err)
			}
		}
		if err := w.Barrier(); err != nil {
			return false, i.lost(err)
		}
	}
	if err := i.deploys(ctx); err != nil {
		return false, err
	}
	return false, i.end(ctx)
}

// txn puts and deletes what it is given, under the lock.
func (i *importer) txn(ctx context.Context, ifs []clientv3.Cmp, ops ...clientv3.Op) error {
	resp, err := i.kv.Txn(ctx).If(append(ifs, i.Held)...).Then(ops...).Commit()
	if err == nil && !resp.Succeeded {
		err = i.lost(etcd.ErrCompare) // or mgmt itself has deployed meanwhile, which the next import tells
	}
	return err
}

// end puts the hint at the head, and the hold that the bundle has, or none.
func (i *importer) end(ctx context.Context) error {
	imported := &record.Imported{Head: i.Header.Head, User: i.Who.User, Host: i.Who.Host, Time: i.Who.Since}
	from := string(i.ns) + eventsAt
	err := i.descend(from, endOf(from), func(key string, _ []byte) bool {
		imported.Event = strings.TrimPrefix(key, from)
		return false
	})
	if err != nil {
		return err
	}
	ops := []clientv3.Op{
		clientv3.OpDelete(i.chain.Key("hold")), clientv3.OpPut(i.chain.Key(record.ImportedKey), string(imported.Encode())),
	}
	for _, at := range []string{holdAt, headAt} {
		key := string(i.ns) + at
		value, ok, err := i.get(key)
		switch {
		case err != nil:
			return err
		case ok && at == holdAt:
			ops[0] = clientv3.OpPut(key, string(value))
		case ok:
			ops = append(ops, clientv3.OpPut(key, string(value)))
		}
	}
	return i.txn(ctx, nil, ops...)
}

// others are the places that are neither deploys nor what these have; head and hold come after the deploys.
func (i *importer) others() (prefixes []string) {
	for _, p := range places() {
		if !slices.Contains([]string{deploysAt, headAt, holdAt, contentsAt, objectsAt, blocksAt, treesAt}, p.prefix) {
			prefixes = append(prefixes, p.prefix)
		}
	}
	return prefixes
}

// lost says of a compare that failed what it means.
func (i *importer) lost(err error) error {
	if errors.Is(err, etcd.ErrCompare) {
		return &fault.Error{
			Kind: fault.Conflict, What: ErrLockLost.Error(), Remedy: "import the same bundle again", Cause: ErrLockLost,
		}
	}
	return err
}

// put puts the keys of a place that are missing.
func (i *importer) put(ctx context.Context, w *etcd.Writer, prefix string) (err error) {
	var keys []string
	values, size := map[string][]byte{}, 0
	send := func() error {
		missing, err := i.chain.Missing(ctx, keys)
		for _, key := range missing {
			if err == nil {
				err = w.Put(key, values[key])
			}
		}
		i.count(size)
		keys, values, size = nil, map[string][]byte{}, 0
		return err
	}
	from := string(i.ns) + prefix
	readErr := i.ascend(from, endOf(from), func(key string, value []byte) bool {
		keys, values[key], size = append(keys, key), value, size+len(key)+len(value)
		if len(keys) == store.MaxQueries || size > etcd.BatchBytes {
			err = send()
		}
		return err == nil
	})
	if err == nil {
		err = readErr
	}
	if err != nil || len(keys) == 0 {
		return err
	}
	return send()
}

func (i *importer) count(bytes int) {
	i.progress.Bytes += int64(bytes)
	if i.Progress != nil {
		i.Progress(i.progress)
	}
}

// compare counts the bundle's keys that are in etcd, and their bytes. Any other key there is refused.
func (i *importer) compare(ctx context.Context) (keys, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var refused error
	look := func(kv store.KeyValue) {
		isOurs := kv.Key == string(i.ns)+holdAt && record.ParseHold(kv.Value).IsImport()
		if refused != nil || isOurs || isLive(i.ns, kv.Key) {
			return
		}
		value, ok, err := i.get(kv.Key)
		switch {
		case err != nil:
			refused = err
		case !ok:
			refused = i.notEmpty(kv.Key, "is there, and not in the bundle")
		case !bytes.Equal(value, kv.Value):
			refused = i.notEmpty(kv.Key, "is another one than in the bundle")
		default:
			keys++
			size += int64(len(kv.Key) + len(kv.Value))
			return
		}
		cancel(refused)
	}
	for _, prefix := range []string{"/deploy/", "/fs/", "/refship/", "/storage/"} { // mgmt has others, of its own
		err := i.chain.Scan(ctx, prefix, false, look)
		if refused != nil {
			return 0, 0, refused
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return keys, size, nil
}

func (i *importer) notEmpty(key, what string) error {
	return &fault.Error{
		Kind: fault.Conflict, Reason: ReasonNotEmpty, About: []string{string(i.ns)},
		What: fmt.Sprintf("%s is not empty: %s %s", i.ns, text.Mention(text.Clip(key)), what),
	}
}

// deploysTogether is how many deploys are put together: each key has a compare and a put, beside that of the lock.
const deploysTogether = etcd.MaxOps/record.NumKeys - 1

// deploys puts the deploys, from the newest down. Those that are there are of an import that was cut off.
func (i *importer) deploys(ctx context.Context) error {
	for id := i.Header.Head; id > 0; {
		var keys []string
		for n := 0; n < deploysTogether && id > 0; n, id = n+1, id-1 {
			for which := range record.NumKeys {
				keys = append(keys, i.chain.DeployKey(id, which))
			}
		}
		missing, err := i.chain.Missing(ctx, keys)
		if err != nil {
			return err
		}
		if err := i.putDeploys(ctx, missing); err != nil {
			return err
		}
	}
	return nil
}

// putDeploys puts those of the keys that the bundle has, in as few txns as etcd's limits allow.
func (i *importer) putDeploys(ctx context.Context, keys []string) error {
	var ifs []clientv3.Cmp
	var puts []clientv3.Op
	size := 0
	for at, key := range keys {
		value, ok, err := i.get(key)
		if err != nil {
			return err
		}
		if ok {
			ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
			puts = append(puts, clientv3.OpPut(key, string(value)))
			size += len(key) + len(value)
		}
		if len(puts) == 0 || size < etcd.BatchBytes/2 && at < len(keys)-1 {
			continue
		}
		if err := i.txn(ctx, ifs, puts...); err != nil {
			return err
		}
		i.count(size)
		ifs, puts, size = nil, nil, 0
	}
	return nil
}
