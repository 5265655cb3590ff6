package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// Source is what to export.
type Source struct {
	Chain    *store.Chain
	Since    time.Time           // without the files of deploys before; zero: of all
	Now      time.Time           // for the header
	Progress func(text.Progress) // may be nil
}

// ErrNothing: there is no deploy to export.
var ErrNothing = errors.New("there is nothing to export")

// Export writes a bundle of a chain, as it is now, to a file that must not exist, on disk when it returns. What is
// damaged is copied as it is.
func Export(ctx context.Context, path string, from Source) (*Header, Counts, error) {
	header, counts, err := export(ctx, path, from)
	if err != nil {
		return nil, Counts{}, fmt.Errorf("export %s: %w", from.Chain.Namespace(), err)
	}
	return header, counts, nil
}

func export(ctx context.Context, path string, from Source) (*Header, Counts, error) {
	chain, err := from.Chain.Snapshot(ctx)
	if err != nil {
		return nil, Counts{}, err
	}
	header, err := from.header(ctx, chain)
	if err != nil {
		return nil, Counts{}, err
	}
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, Counts{}, fault.New(fault.Failed, text.Printable(path)+" exists", "give another name, or move it away")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, Counts{}, err
	}
	if err := disk.RemoveTemporary(path); err != nil { // of an export that was killed
		return nil, Counts{}, err
	}
	f, err := disk.CreateTemporary(path)
	if err != nil {
		return nil, Counts{}, err
	}
	x := &exporter{chain: chain, header: header, tell: from.Progress, progress: text.Progress{Step: "exporting"}}
	counts, err := x.export(ctx, f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = disk.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // err says what went wrong
	}
	return header, counts, err
}

// header says what of the chain is exported.
func (from *Source) header(ctx context.Context, chain *store.Chain) (*Header, error) {
	state, err := chain.State(ctx)
	switch {
	case err != nil:
		return nil, err
	case state.Head == nil:
		return nil, fault.Newf(fault.Failed, "%w: %s", ErrNothing, chain.Namespace().Undeployed())
	}
	h := &Header{
		Format: 1, Namespace: chain.Namespace(), Head: state.Head.ID, Hash: state.Head.Hash, Since: 1,
		Time: from.Now.UTC().Truncate(time.Second),
	}
	if from.Since.IsZero() {
		return h, nil
	}
	h.Since = 0
	enough := errors.New("no more is asked for")
	err = chain.Down(ctx, state.Head.ID, func(d *record.Deploy) error {
		if d.Record != nil && d.Record.Time.Before(from.Since) {
			return enough
		}
		h.Since = d.ID
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	if h.Since == 0 {
		return nil, fault.Newf(fault.Failed, "%w: deploy %d of %s, the newest, came before", ErrNothing, state.Head.ID,
			chain.Namespace())
	}
	return h, nil
}

// exporter writes one bundle.
type exporter struct {
	chain    *store.Chain // as of one revision
	header   *Header
	to       *writer
	needs    needs // with header.Since above 1: keys of superblocks, nodes and contents
	tell     func(text.Progress)
	progress text.Progress
}

func (x *exporter) export(ctx context.Context, f *os.File) (counts Counts, err error) {
	if x.to, err = newWriter(f, x.header); err != nil {
		return counts, err
	}
	if x.header.Since > 1 {
		if x.needs, err = findNeeds(ctx, x.chain, x.header); err != nil {
			return counts, err
		}
	}
	for _, p := range places() {
		if err := x.place(ctx, p); err != nil {
			if errors.Is(err, store.ErrCompacted) {
				err = fault.New(fault.Failed, "etcd has compacted its history meanwhile: "+
					"it took longer than etcd keeps old revisions", "try again, perhaps nearer to etcd")
			}
			return counts, err
		}
	}
	return x.to.end()
}

// place exports the keys of one place.
func (x *exporter) place(ctx context.Context, p place) error {
	switch {
	case p.prefix == expiredAt:
		return x.expired(ctx)
	case p.rest == nil:
		return x.some(ctx, []string{string(x.header.Namespace) + p.prefix})
	case x.needs != nil && isOfFiles(p.prefix):
		return x.needed(ctx, string(x.header.Namespace)+p.prefix)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	err := x.chain.Scan(ctx, p.prefix, false, func(kv store.KeyValue) {
		if failed == nil && belongs(x.header.Namespace, kv.Key) {
			if failed = x.add(kv); failed != nil {
				cancel(failed)
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// isOfFiles tells whether a place has what is left out of earlier deploys.
func isOfFiles(prefix string) bool {
	return prefix == blocksAt || prefix == treesAt || prefix == contentsAt
}

func (x *exporter) add(kv store.KeyValue) error {
	if err := x.to.add(kv.Key, kv.Value); err != nil {
		return err
	}
	x.progress.Bytes += int64(len(kv.Value))
	if x.tell != nil {
		x.tell(x.progress)
	}
	return nil
}

// some exports keys that are sorted, as far as they are there; at most store.MaxQueries.
func (x *exporter) some(ctx context.Context, keys []string) error {
	values, err := x.chain.Values(ctx, keys...)
	for i := 0; err == nil && i < len(values); i++ {
		if values[i].Revision != 0 {
			err = x.add(values[i])
		}
	}
	return err
}

// expired exports which deploys may lack files: those that are left out may, too.
func (x *exporter) expired(ctx context.Context) error {
	before, err := x.chain.Expired(ctx)
	if err != nil {
		return err
	}
	if id := max(before, x.header.Since-1); id > 0 {
		return x.add(store.KeyValue{Key: string(x.header.Namespace) + expiredAt, Value: []byte(id.String())})
	}
	return nil
}

// readTogether is how many bytes are read together, unless one value has more.
const readTogether = 4 << 20

// needed exports the keys below a prefix that are needed, and are there.
func (x *exporter) needed(ctx context.Context, prefix string) error {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(x.needs)), func(key string) bool {
		return !strings.HasPrefix(key, prefix)
	})
	for len(keys) > 0 {
		n, bytes := 0, int64(0)
		for n < min(len(keys), store.MaxQueries) && (n == 0 || bytes+x.needs[keys[n]] <= readTogether) {
			bytes += x.needs[keys[n]]
			n++
		}
		if err := x.some(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// unknownSize is taken for a value of which no size is known.
const unknownSize = etcd.MaxValue
