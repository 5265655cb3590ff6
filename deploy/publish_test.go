package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

const record1 = namespace + "/deploy/1/record"

// uploaded gives a deploy of one file that only its publish keeps from being there.
func (f *setup) uploaded(commit tree.OID) (*deploy.Prepared, *deploy.Lock) {
	f.Helper()
	p, lock := f.prepare(f.job(commit))
	if err := p.Upload(f.Context(), quiet); err != nil {
		f.Fatal(err)
	}
	return p, lock
}

func (f *setup) one() tree.OID {
	f.Helper()
	return f.repo.commit("one", files{"a": regular("a")})
}

// lose makes the publishing txn's answer get lost, the first time.
func (f *setup) lose(key string, applied bool, then func()) {
	lost := false
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if lost || !txn.puts(key) {
			return txn.send()
		}
		lost = true
		if applied {
			if _, err := txn.send(); err != nil {
				return nil, err
			}
		}
		then()
		return nil, context.DeadlineExceeded
	})
}

func TestAnswerLostAfterApplying(t *testing.T) {
	f := newSetup(t)
	p, lock := f.uploaded(f.one())
	f.lose(record1, true, func() {})
	d, err := p.Publish(t.Context())
	if err != nil || d.ID != 1 || f.dump()[record1] != string(d.RecordBytes) {
		t.Fatalf("deploy %+v, %v", d, err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	f.sameAsGit(f.get(1))
}

// The pusher's context may have ended: what became of the txn is found out all the same.
func TestAnswerLostWithTheContext(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	ctx, cancel := context.WithCancel(t.Context())
	f.lose(record1, true, cancel)
	if d, err := p.Publish(ctx); err != nil || d.ID != 1 {
		t.Fatalf("deploy %+v, %v", d, err)
	}
}

func TestAnswerLostAndNotApplied(t *testing.T) {
	f := newSetup(t)
	p, lock := f.uploaded(f.one())
	var late *tapTxn
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if late == nil && txn.puts(record1) {
			late = &tapTxn{tap: f.tap, ctx: t.Context(), ifs: txn.ifs, thens: txn.thens, elses: txn.elses}
			return nil, context.DeadlineExceeded
		}
		return txn.send()
	})
	_, err := p.Publish(t.Context())
	if !errors.Is(err, deploy.ErrLockLost) || !errors.Is(err, etcd.ErrUnreachable) {
		t.Fatalf("got %v, want both lock lost and unreachable", err)
	}
	// The txn that was under way all the time arrives now, and must not be applied: the caller thinks it was not.
	if resp, err := late.send(); err != nil || resp.Succeeded {
		t.Errorf("a late publish succeeded, %v", err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if keys := f.dump(); keys[record1] != "" || keys[own+"lock"] != "" {
		t.Errorf("record %q, lock %q", keys[record1], keys[own+"lock"])
	}
	f.deploy(p.Verdict.Commits[0])
}

func TestDoPublishesAgainWhenTheAnswerWasLostAndNotApplied(t *testing.T) {
	f := newSetup(t)
	f.lose(record1, false, func() {})
	f.sameAsGit(f.deploy(f.one()))
}

func TestEtcdIsFullAtThePublish(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if txn.puts(record1) {
			return nil, rpctypes.ErrNoSpace
		}
		return txn.send()
	})
	if _, err := p.Publish(t.Context()); !errors.Is(err, etcd.ErrFull) || errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("got %v, want etcd full", err)
	}
	if f.dump()[own+"lock"] != "" {
		t.Error("the lock is still there")
	}
}

func TestLockStolenBeforeThePublish(t *testing.T) {
	steal := map[string]func(*setup){
		"deleted": func(f *setup) { f.delete(own + "lock") },
		"retaken": func(f *setup) { f.delete(own + "lock"); f.put(own+"lock", "somebody else") },
	}
	for name, fn := range steal {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			p, lock := f.uploaded(f.one())
			fn(f)
			before := f.dump()
			if d, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
				t.Fatalf("deploy %+v, %v; want lock lost", d, err)
			}
			if err := lock.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
			f.unchanged(before)
			f.delete(own + "lock")
			f.sameAsGit(f.deploy(p.Verdict.Commits[0]))
		})
	}
}

func TestGivenBackLockPublishesNothing(t *testing.T) {
	f := newSetup(t)
	p, lock := f.uploaded(f.one())
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("got %v, want lock lost", err)
	}
}

func (f *setup) unchanged(before map[string]string) {
	f.Helper()
	after := f.dump()
	for key, value := range before {
		if after[key] != value {
			f.Errorf("%s changed from %q to %q", key, value, after[key])
		}
	}
	for key := range after {
		if _, ok := before[key]; !ok {
			f.Errorf("%s is new", key)
		}
	}
}

func TestHeadMovesBeforeThePublish(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.one())
	next := f.repo.commit("two", files{"a": regular("b")}, first.Hash.OID())
	for name, move := range map[string]func(){
		"a foreign deploy": func() { f.foreign(2, next.String()) },
		"the head's hash":  func() { f.put(namespace+"/deploy/1/hash", string(first.Hash)) },
		"a payload":        func() { f.put(namespace+"/deploy/1/payload", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			p, lock := f.uploaded(next)
			move()
			if d, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
				t.Errorf("deploy %+v, %v; want lock lost", d, err)
			}
			if f.dump()[namespace+"/deploy/2/record"] != "" {
				t.Error("deploy 2 has a record")
			}
			if err := lock.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
			f.delete(namespace + "/deploy/2/payload")
			f.delete(namespace + "/deploy/2/hash")
			f.delete(namespace + "/deploy/1/payload")
		})
	}
}

