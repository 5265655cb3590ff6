package deploy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

func TestWhatEtcdHasNoRoomForIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	f := newSetupOn(t, fixture.StartEtcd(t, embedded.Config{Quota: 2 << 20}).Client())
	large := f.repo.commit("large", files{"a": regular(noise(1 << 20)), "b": regular(noise(1<<20 - 1))})
	_, _, err := f.do(f.job(large))
	fixture.WantFault(t, fault.Unavailable, err, " of the quota of 2 MiB are free", "raise its quota")
	if !deploy.IsFull(err) || strings.Contains(err.Error(), "alarm") {
		t.Errorf("%v is not etcd full", err)
	}
	if keys := f.dump(); len(keys) != 0 {
		t.Errorf("etcd has %d keys", len(keys))
	}
	small, lock := f.prepare(f.job(f.repo.commit("small", files{"a": regular("a")})))
	if _, err := f.store.TakeRoom(t.Context(), []*deploy.Prepared{small}); err != nil {
		t.Error(err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	// All of one push together: each alone would fit.
	half := f.repo.commit("half", files{"a": regular(noise(1 << 20))})
	job := f.job(half)
	job.MaxStored = record.NoLimit
	p, _ := f.prepare(job)
	if _, err := f.store.TakeRoom(t.Context(), []*deploy.Prepared{p}); err != nil {
		t.Error(err)
	}
	_, err = f.store.TakeRoom(t.Context(), []*deploy.Prepared{p, p})
	fixture.WantFault(t, fault.Unavailable, err, "this needs 2 MiB in etcd", "")
	room, dir := new(disk.Room), t.TempDir()
	f.store = deploy.NewStore(f.client, deploy.Config{LeaseTTL: time.Minute, Log: discard(), EtcdDir: dir, Room: room})
	_, err = f.store.TakeRoom(t.Context(), []*deploy.Prepared{p, p})
	fixture.WantFault(t, fault.Unavailable, err, "this needs 2 MiB in etcd", "")
	wantTaken(t, room, dir, 0)
	if _, err := f.store.TakeRoom(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// Until etcd itself has noticed.
	for err = nil; err == nil; {
		_, err = f.tap.KV.Put(t.Context(), "/elsewhere", noise(1<<20))
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) || !deploy.IsFull(etcd.Classify(err)) || deploy.IsFull(errCut) {
		t.Errorf("%v", err)
	}
	_, err = f.store.TakeRoom(t.Context(), []*deploy.Prepared{small})
	fixture.WantFault(t, fault.Unavailable, err, " of the quota of 2 MiB are free; etcd's alarm NOSPACE is on",
		"disarm the alarm")
	if !deploy.IsFull(err) || !strings.HasPrefix(err.Error(), "this needs ") {
		t.Error(err)
	}
}

// What an etcd before 3.6 says has no quota in it.
func TestRoomOfAnUnknownQuota(t *testing.T) {
	space := etcd.Space{Used: 3 << 20}
	if err := deploy.Fits(1<<40, space); err != nil {
		t.Error(err)
	}
	space.NoSpace = true
	fixture.WantFault(t, fault.Unavailable, deploy.Fits(1<<20, space),
		"this needs 1 MiB in etcd, where 3 MiB are used and the quota is unknown; etcd's alarm NOSPACE is on", "quota")
}

// What etcd stores is on its disk twice, and a file of its log is there before it is filled. Until a push has stored
// all, nobody else gets what it needs.
func TestRoomOnEtcdsDisk(t *testing.T) {
	f, dir, room := newSetup(t), t.TempDir(), new(disk.Room)
	f.store = deploy.NewStore(f.client, deploy.Config{LeaseTTL: time.Minute, Log: discard(), EtcdDir: dir, Room: room})
	f.chain = f.store.Chain(namespace)
	p, _ := f.prepare(f.job(f.repo.commit("first", files{"a": regular(noise(1 << 20))})))
	give, err := f.store.TakeRoom(t.Context(), []*deploy.Prepared{p, p})
	if err != nil {
		t.Fatal(err)
	}
	wantTaken(t, room, dir, 2*2*p.Need())
	give()
	wantTaken(t, room, dir, 0)
	room.Keep(dir, huge)
	_, err = f.store.TakeRoom(t.Context(), []*deploy.Prepared{p})
	fixture.WantFault(t, fault.Unavailable, err, "this needs 1 EiB on the disk of the server's etcd, where ",
		"must free some space on its disk; then push again")
	if !deploy.IsFull(err) {
		t.Errorf("%v is not etcd full", err)
	}
}

const huge = 1 << 60

// wantTaken wants so many bytes of a disk to be taken, and two files of etcd's log to be kept free there.
func wantTaken(t *testing.T, room *disk.Room, dir string, want int64) {
	t.Helper()
	var full *disk.FullError
	if err := room.Share(dir).Take(huge); !errors.As(err, &full) || full.Need != huge+2*64_000_000 ||
		full.Taken != want {
		t.Errorf("got %v, want %d taken", err, want)
	}
}
