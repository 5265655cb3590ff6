package deploy_test

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"refship/deploy"
	"refship/deploy/etcd"
)

func TestWhatEtcdHasNoRoomForIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	dir, err := os.MkdirTemp("", "etcd") // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e, err := etcd.Start(t.Context(), etcd.EmbeddedConfig{Dir: dir, Quota: 2 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	f := newFixtureOn(t, e.Client())
	large := f.repo.commit("large", files{"a": text(noise(1 << 20)), "b": text(noise(1<<20 - 1))})
	_, _, err = f.do(f.job(large))
	wantError[*deploy.RefusedError](t, err, "this needs 2 MiB in etcd and ", "raise its quota")
	if !errors.Is(err, etcd.ErrFull) {
		t.Errorf("%v is not etcd full", err)
	}
	if keys := f.dump(); len(keys) != 0 {
		t.Errorf("etcd has %d keys", len(keys))
	}
	small, lock := f.prepare(f.job(f.repo.commit("small", files{"a": text("a")})))
	if err := deploy.CheckRoom(t.Context(), f.client, []*deploy.Prepared{small}); err != nil {
		t.Error(err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	// All of one push together: each alone would fit.
	half := f.repo.commit("half", files{"a": text(noise(1 << 20))})
	p, _ := f.prepare(f.job(half))
	if err := deploy.CheckRoom(t.Context(), f.client, []*deploy.Prepared{p}); err != nil {
		t.Error(err)
	}
	err = deploy.CheckRoom(t.Context(), f.client, []*deploy.Prepared{p, p})
	wantError[*deploy.RefusedError](t, err, "this needs 2 MiB in etcd", "")
	if err := deploy.CheckRoom(t.Context(), f.client, nil); err != nil {
		t.Error(err)
	}
}
