package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// bothClients runs a test with the in-process and with a dialled client.
func bothClients(t *testing.T, cfg embedded.Config, test func(*testing.T, *clientv3.Client)) {
	t.Helper()
	for _, way := range []string{"in-process", "dialled"} {
		t.Run(way, func(t *testing.T) {
			cfg := cfg
			cfg.Listen = "127.0.0.1:0"
			e := fixture.StartEtcd(t, cfg)
			if way == "in-process" {
				test(t, e.Client())
			} else {
				test(t, dial(t, etcd.Config{Endpoints: []string{e.Addr()}}))
			}
		})
	}
}

func put(t testing.TB, w *etcd.Writer, key string, value []byte) {
	t.Helper()
	if err := w.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

func barrier(t testing.TB, w *etcd.Writer) {
	t.Helper()
	if err := w.Barrier(); err != nil {
		t.Fatal(err)
	}
}

// What is put is read back, of any size.
func TestWriteReadBack(t *testing.T) {
	e := fixture.NewEtcd(t)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		sizes := rapid.SliceOfN(rapid.OneOf(
			rapid.IntRange(0, 200), rapid.IntRange(0, 20_000),
			rapid.SampledFrom([]int{etcd.BatchBytes - 100, etcd.BatchBytes, etcd.BatchBytes + 1, etcd.MaxValue}),
		), 0, 300).Draw(r, "sizes")
		total := 0
		for i := range sizes { // large values only as long as the test stays quick
			if total+sizes[i] > 2<<20 {
				sizes[i] = i
			}
			total += sizes[i]
		}
		w := etcd.NewWriter(t.Context(), e.Client())
		keys, values := []string{}, [][]byte{}
		for i, size := range sizes {
			keys = append(keys, fmt.Sprintf("%d/%d", run, i))
			values = append(values, bytes.Repeat([]byte{byte(i)}, size))
			put(t, w, keys[i], values[i])
			if rapid.IntRange(0, 50).Draw(r, "barrier") == 0 {
				barrier(t, w)
			}
		}
		barrier(t, w)
		if n, size := w.Written(); n != len(sizes) || size != int64(total) {
			r.Fatalf("wrote %d keys, %d bytes; want %d, %d", n, size, len(sizes), total)
		}
		have := valuesOf(t, e.Client(), append(keys, "missing"))
		for i, value := range append(values, nil) {
			if !bytes.Equal(have[i], value) || (have[i] == nil) != (value == nil) {
				r.Fatalf("value %d has %d bytes (nil: %t), want %d", i, len(have[i]), have[i] == nil, len(value))
			}
		}
	})
}