func TestAnotherWriterIsFirstOnAnEmptyChain(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	f.foreign(1, "")
	if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("got %v, want lock lost", err)
	}
}

func TestHoldBetweenPrepareAndPublish(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	f.put(own+"hold", "wait")
	_, err := p.Publish(t.Context())
	fixture.WantFault(t, fault.Conflict, err, "is on hold: wait", "chain-held /refship/config")
	if f.dump()[record1] != "" {
		t.Error("published on hold")
	}
}

func TestClockThatWasSetBack(t *testing.T) {
	for name, foreign := range map[string]bool{"record": false, "below a foreign deploy": true} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			f.mgmts = foreign
			commit := f.one()
			future := time.Now().UTC().AddDate(9, 0, 0).Truncate(time.Second).Add(678 * time.Millisecond)
			r := record.Record{ID: 1, Hash: record.Hash(commit.String()), Time: future}
			if foreign {
				r.Frontend = record.Empty
			}
			f.handwritten(r)
			if foreign {
				f.foreign(2, commit.String())
			}
			two := f.repo.commit("two", files{"a": regular("b")}, commit)
			if v, err := f.chain.Check(t.Context(), f.job(two)); err != nil || len(v.Odd) != 1 ||
				!strings.Contains(v.Odd[0], "is 9 years ahead of this machine's clock") {
				t.Errorf("verdict %+v, %v", v, err)
			}
			d := f.deploy(two)
			if !d.Record.Time.Equal(future) || !strings.Contains(string(d.RecordBytes), `.678Z"}`) {
				t.Errorf("record %s", d.RecordBytes)
			}
			if d.Record.PreviousRecord.ID != 1 {
				t.Errorf("previous record %+v", d.Record.PreviousRecord)
			}
		})
	}
}

// Two processes at once on one chain: as many numbers as deploys, none twice, and each on top of the one below.
func TestTwoWritersNeverPublishTheSameID(t *testing.T) {
	f := newSetup(t)
	const each = 15
	line := f.line("main", 2*each)
	f.open()
	stores := []*deploy.Store{f.newStore(), f.newStore()}
	var mu sync.Mutex
	ids := map[record.ID]string{}
	var group errgroup.Group
	for w, store := range stores {
		repo := f.openRepo(f.repo)
		group.Go(func() error {
			for i := w; i < len(line); i += 2 {
				job := f.job(line[i])
				job.Repo = repo
				d, already, err := store.Chain(f.chain.Namespace()).Do(t.Context(), holder, job, 30*time.Second, quiet)
				var conflict *deploy.ConflictError
				if errors.As(err, &conflict) {
					continue // the other one is ahead already
				}
				if err != nil {
					return fmt.Errorf("deploy %d: %w", i, err)
				}
				mu.Lock()
				if was, twice := ids[d.ID]; twice || already {
					t.Errorf("deploy %d is both %s and %s (already %t)", d.ID, was, d.Hash, already)
				}
				ids[d.ID] = string(d.Hash)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	head := f.head()
	if int(head) != len(ids) || len(ids) < each {
		t.Errorf("head %d, %d deploys were published", head, len(ids))
	}
	f.provenChain(head)
}

// provenChain checks hashes, previous records and signatures from the head down to deploy 1.
func (f *setup) provenChain(head record.ID) {
	f.Helper()
	var above *record.Deploy
	n := 0
	err := f.chain.Log(f.Context(), 0, func(d *record.Deploy) error {
		n++
		if above != nil {
			want := record.Ref{ID: d.ID, SHA256: sha256Hex(d.RecordBytes)}
			if above.Record.PreviousHash != d.Hash || above.Record.PreviousRecord != want ||
				above.Record.Time.Before(d.Record.Time) {
				f.Errorf("deploy %d does not follow %d: %s", above.ID, d.ID, above.RecordBytes)
			}
		}
		above = d
		return nil
	})
	if err != nil || n != int(head) {
		f.Errorf("log has %d of %d deploys, %v", n, head, err)
	}
	if above != nil && (above.Record.PreviousHash != "" || above.Record.PreviousRecord != record.Ref{}) {
		f.Errorf("the first record is %s", above.RecordBytes)
	}
}

// sshVerify lets stock ssh-keygen check a signature over a record.
func (f *setup) sshVerify(record, signature []byte) error {
	f.Helper()
	dir := f.TempDir()
	allowed, sig := filepath.Join(dir, "allowed"), filepath.Join(dir, "sig")
	f.writeFile(allowed, "refship "+authorized(f.signer))
	f.writeFile(sig, string(signature))
	cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "refship", "-n", "refship", "-s", sig)
	cmd.Stdin = strings.NewReader(string(record))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	return nil
}

func TestStockProgramVerifiesEachRecord(t *testing.T) {
	f := newSetup(t)
	for _, commit := range f.line("<&>é", 4) {
		f.deploy(commit)
	}
	f.provenChain(4)
	for id := record.ID(1); id <= 4; id++ {
		d := f.get(id)
		if err := f.sshVerify(d.RecordBytes, d.Signature); err != nil {
			t.Errorf("deploy %d: %v", id, err)
		}
		if err := f.sshVerify(append(d.RecordBytes, '\n'), d.Signature); err == nil {
			t.Errorf("deploy %d: another text verifies", id)
		}
	}
	job := f.job(f.one())
	job.Signer = nil
	f.clear()
	d, _, err := f.do(job)
	if err != nil || d.Record.Signer != "" || f.dump()[namespace+"/deploy/1/signature"] != "" {
		t.Errorf("unsigned: %s, %v", d.RecordBytes, err)
	}
	f.sameAsGit(f.get(1))
}
