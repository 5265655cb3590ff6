package etcd_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// fill overwrites one key until etcd is full: only the newest value of it is needed.
func fill(t *testing.T, client *etcd.Client) {
	t.Helper()
	for i := range 1000 {
		_, err := client.Put(t.Context(), "/key", strings.Repeat(fmt.Sprint(i%10), 1<<20))
		if errors.Is(etcd.Classify(err), etcd.ErrFull) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("etcd does not become full")
}

func dialled(t *testing.T, cfg etcd.Config) *etcd.Client {
	t.Helper()
	cfg.DialTimeout = time.Minute // a login takes long on a busy machine
	client, err := etcd.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// What a user gains: a full etcd takes writes again, and nothing that is needed goes.
func TestMakeRoom(t *testing.T) {
	t.Parallel()
	dir := fixture.ShortDir(t)
	fixture.StartEtcd(t, embedded.Config{Dir: dir, Quota: 32 << 20})
	client := dialled(t, etcd.Config{Endpoints: []string{etcd.Socket(dir)}})
	fill(t, client)
	before, err := etcd.ReadSpace(t.Context(), client)
	if err != nil || !before.NoSpace {
		t.Fatalf("%+v, %v", before, err)
	}
	made, err := etcd.MakeRoom(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	after, err := etcd.ReadSpace(t.Context(), client)
	if err != nil || after.NoSpace || made.Space.Used != after.Used || after.Used > 8<<20 ||
		made.Won != before.Used-after.Used || len(made.Missed) != 0 {
		t.Errorf("%+v, then %+v, %v; made: %+v", before, after, err, made)
	}
	if _, err := client.Put(t.Context(), "/other", "value"); err != nil {
		t.Error(err)
	}
	if got := valuesOf(t, client, []string{"/key"})[0]; len(got) != 1<<20 {
		t.Errorf("/key has %d bytes", len(got))
	}
	if made, err = etcd.MakeRoom(t.Context(), client); err != nil || made.Won < 0 || made.Won > 2<<20 {
		t.Errorf("where there is nothing to win: %+v, %v", made, err)
	}
}

// Each member is defragmented, and one that no endpoint leads to is named. The alarm is of all.
func TestMakeRoomInACluster(t *testing.T) {
	t.Parallel()
	members := fixture.StartCluster(t, 3, "--quota-backend-bytes=16777216")
	one := dialled(t, etcd.Config{Endpoints: fixture.URLs(members[:1])})
	fill(t, one)
	made, err := etcd.MakeRoom(t.Context(), one)
	if err != nil || made.Won < 8<<20 || strings.Join(made.Missed, ",") != "m2,m3" {
		t.Fatalf("%+v, %v", made, err)
	}
	all := dialled(t, etcd.Config{Endpoints: fixture.URLs(members)})
	if made, err = etcd.MakeRoom(t.Context(), all); err != nil || made.Won < 8<<20 || len(made.Missed) != 0 {
		t.Errorf("%+v, %v", made, err)
	}
	for _, m := range members {
		status, err := all.Status(t.Context(), m.URL())
		if err != nil || status.DbSize > 8<<20 || len(status.Errors) != 0 {
			t.Errorf("%s: %+v, %v", m.Name, status, err)
		}
	}
	if _, err := all.Put(t.Context(), "/other", "value"); err != nil {
		t.Error(err)
	}
	members[2].Kill()
	if made, err = etcd.MakeRoom(t.Context(), all); err != nil || strings.Join(made.Missed, ",") != "m3" {
		t.Errorf("without m3: %+v, %v", made, err)
	}
}

// Only root may do that, and is named. Another alarm stays.
func TestMakeRoomIsForRoot(t *testing.T) {
	t.Parallel()
	dir := fixture.ShortDir(t)
	e := fixture.StartEtcd(t, embedded.Config{Dir: dir})
	fixture.EnableAuth(t, e.Client())
	user := dialled(t, etcd.Config{Endpoints: []string{etcd.Socket(dir)}, User: "ship", Password: "secret"})
	_, err := etcd.MakeRoom(t.Context(), user)
	if reason, _ := fault.ReasonOf(err); !errors.Is(err, etcd.ErrDenied) || reason != etcd.ReasonNotRoot ||
		!strings.Contains(fault.RemedyOf(err), "root") {
		t.Errorf("%v: %s", err, fault.RemedyOf(err))
	}
	root := dialled(t, etcd.Config{Endpoints: []string{etcd.Socket(dir)}, User: "root", Password: "secret"})
	alarms := pb.NewMaintenanceClient(root.ActiveConnection())
	for _, alarm := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		if _, err := alarms.Alarm(t.Context(), &pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: 1, Alarm: alarm,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := etcd.Disarm(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	left, err := root.AlarmList(t.Context())
	if err != nil || len(left.Alarms) != 1 || left.Alarms[0].Alarm != pb.AlarmType_CORRUPT {
		t.Errorf("%v, %v", left, err)
	}
}

// An in-process client leads to no member: it is told, and does not end the process.
func TestMakeRoomNeedsEndpoints(t *testing.T) {
	t.Parallel()
	if _, err := etcd.MakeRoom(t.Context(), fixture.NewEtcd(t).Client()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
