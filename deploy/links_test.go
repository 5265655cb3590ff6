package deploy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// copyDeploy puts one deploy's keys, and all that they name, where another chain has or will have a deploy.
func (f *setup) copyDeploy(from string, id int, to string, as int) {
	f.Helper()
	for key, value := range f.dump() {
		rest, ok := strings.CutPrefix(key, from+"/")
		if !ok {
			continue
		}
		if which, ok := strings.CutPrefix(rest, fmt.Sprintf("deploy/%d/", id)); ok {
			f.put(fmt.Sprintf("%s/deploy/%d/%s", to, as, which), value)
		} else if !strings.HasPrefix(rest, "deploy/") && rest != "refship/head" {
			f.put(to+"/"+rest, value)
		}
	}
}

// force publishes over whatever head there is.
func (f *setup) force(job string) *record.Deploy {
	f.Helper()
	j := f.job(f.repo.commit(job, files{"a": regular(job)}))
	j.Force, j.Reason = true, job
	d, _, err := f.do(j)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// A signed deploy of one namespace is worth nothing in another, though its signature is good.
func TestARecordIsGoodInItsNamespaceOnly(t *testing.T) {
	f := newSetup(t)
	prod := f.deploy(f.one())
	staging := *f
	staging.chain = f.store.Chain("/refship/staging")
	one := staging.deploy(f.repo.commit("one", files{"a": regular("1")}))
	staging.deploy(f.repo.commit("two", files{"a": regular("2")}, one.Hash.OID()))
	f.copyDeploy("/refship/staging", 2, namespace, 2)
	_, err := f.chain.Get(t.Context(), 2)
	fixture.WantFault(t, fault.Corrupt, err, "the record is that of a deploy in /refship/staging", "")
	_, err = f.chain.Head(t.Context())
	fixture.WantFault(t, fault.Corrupt, err, "/refship/staging", "")
	_, _, err = f.do(f.job(f.repo.commit("three", files{"a": regular("3")}, prod.Hash.OID())))
	fixture.WantFault(t, fault.Corrupt, err, "/refship/staging", "head-damaged push 2")

	d := f.force("over it")
	if d.ID != 3 || d.Record.PreviousRecord.ID != 1 || d.Record.Chain != prod.Record.Chain || !d.Record.Forced {
		t.Errorf("record %s", d.RecordBytes)
	}
	if got := f.get(3); got.Restarts {
		t.Error("the chain goes on from deploy 1")
	}
	f.sameAsGit(d)
}

// The same namespace in another etcd is another chain.
func TestARecordIsGoodInItsChainOnly(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.one())
	f.deploy(f.repo.commit("two", files{"a": regular("2")}, first.Hash.OID()))
	theirs := f.dump()
	f.clear()
	again := f.deploy(first.Hash.OID())
	if again.Record.Chain == first.Record.Chain || len(again.Record.Chain) != 32 {
		t.Fatalf("chains %q and %q", again.Record.Chain, first.Record.Chain)
	}
	for key, value := range theirs {
		if strings.HasPrefix(key, namespace+"/deploy/2/") {
			f.put(key, value)
		}
	}
	_, err := f.chain.Get(t.Context(), 2)
	fixture.WantFault(t, fault.Corrupt, err, "it names the record of deploy 1 by another sha256", "")
	if d, err := f.chain.Get(t.Context(), 1); err != nil || d.Damage != nil {
		t.Errorf("deploy 1: %v", err)
	}
}

// What a record says of the one below is compared, and what is passed over without force is damage.
func TestRecordsThatDoNotFit(t *testing.T) {
	const other = "ffeeddccbbaa99887766554433221100"
	hash := record.Hash(oid160)
	for name, c := range map[string]struct {
		records []record.Record // of deploys 1, 2 …; one without a hash is foreign
		sums    []int           // which record's sha256 each names, 0: what it says itself
		want    string          // what is wrong with the last; "": nothing
		restart bool
	}{
		"sound":   {records: []record.Record{{Hash: hash}, {Hash: hash}}, sums: []int{0, 1}},
		"foreign": {records: []record.Record{{Hash: hash}, {}, {Hash: hash}}, sums: []int{0, 0, 1}},
		"another chain": {records: []record.Record{{Hash: hash}, {Hash: hash, Chain: other}}, sums: []int{0, 1},
			want: "it is of the chain " + other},
		"none named": {records: []record.Record{{Hash: hash}, {Hash: hash}}, sums: []int{0, 0},
			want: "it passes over the record of deploy 1, and is not forced"},
		"one passed": {records: []record.Record{{Hash: hash}, {Hash: hash}, {Hash: hash}}, sums: []int{0, 1, 1},
			want: "it passes over the record of deploy 2"},
		"one passed by force": {records: []record.Record{{Hash: hash}, {Hash: hash, Chain: other},
			{Hash: hash, Forced: true}}, sums: []int{0, 1, 1}},
		"earlier": {records: []record.Record{{Hash: hash, Time: time.Unix(2, 0)}, {Hash: hash, Time: time.Unix(1, 0)}},
			sums: []int{0, 1}, want: "its time is 1970-01-01T00:00:01Z, before that of deploy 1, 1970-01-01T00:00:02Z"},
		"earlier, above a foreign one": {records: []record.Record{{Hash: hash, Time: time.Unix(2, 0)}, {},
			{Hash: hash, Time: time.Unix(1, 0)}}, sums: []int{0, 0, 1}, want: "before that of deploy 1"},
		"earlier, passing by force": {records: []record.Record{{Hash: hash, Time: time.Unix(2, 0)},
			{Hash: hash, Time: time.Unix(1, 0), Forced: true}}, sums: []int{0, 0}, want: "before that of deploy 1"},
		"at the same time": {records: []record.Record{{Hash: hash, Time: time.Unix(2, 0)},
			{Hash: hash, Time: time.Unix(2, 0)}}, sums: []int{0, 1}},
		"restart": {records: []record.Record{{Hash: hash}, {Hash: hash, Forced: true, Chain: other}},
			sums: []int{0, 0}, restart: true},
		"a foreign named": {records: []record.Record{{},
			{Hash: hash, PreviousRecord: record.Ref{ID: 1, SHA256: emptySHA256}}}, sums: []int{0, 0},
			want: "it names the record of deploy 1, which has none"},
		"first above foreign ones": {records: []record.Record{{}, {}, {Hash: hash}}, sums: []int{0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			last := len(c.records)
			for i, r := range c.records {
				if r.ID = record.ID(i + 1); r.Hash == "" {
					f.foreign(i+1, oid160)
					continue
				}
				r.Frontend = record.Empty
				if of := c.sums[i]; of != 0 {
					text := f.dump()[fmt.Sprintf("%s/deploy/%d/record", namespace, of)]
					r.PreviousRecord = record.Ref{ID: record.ID(of), SHA256: record.Sum([]byte(text))}
				}
				f.handwritten(r)
			}
			d, err := f.chain.Get(t.Context(), record.ID(last))
			if c.want != "" {
				fixture.WantFault(t, fault.Corrupt, err, c.want, "backup")
				return
			}
			if err != nil || d.Restarts != c.restart {
				t.Fatalf("%+v, %v", d, err)
			}
		})
	}
}

