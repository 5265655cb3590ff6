package gc_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/gc"
	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// mgmtSetup is a chain in mgmt's namespace, of which it is known that all until now is older than an hour.
type mgmtSetup struct{ *setup }

func newMgmtSetup(t testing.TB) *mgmtSetup {
	f := &mgmtSetup{newSetup(t)}
	f.Namespace = record.MgmtNamespace
	return f
}

// elsewhere is a key that is no chain's.
const elsewhere = "elsewhere"

// ages lets time pass: what is there is older than so long.
func (f *mgmtSetup) ages(by time.Duration) {
	f.Helper()
	at := f.Put(elsewhere, "")
	runs := record.Runs{{Revision: at, Time: time.Now().Add(-by)}}
	f.Put(string(f.Namespace)+"/refship/gc", string(runs.Encode()))
}

// lang deploys for mgmt's language.
func (f *mgmtSetup) lang(content string) *record.Deploy {
	f.Helper()
	head, err := f.Chain().Head(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	var parents []tree.OID
	if head != nil {
		parents = append(parents, head.Hash.OID())
	}
	job := f.Job(f.commit(files{"main.mcl": content, "modules/a": "shared"}, parents...))
	job.Frontend = record.Lang
	d, err := f.Publish(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// block puts what mgmt uploads before it publishes: contents that are missing, then a superblock. It gives its path.
func (f *mgmtSetup) block(id record.ID, contents ...string) string {
	return f.upload(false, id, contents)
}

// blockAnew is block, and also puts contents that are there.
func (f *mgmtSetup) blockAnew(id record.ID, contents ...string) string {
	return f.upload(true, id, contents)
}

func (f *mgmtSetup) upload(anew bool, id record.ID, contents []string) string {
	f.Helper()
	root := &mgmt.File{Mode: fs.ModeDir}
	for i, content := range append(contents, "main: 0.mcl\n") {
		name := fmt.Sprintf("%d.mcl", i)
		if i == len(contents) {
			name = "metadata.yaml"
		}
		sum := sha256.Sum256([]byte(content))
		key := string(f.Namespace) + "/storage/{sha256}" + hex.EncodeToString(sum[:])
		if resp, err := f.KV.Get(f.Context(), key); err != nil {
			f.Fatal(err)
		} else if anew || len(resp.Kvs) == 0 {
			f.Put(key, content)
		}
		root.Children = append(root.Children, &mgmt.File{Name: name, Mode: 0o644, SHA256: sum})
	}
	value, err := mgmt.EncodeSuperblock(root)
	if err != nil {
		f.Fatal(err)
	}
	path := mgmt.SuperblockPath(uint64(id), fmt.Sprintf("00000000-0000-4000-8000-%012d", f.Put(elsewhere, "")))
	f.Put(string(f.Namespace)+path, string(value))
	return path
}

// foreign publishes a deploy as mgmt does.
func (f *mgmtSetup) foreign(id record.ID, path string) {
	f.Helper()
	payload, err := (&mgmt.Payload{Frontend: mgmt.Lang, InputURI: mgmt.InputURI(path)}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Put(f.Chain().DeployKey(id, record.KeyPayload), string(payload))
	f.Put(f.Chain().DeployKey(id, record.KeyHash), "")
}

// wantRuns wants mgmt to be able to run deploys.
func (f *mgmtSetup) wantRuns(ids ...record.ID) {
	f.Helper()
	values := map[string][]byte{}
	for key, value := range f.Dump() {
		if key != elsewhere {
			values[key] = []byte(value)
		}
	}
	below, err := mgmttest.Below(string(f.Namespace), values)
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range ids {
		if _, err := mgmttest.ReadID(below, uint64(id)); err != nil {
			f.Errorf("mgmt cannot read deploy %d: %v", id, err)
		}
	}
}

func TestMgmtKeeps(t *testing.T) {
	t.Parallel()
	f := newMgmtSetup(t)
	f.lang("one")
	f.lang("two")
	f.foreign(3, f.block(3, "three", "shared"))
	f.lang2(4)
	before := f.content()
	if result, _ := f.collect(1); result.Keys != 0 {
		t.Fatalf("within an hour: %+v", result)
	}
	f.ages(61 * time.Minute)
	young := f.block(5, "young", "three") // of an mgmt deploy that is under way; mgmt had "three"
	result, gone := f.collect(1)
	if result.Kept != 1 || result.Deploys != 3 || len(gone) != 3 {
		t.Errorf("%+v %v", result, gone)
	}
	f.wantRuns(4)
	after := f.content()
	keys, bytes := lost(before, after)
	if result.Keys != len(keys) || result.Bytes != bytes {
		t.Errorf("%+v, gone are %d bytes: %v", result, bytes, keys)
	}
	blocks := 0
	for key := range after {
		if strings.Contains(key, mgmt.SuperblockPrefix) {
			blocks++
		}
	}
	if blocks != 2 {
		t.Errorf("%d superblocks are left", blocks)
	}
	f.foreign(5, young)
	f.wantRuns(4, 5)
	f.wantExpired(1, 2, 3)
	// Kept are foreign deploys, too.
	f.ages(25 * time.Hour)
	f.collect(2)
	f.wantRuns(4, 5)
	f.ages(25 * time.Hour)
	f.collect(1)
	f.wantRuns(5)
}

// lang2 follows a foreign head, with force.
func (f *mgmtSetup) lang2(id record.ID) {
	f.Helper()
	job := f.Job(f.commit(files{"main.mcl": fmt.Sprint(id)}))
	job.Frontend, job.Force, job.Reason = record.Lang, true, "test"
	if d, err := f.Publish(f.Context(), job); err != nil || d.ID != id {
		f.Fatal(d, err)
	}
}

// A rollback has the payload of the deploy that it went back to, and so its superblock.
func TestMgmtRollback(t *testing.T) {
	t.Parallel()
	f := newMgmtSetup(t)
	f.lang("one")
	f.lang("two")
	f.rollback(1)
	f.lang("four")
	f.ages(25 * time.Hour)
	f.collect(2)
	f.wantRuns(3, 4)
	f.wantWhole(3, 4)
	f.wantExpired(2)
}

// rollback goes back to a deploy.
func (f *setup) rollback(id record.ID) *record.Deploy {
	f.Helper()
	selector, err := record.ParseSelector(id.String())
	if err != nil {
		f.Fatal(err)
	}
	job, err := f.Chain().NewRollback(f.Context(), selector)
	if err != nil {
		f.Fatal(err)
	}
	job.Repo, job.Pusher, job.Server, job.Reason = f.Open(), record.Pusher{Name: "ops"}, "host", "test"
	d, err := f.Publish(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// What is below fs/ and is no deploy's stays, with what it lists; what cannot be read ends the run.
func TestMgmtOthers(t *testing.T) {
	t.Parallel()
	f := newMgmtSetup(t)
	f.lang("one")
	path := f.block(1, "other's")
	value := f.content()[string(f.Namespace)+path]
	other := string(f.Namespace) + "/fs/other"
	f.Put(other, value)
	f.lang("two")
	f.ages(25 * time.Hour)
	result, _ := f.collect(1)
	after := f.content()
	sum := sha256.Sum256([]byte("other's"))
	if after[other] == "" || after[string(f.Namespace)+"/storage/{sha256}"+hex.EncodeToString(sum[:])] == "" ||
		result.Deploys != 1 {
		t.Errorf("%+v", result)
	}
	f.Put(other, "what is it?")
	f.lang("three")
	f.ages(25 * time.Hour)
	_, err := gc.Run(t.Context(), gc.Config{Store: f.Store, KeepLast: 1}, f.Namespace)
	if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "/_mgmt/fs/other") {
		t.Error(err)
	}
	f.wantWhole(2, 3)
}

// mgmt puts a superblock at each moment of a run: what it lists and is still there stays.
func TestMgmtBeside(t *testing.T) {
	t.Parallel()
	for at := range 8 {
		f := newMgmtSetup(t)
		f.lang("one")
		f.lang("two")
		f.ages(25 * time.Hour)
		path, count := "", 0
		f.Client.KV = &faulty{KV: f.KV, fail: func() (before, after bool) {
			if count++; count == at+10 && path == "" {
				path = f.block(3, "one", "shared", "new")
			}
			return false, false
		}}
		f.Store = f.newStore()
		f.collect(1)
		if path == "" {
			path = f.block(3, "one", "shared", "new")
		}
		f.foreign(3, path)
		f.wantRuns(2, 3)
	}
}
