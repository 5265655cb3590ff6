package gc_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// hooked calls a function before each txn, and one after it, whose error is the answer then.
type hooked struct {
	clientv3.KV
	before func(clientv3.Op)
	after  func(clientv3.Op) error
}

func (k *hooked) Txn(ctx context.Context) clientv3.Txn { return &hookedTxn{ctx: ctx, kv: k} }

type hookedTxn struct {
	ctx          context.Context
	kv           *hooked
	ifs          []clientv3.Cmp
	thens, elses []clientv3.Op
}

func (t *hookedTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.ifs = cs; return t }
func (t *hookedTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.thens = ops; return t }
func (t *hookedTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.elses = ops; return t }

func (t *hookedTxn) Commit() (*clientv3.TxnResponse, error) {
	op := clientv3.OpTxn(t.ifs, t.thens, t.elses)
	if t.kv.before != nil {
		t.kv.before(op)
	}
	resp, err := t.kv.KV.Txn(t.ctx).If(t.ifs...).Then(t.thens...).Else(t.elses...).Commit()
	if err == nil && t.kv.after != nil {
		err = t.kv.after(op)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// through has the store of f ask through hooks from now on.
func (f *setup) through(k *hooked) {
	k.KV = f.KV
	f.Client.KV = k
	f.Store = f.newStore()
}

// directly undoes through.
func (f *setup) directly() { f.through(&hooked{}) }

// reads tells whether a txn reads a key.
func reads(op clientv3.Op, key string) bool {
	_, thens, _ := op.Txn()
	for _, then := range thens {
		if then.IsGet() && string(then.KeyBytes()) == key {
			return true
		}
	}
	return false
}

// deletes tells whether a txn deletes content.
func deletes(op clientv3.Op) bool {
	_, thens, _ := op.Txn()
	for _, then := range thens {
		if then.IsDelete() && !strings.HasSuffix(string(then.KeyBytes()), "/lock") {
			return true
		}
	}
	return false
}

// grow lets all that is there be older than a day.
func (f *setup) grow() {
	f.Helper()
	at := f.Put("elsewhere", "")
	runs := record.Runs{{Revision: at, Time: time.Now().Add(-25 * time.Hour)}}
	f.Put(namespace+"/refship/gc", string(runs.Encode()))
}

func (f *setup) remove(key string) {
	if _, err := f.KV.Delete(f.Context(), key); err != nil {
		f.Error(err)
	}
}

// once calls fn when gc tells what goes: it has marked all, and deleted nothing.
func once(fn func()) func(*gc.Config) {
	told := false
	return func(cfg *gc.Config) {
		cfg.Gone = func(gc.Gone) {
			if !told {
				told = true
				fn()
			}
		}
	}
}

// A node of an expired deploy cannot be read; a push that has it comes before gc deletes what is below.
func TestUnreadableNodeComesBack(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"damaged", "deleted by another gc"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			f := newSetup(t)
			again := files{"d/a": "content a", "d/e/b": "content b"}
			root := f.Chain().TreeKey(f.deploy(again).Record.Tree)
			f.deploy(files{"x": "two"})
			if how == "damaged" {
				f.Put(root, "garbage")
			} else {
				gone := false
				f.through(&hooked{before: func(op clientv3.Op) {
					if !gone && reads(op, root) {
						gone = true
						f.remove(root)
					}
				}})
			}
			f.collect(1, once(func() {
				f.directly()
				f.deploy(again)
			}))
			f.wantWhole(3)
		})
	}
}

// A young leftover lacks a node; a push that is tried again puts that, and finds what is below it.
func TestYoungLeftoverWithAHole(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	first := f.deploy(files{"x": "one"})
	f.leave("own", "shared")
	f.grow()
	commit := f.commit(files{"d/own": "own", "e/shared": "shared"}, first.Hash.OID())
	root := fixture.OID(strings.TrimSpace(f.Repo.Git("rev-parse", commit.String()+"^{tree}")))
	key := f.Chain().TreeKey(root)
	f.Put(key, f.content()[key]) // it is young now
	nodes := f.Chain().NewNodes()
	if err := nodes.Load(t.Context(), []*tree.Entry{{OID: root}}); err != nil {
		t.Fatal(err)
	}
	for _, e := range nodes.Node(root).Entries {
		if e.Name == "d" {
			f.remove(f.Chain().TreeKey(e.OID))
		}
	}
	f.collect(1, once(func() {
		if _, err := f.Publish(t.Context(), f.Job(commit)); err != nil {
			t.Error(err)
		}
	}))
	f.wantWhole(2)
}