// Where no sound record is left, force begins the chain anew, and readers see that.
func TestForceOverADamagedHead(t *testing.T) {
	for name, damage := range map[string]func(f *setup){
		"no JSON":      func(f *setup) { f.put(record1, "{") },
		"another hash": func(f *setup) { f.put(namespace+"/deploy/1/hash", oid160) },
		"unsigned":     func(f *setup) { f.delete(namespace + "/deploy/1/signature") },
		"year 10000": func(f *setup) {
			r := *f.get(1).Record
			text := strings.Replace(string(f.get(1).RecordBytes), r.Time.Format("2006-"), "10000-", 1)
			f.put(record1, text)
		},
		"in eleven years": func(f *setup) {
			r := *f.get(1).Record
			r.Time = r.Time.AddDate(11, 0, 0)
			f.handwritten(r)
			f.delete(namespace + "/deploy/1/signature")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			first := f.deploy(f.one())
			damage(f)
			if _, err := f.chain.Get(t.Context(), 1); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("got %v", err)
			}
			_, _, err := f.do(f.job(first.Hash.OID()))
			fixture.WantFault(t, fault.Corrupt, err, "/refship/config is at deploy 1, ", "head-damaged push 1")
			d := f.force("again")
			if d.ID != 2 || d.Record.Chain == first.Record.Chain || d.Record.PreviousRecord != (record.Ref{}) {
				t.Errorf("record %s", d.RecordBytes)
			}
			if since := time.Since(d.Record.Time); since > time.Minute || since < -time.Minute {
				t.Errorf("its time is %s", d.Record.Time)
			}
			if !f.get(2).Restarts {
				t.Error("the restart is not noticed")
			}
			f.sameAsGit(d)
			if next := f.deploy(f.repo.commit("next", files{"a": regular("next")}, d.Hash.OID())); next.ID != 3 ||
				next.Record.Chain != d.Record.Chain || next.Record.Forced {
				t.Errorf("record %s", next.RecordBytes)
			}
		})
	}
}

// mgmt writes deploys without a record; into a chain of our own frontend somebody else has put them.
func TestADeployWithoutARecordAmongFiles(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.one())
	f.foreign(2, string(first.Hash))
	_, _, err := f.do(f.job(first.Hash.OID()))
	fixture.WantFault(t, fault.Corrupt, err, "deploy/2/record: the record is missing", "head-damaged push 2")
	if d := f.force("over it"); d.ID != 3 || d.Record.PreviousRecord.ID != 1 || d.Record.Chain != first.Record.Chain {
		t.Errorf("record %s", d.RecordBytes)
	}
}

// An id that no deploy can have is ignored, and named.
func TestHeadBeyondAllIDs(t *testing.T) {
	f := newSetup(t)
	f.deploy(f.one())
	f.put(own+"head", "9007199254740993")
	f.put(namespace+"/deploy/9007199254740993/payload", "x")
	state, err := f.chain.State(t.Context())
	if err != nil || state.Head == nil || state.Head.ID != 1 || state.Beyond != 9007199254740993 {
		t.Fatalf("%+v, %v", state, err)
	}
	two := f.repo.commit("two", files{"a": regular("2")}, state.Head.Hash.OID())
	v, err := f.chain.Check(t.Context(), f.job(two))
	if err != nil || len(v.Odd) != 1 || !strings.Contains(v.Odd[0], "etcdctl del --prefix /refship/config/deploy/900") {
		t.Errorf("verdict %+v, %v", v, err)
	}
	if d := f.deploy(two); d.ID != 2 {
		t.Errorf("deploy %d", d.ID)
	}
}