func TestOperationLimit(t *testing.T) {
	bothClients(t, embedded.Config{}, func(t *testing.T, client *clientv3.Client) {
		for _, n := range []int{etcd.MaxOps, etcd.MaxOps + 1} {
			var ops []clientv3.Op
			var keys []string
			for i := range n {
				keys = append(keys, fmt.Sprintf("%d/%d", n, i))
				ops = append(ops, clientv3.OpPut(keys[i]+"/direct", ""))
			}
			_, err := client.Txn(t.Context()).Then(ops...).Commit()
			if tooMany := errors.Is(err, rpctypes.ErrTooManyOps); tooMany != (n > etcd.MaxOps) {
				t.Errorf("%d operations in one txn: %v", n, err)
			}
			if !same(etcd.Classify(err), err) {
				t.Errorf("classified as %v", etcd.Classify(err))
			}
			w := etcd.NewWriter(t.Context(), client)
			for _, key := range keys {
				put(t, w, key, nil)
			}
			barrier(t, w)
			exist, err := etcd.Exist(t.Context(), client, append(keys, "missing"))
			if err != nil {
				t.Fatal(err)
			}
			for i, have := range exist {
				if have != (i < n) {
					t.Errorf("%d keys: key %d exists: %t", n, i, have)
				}
			}
			resp, err := client.Get(t.Context(), fmt.Sprintf("%d/", n), clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			revisions := map[int64]bool{}
			for _, kv := range resp.Kvs {
				if !strings.HasSuffix(string(kv.Key), "/direct") {
					revisions[kv.ModRevision] = true
				}
			}
			if want := (n + etcd.MaxOps - 1) / etcd.MaxOps; len(revisions) != want {
				t.Errorf("%d keys took %d txns, want %d", n, len(revisions), want)
			}
		}
	})
}

func TestValueLimit(t *testing.T) {
	bothClients(t, embedded.Config{}, func(t *testing.T, client *clientv3.Client) {
		key := strings.Repeat("k", 1000)
		w := etcd.NewWriter(t.Context(), client)
		put(t, w, "small", []byte("x"))
		put(t, w, key, make([]byte, etcd.MaxValue))
		barrier(t, w)

		err := w.Put("large", make([]byte, etcd.MaxValue+1))
		fixture.WantError(t, err, nil, fmt.Sprintf(`value of "large" is %d bytes (limit %d)`, etcd.MaxValue+1, etcd.MaxValue),
			"")
		if !fault.Is(err, fault.Refused) {
			t.Errorf("%v is of the kind %d", err, fault.KindOf(err))
		}
		if again := w.Barrier(); !same(again, err) {
			t.Errorf("Barrier said %v", again)
		}

		// What etcd itself says of too much is no ErrFull, although the code is the
		// same. The in-process client has no message limit of its own.
		_, err = client.Put(t.Context(), "large", strings.Repeat("x", 1600*1024))
		if !errors.Is(err, rpctypes.ErrRequestTooLarge) || !same(etcd.Classify(err), err) {
			t.Errorf("1.6 MB: %v, classified as %v", err, etcd.Classify(err))
		}
		_, err = client.Put(t.Context(), "large", strings.Repeat("x", 3<<20))
		if err == nil || !same(etcd.Classify(err), err) {
			t.Errorf("3 MiB: %v, classified as %v", err, etcd.Classify(err))
		}
	})
}

func TestSameKeyTwice(t *testing.T) {
	e := fixture.NewEtcd(t)
	w := etcd.NewWriter(t.Context(), e.Client())
	for range 3 {
		put(t, w, "key", []byte("value"))
	}
	barrier(t, w)
	if n, size := w.Written(); n != 1 || size != 5 {
		t.Errorf("wrote %d keys, %d bytes", n, size)
	}
	put(t, w, "key", []byte("next layer"))
	barrier(t, w)
	values := valuesOf(t, e.Client(), []string{"key", "key"})
	if diff := cmp.Diff([][]byte{[]byte("next layer"), []byte("next layer")}, values); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyKey(t *testing.T) {
	e := fixture.NewEtcd(t)
	w := etcd.NewWriter(t.Context(), e.Client())
	fixture.WantError(t, w.Put("", nil), nil, "the key is empty", "")
	_, err := etcd.Exist(t.Context(), e.Client(), []string{"a", ""})
	fixture.WantError(t, err, nil, "the key is empty", "")
	if have, err := etcd.Exist(t.Context(), e.Client(), nil); err != nil || len(have) != 0 {
		t.Errorf("no keys: %v, %v", have, err)
	}
}

// Writers of several pushes share most of their keys.
func TestConcurrentWriters(t *testing.T) {
	bothClients(t, embedded.Config{}, func(t *testing.T, client *clientv3.Client) {
		const writers, keys = 6, 600
		var group errgroup.Group
		for range writers {
			group.Go(func() error {
				w := etcd.NewWriter(t.Context(), client)
				for _, i := range rand.Perm(keys) {
					if err := w.Put(fmt.Sprintf("key/%d", i), bytes.Repeat([]byte{byte(i)}, i*10)); err != nil {
						return err
					}
				}
				if err := w.Barrier(); err != nil {
					return err
				}
				if n, _ := w.Written(); n != keys {
					return fmt.Errorf("wrote %d keys", n)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		var names []string
		for i := range keys {
			names = append(names, fmt.Sprintf("key/%d", i))
		}
		values := valuesOf(t, client, names)
		for i, value := range values {
			if len(value) != i*10 {
				t.Errorf("key %d has %d bytes", i, len(value))
			}
		}
	})
}

func TestFull(t *testing.T) {
	bothClients(t, embedded.Config{Quota: 4 << 20}, func(t *testing.T, client *clientv3.Client) {
		w := etcd.NewWriter(t.Context(), client)
		var err error
		for i := 0; err == nil && i < 100; i++ {
			if err = w.Put(fmt.Sprintf("key/%d", i), make([]byte, 1<<20)); err == nil {
				err = w.Barrier()
			}
		}
		fixture.WantError(t, err, etcd.ErrFull, "database space exceeded", "compact")
		if again := w.Put("small", nil); !same(again, err) {
			t.Errorf("after the error Put said %v", again)
		}
		n, _ := w.Written()
		if n < 1 {
			t.Fatal("nothing was written before it was full")
		}
		if have := valuesOf(t, client, []string{"key/0"})[0]; len(have) != 1<<20 {
			t.Errorf("a full etcd reads %d bytes", len(have))
		}
		space, err := etcd.ReadSpace(t.Context(), client)
		for err == nil && (!space.NoSpace || space.Used < int64(n)<<20) { // etcd notes both just after it has refused
			space, err = etcd.ReadSpace(t.Context(), client)
		}
		if err != nil || space.Quota != 4<<20 {
			t.Errorf("%+v, %v after %d MiB", space, err, n)
		}
		// The alarm stands against the smallest put; what was written can go.
		_, err = client.Put(t.Context(), "small", "")
		fixture.WantError(t, etcd.Classify(err), etcd.ErrFull, "", "")
		if _, err := client.Delete(t.Context(), "key/", clientv3.WithPrefix()); err != nil {
			t.Error(err)
		}
	})
}

// faultyKV fails txns before or after the real etcd has seen them.
type faultyKV struct {
	clientv3.KV
	before, after func() error
	underWay, max atomic.Int64
}

type faultyTxn struct {
	clientv3.Txn
	kv *faultyKV
}

func (kv *faultyKV) Txn(ctx context.Context) clientv3.Txn {
	return &faultyTxn{kv.KV.Txn(ctx), kv}
}

func (txn *faultyTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	txn.Txn = txn.Txn.If(cs...)
	return txn
}

func (txn *faultyTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	txn.Txn = txn.Txn.Else(ops...)
	return txn
}

func (txn *faultyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	txn.Txn = txn.Txn.Then(ops...)
	return txn
}

func (txn *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	now := txn.kv.underWay.Add(1)
	defer txn.kv.underWay.Add(-1)
	for now > txn.kv.max.Load() {
		txn.kv.max.Store(now)
	}
	if txn.kv.before != nil {
		if err := txn.kv.before(); err != nil {
			return nil, err
		}
	}
	resp, err := txn.Txn.Commit()
	if err == nil && txn.kv.after != nil {
		if err := txn.kv.after(); err != nil {
			return nil, err
		}
	}
	return resp, err
}

func TestTransientErrors(t *testing.T) {
	e := fixture.NewEtcd(t)
	for _, fault := range []error{
		rpctypes.ErrLeaderChanged, rpctypes.ErrGRPCNoLeader, rpctypes.ErrTooManyRequests,
	} {
		for _, applied := range []bool{false, true} {
			var tries atomic.Int64
			twice := func() error {
				if tries.Add(1) <= 2 {
					return fault
				}
				return nil
			}
			faulty := &faultyKV{KV: e.Client(), before: twice}
			if applied { // but its answer was lost
				faulty.before, faulty.after = nil, twice
			}
			kv := etcd.Bounded(clientOver(e, faulty))
			w := etcd.NewWriter(t.Context(), kv)
			put(t, w, "key", []byte("value"))
			barrier(t, w)
			if n, _ := w.Written(); n != 1 || tries.Load() != 3 {
				t.Errorf("%v: %d keys after %d tries", fault, n, tries.Load())
			}
			tries.Store(0)
			exist, err := etcd.Exist(t.Context(), kv, []string{"key"})
			if err != nil || !exist[0] || tries.Load() != 3 {
				t.Errorf("%v: %v, %v after %d tries", fault, exist, err, tries.Load())
			}
		}
	}
}

func TestErrorEndsWriter(t *testing.T) {
	e := fixture.NewEtcd(t)
	for _, fault := range []error{
		rpctypes.ErrNoSpace, rpctypes.ErrPermissionDenied, rpctypes.ErrTooManyOps, errors.New("other"),
	} {
		var tries atomic.Int64
		w := etcd.NewWriter(t.Context(), &faultyKV{KV: e.Client(), before: func() error {
			if tries.Add(1) == 3 {
				return fault
			}
			return nil
		}})
		var err error
		puts := 0
		for err == nil && puts < 1000 {
			err = w.Put(fmt.Sprintf("key/%d", puts), make([]byte, etcd.BatchBytes))
			puts++
		}
		if !errors.Is(err, fault) {
			t.Errorf("after %d puts: %v, want %v", puts, err, fault)
		}
		if most := 3 + 2*etcd.InFlight; puts > most {
			t.Errorf("the error of the third txn came with put %d", puts)
		}
		for range 2 {
			if again := w.Put("key", nil); !same(again, err) {
				t.Errorf("Put said %v", again)
			}
			if again := w.Barrier(); !same(again, err) {
				t.Errorf("Barrier said %v", again)
			}
		}
	}
}

// While etcd does not answer, no more than InFlight txns are under way and Put
// lets one more batch gather.
func TestWriterBounded(t *testing.T) {
	e := fixture.NewEtcd(t)
	open := make(chan struct{})
	kv := &faultyKV{KV: e.Client(), before: func() error { <-open; return nil }}
	w := etcd.NewWriter(t.Context(), kv)
	var accepted atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 20 {
			if err := w.Put(fmt.Sprintf("key/%d", i), make([]byte, etcd.BatchBytes)); err != nil {
				t.Error(err)
				return
			}
			accepted.Add(1)
		}
	})
	for kv.underWay.Load() < etcd.InFlight || accepted.Load() < etcd.InFlight+1 {
		runtime.Gosched()
	}
	for range 10_000 { // time enough for a Put that does not wait
		runtime.Gosched()
	}
	if n := accepted.Load(); n != etcd.InFlight+1 {
		t.Errorf("%d batches put while etcd does not answer", n)
	}
	close(open)
	group.Wait()
	barrier(t, w)
	if kv.max.Load() != etcd.InFlight {
		t.Errorf("%d txns at once", kv.max.Load())
	}
}

func TestWriterCancelled(t *testing.T) {
	e := fixture.NewEtcd(t)
	for name, fault := range map[string]error{"under way": nil, "between tries": rpctypes.ErrLeaderChanged} {
		ctx, cancel := context.WithCancel(t.Context())
		w := etcd.NewWriter(ctx, etcd.Bounded(clientOver(e, &faultyKV{KV: e.Client(), before: func() error {
			cancel()
			return fault
		}})))
		put(t, w, "key", nil)
		if err := w.Barrier(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := w.Put("key", nil); err == nil {
			t.Errorf("%s: Put goes on", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := etcd.NewWriter(ctx, e.Client())
	cancel()
	if err := w.Barrier(); !errors.Is(err, context.Canceled) {
		t.Errorf("Barrier said %v", err)
	}
	if _, err := etcd.Exist(ctx, e.Client(), []string{"key"}); !errors.Is(err, context.Canceled) {
		t.Errorf("read said %v", err)
	}
}

// A stopped etcd is unreachable, for reads and writes of a dialled client too.
func TestStoppedEtcd(t *testing.T) {
	t.Parallel()
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	client := dial(t, etcd.Config{Endpoints: []string{e.Addr()}})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	kv := etcd.Bounded(client)
	_, err := etcd.Exist(t.Context(), kv, []string{"key"})
	fixture.WantError(t, err, etcd.ErrUnreachable, "connection refused", "is etcd running")
	w := etcd.NewWriter(t.Context(), kv)
	put(t, w, "key", nil)
	fixture.WantError(t, w.Barrier(), etcd.ErrUnreachable, "connection refused", "is etcd running")
	_, err = etcd.ReadSpace(t.Context(), client)
	fixture.WantError(t, err, etcd.ErrUnreachable, "connection refused", "is etcd running")
}

// Many large values at once.
func TestGetLarge(t *testing.T) {
	bothClients(t, embedded.Config{}, func(t *testing.T, client *clientv3.Client) {
		w := etcd.NewWriter(t.Context(), client)
		var keys []string
		for i := range 20 {
			keys = append(keys, fmt.Sprintf("key/%d", i))
			put(t, w, keys[i], bytes.Repeat([]byte{byte(i)}, etcd.MaxValue))
		}
		barrier(t, w)
		values := valuesOf(t, client, keys)
		for i, value := range values {
			if !bytes.Equal(value, bytes.Repeat([]byte{byte(i)}, etcd.MaxValue)) {
				t.Errorf("value %d differs, %d bytes", i, len(value))
			}
		}
	})
}
