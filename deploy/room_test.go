package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
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
	if err := f.store.CheckRoom(t.Context(), []*deploy.Prepared{small}); err != nil {
		t.Error(err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	// All of one push together: each alone would fit.
	half := f.repo.commit("half", files{"a": regular(noise(1 << 20))})
	p, _ := f.prepare(f.job(half))
	if err := f.store.CheckRoom(t.Context(), []*deploy.Prepared{p}); err != nil {
		t.Error(err)
	}
	err = f.store.CheckRoom(t.Context(), []*deploy.Prepared{p, p})
	fixture.WantFault(t, fault.Unavailable, err, "this needs 2 MiB in etcd", "")
	if err := f.store.CheckRoom(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// Until etcd itself has noticed.
	for err = nil; err == nil; {
		_, err = f.tap.KV.Put(t.Context(), "/elsewhere", noise(1<<20))
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) || !deploy.IsFull(etcd.Classify(err)) || deploy.IsFull(errCut) {
		t.Errorf("%v", err)
	}
	err = f.store.CheckRoom(t.Context(), []*deploy.Prepared{small})
	fixture.WantFault(t, fault.Unavailable, err, " of the quota of 2 MiB are free; etcd's alarm NOSPACE is on", "disarm the alarm")
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