// gc keeps deploy 3, of which another gc has just taken a part. Deploy 2 is pinned, and shares a directory with it.
func TestAnotherGCTakesAKeptDeploy(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.deploy(files{"q": "first"})
	f.deploy(files{"a/b/f": "needed"})
	third := f.deploy(files{"a/b/f": "needed", "x/g": "own"}).Record.Root()
	f.deploy(files{"z": "head"})
	f.pin(2, false)
	f.grow()
	nodes := f.Chain().NewNodes()
	if err := nodes.LoadBelow(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	x := f.Chain().TreeKey(nodes.Node(third.OID).Entries[1].OID)
	taken := false
	f.through(&hooked{before: func(op clientv3.Op) {
		if !taken && reads(op, x) {
			taken = true
			f.Put(namespace+"/refship/expired", "3")
			f.remove(f.Chain().TreeKey(third.OID))
			f.remove(x)
		}
	}})
	f.collect(2)
	if !taken {
		t.Error("the node was not read")
	}
	f.wantWhole(2, 4)
}

// The answer of a deletion is lost, and etcd's client asks again: what went is counted, and nothing is left.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for nth := 1; nth <= 4; nth++ {
		f := newSetup(t)
		all := files{}
		for i := range 200 {
			all[fmt.Sprintf("%d/%d/file", i%10, i)] = strconv.Itoa(i)
		}
		f.deploy(all)
		f.deploy(files{"x": "two"})
		count := 0
		f.through(&hooked{after: func(op clientv3.Op) error {
			if deletes(op) {
				if count++; count == nth {
					return status.Error(codes.Unavailable, "etcdserver: request timed out")
				}
			}
			return nil
		}})
		before := f.content()
		result, _ := f.collect(1)
		keys, bytes := lost(before, f.content())
		if result.Keys != len(keys) || result.Bytes != bytes || count < 4 {
			t.Errorf("answer %d of %d lost: %+v, gone are %d keys, %d bytes", nth, count, result, len(keys), bytes)
		}
		f.wantStored()
		need := f.needs(2)
		for key := range f.content() {
			if !need[key] {
				t.Fatalf("%s is left", key)
			}
		}
	}
}

// A clock that was ahead keeps deploys only as long as a time is asked for.
func TestRecordsOfTheFuture(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	r := f.deploy(files{"x": "one"}).Record
	r.Time = time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.Put(f.Chain().DeployKey(1, record.KeyRecord), string(text))
	f.deploy(files{"x": "two"})
	f.deploy(files{"x": "three"})
	if result, _ := f.collect(1); result.Kept != 1 {
		t.Errorf("%+v", result)
	}
}

// A chain that was deleted meanwhile stays deleted.
func TestChainIsDeleted(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	_, err := gc.Run(t.Context(), gc.Config{Store: f.Store, KeepLast: 1, Gone: func(gc.Gone) {
		if head, err := f.Chain().Head(t.Context()); err != nil || head == nil {
			return
		}
		if err := f.Chain().Delete(t.Context(), f.lock()); err != nil {
			t.Error(err)
		}
	}}, f.Namespace)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "deleted meanwhile") {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]string{}, f.Dump()); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
}

// A pin that is no deploy's pins nothing, and a kept deploy of a later format is not judged.
func TestOddPinAndFormat(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	f.Put(namespace+"/refship/keep/999", "{}")
	f.Put(namespace+"/refship/keep/x", "{}")
	key := f.Chain().DeployKey(3, record.KeyRecord)
	f.Put(key, strings.Replace(f.Dump()[key], `"format":1`, `"format":9`, 1))
	if _, err := gc.Run(t.Context(), gc.Config{Store: f.Store, KeepLast: 3}, f.Namespace); !record.IsNewer(err) {
		t.Error(err)
	}
	f.grow() // the damaged one may have been mgmt's
	result, gone := f.collect(2)
	if expired, err := f.Chain().Expired(t.Context()); err != nil || expired != 3 {
		t.Errorf("expired up to %d: %v; %+v %v", expired, err, result, gone)
	}
	f.wantWhole(4, 5)
}

// Of a chain that mgmt alone has written gc's own notes tell the age.
func TestForeignChain(t *testing.T) {
	t.Parallel()
	f := newMgmtSetup(t)
	for id := record.ID(1); id <= 4; id++ {
		f.foreign(id, f.block(id, fmt.Sprint("content ", id)))
	}
	within := func(cfg *gc.Config) { cfg.KeepWithin = 90 * 24 * time.Hour }
	f.ages(80 * 24 * time.Hour)
	if result, _ := f.collect(1, within); result.Kept != 4 {
		t.Errorf("%+v", result)
	}
	f.ages(91 * 24 * time.Hour)
	if result, _ := f.collect(1, within); result.Kept != 1 || result.Deploys != 3 {
		t.Errorf("%+v", result)
	}
	f.wantRuns(4)
}

// A reader whose deploy goes away meanwhile says so, and leaves nothing half.
func TestReaderMeetsGC(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{}
	for i := range 300 {
		all[fmt.Sprintf("%d/file", i)] = strconv.Itoa(i)
	}
	d := f.deploy(all)
	f.deploy(files{"x": "two"})
	dir, gone := filepath.Join(t.TempDir(), "out"), false
	err := f.Chain().Checkout(t.Context(), d, dir, func(p text.Progress) {
		if !gone && p.Files > 0 {
			gone = true
			f.collect(1)
		}
	})
	fixture.WantReason(t, fault.Failed, err, "deploy-expired 1 "+string(d.Hash)+" "+namespace)
	left, err := os.ReadDir(filepath.Dir(dir))
	if !gone || err != nil || len(left) != 0 {
		t.Errorf("gc ran: %t; left are %v, %v", gone, left, err)
	}
}
