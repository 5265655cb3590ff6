package deploy_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// onMgmt makes a chain in mgmt's namespace of the fixture's.
func (f *setup) onMgmt() *setup {
	f.chain = f.store.Chain(record.MgmtNamespace)
	return f
}

func (f *setup) mgmtJob(frontend record.Frontend, commit tree.OID) *deploy.Job {
	f.Helper()
	job := f.job(commit)
	job.Frontend = frontend
	return job
}

// asMgmt gives the keys below mgmt's namespace as mgmt's client sees them, held to mgmt's rules.
func (f *setup) asMgmt() map[string][]byte {
	f.Helper()
	all := map[string][]byte{}
	for key, value := range f.dump() {
		all[key] = []byte(value)
	}
	below, err := mgmttest.Below(string(record.MgmtNamespace), all)
	if err != nil {
		f.Fatal(err)
	}
	if err := mgmttest.CheckKeys(slices.Collect(maps.Keys(below))); err != nil {
		f.Fatal(err)
	}
	return below
}

// runs reads the newest deploy as a strict mgmt does.
func (f *setup) runs() *mgmttest.Deploy {
	f.Helper()
	d, err := mgmttest.Read(f.asMgmt())
	if err != nil {
		f.Fatal(err)
	}
	return d
}

func readAll(t testing.TB, fsys fs.FS, name string) string {
	t.Helper()
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is pushed is what a running mgmt runs, deploy after deploy, and refship reads the same back.
func TestMgmtRunsWhatIsDeployed(t *testing.T) {
	f := newSetup(t).onMgmt()
	all := files{
		"main.mcl": regular("import \"fmt\"\n"), "files/motd": regular("hello\n"),
		"files/run":  {mode: "100755", content: "#!/bin/sh\n"},
		"files/link": {mode: "120000", content: "../main.mcl"}, "files/large": regular(noise(1<<20 + 7)),
		"empty": regular(""),
	}
	commit := f.repo.commit("first", all)
	d, _, err := f.do(f.mgmtJob(record.Lang, commit))
	if err != nil {
		t.Fatal(err)
	}
	f.sameAsGit(f.get(d.ID))
	ran := f.runs()
	if ran.ID != 1 || ran.Name != "lang" || ran.Entry != "main.mcl" || ran.Hash != commit.String() || ran.Sema != -1 ||
		ran.Noop {
		t.Errorf("mgmt runs %+v", ran)
	}
	for name, want := range map[string]string{
		"main.mcl": all["main.mcl"].content, "files/link": all["main.mcl"].content, "files/large": all["files/large"].content,
		"empty":         "",
		"metadata.yaml": "main: \"main.mcl\"\n",
	} {
		if got := readAll(t, ran.FS, name); got != want {
			t.Errorf("%s has %d bytes, want %d", name, len(got), len(want))
		}
	}
	if r := f.get(1).Record; r.Frontend != record.Lang || len(r.Settings) != 0 {
		t.Errorf("record says %s, %v", r.Frontend, r.Settings)
	}

	// The next one stores what changed, and the superblock.
	all["files/motd"] = regular("hello again\n")
	second := f.repo.commit("second", all, commit)
	job := f.mgmtJob(record.Lang, second)
	job.Settings = record.Settings{Noop: true, Sema: 3, NoAutoEdges: true, NoAutoGroup: true}
	before := f.dump()
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	var stored []string
	for key := range f.dump() {
		if _, ok := before[key]; !ok && strings.Contains(key, "/storage/") {
			stored = append(stored, key)
		}
	}
	sum := sha256.Sum256([]byte("hello again\n"))
	if diff := cmp.Diff([]string{fmt.Sprintf("/_mgmt/storage/{sha256}%x", sum)}, stored); diff != "" {
		t.Errorf("contents stored (-want +got):\n%s", diff)
	}
	ran = f.runs()
	if ran.ID != 2 || !ran.Noop || ran.Sema != 3 || !ran.NoAutoEdges || !ran.NoAutoGroup ||
		readAll(t, ran.FS, "files/motd") != "hello again\n" {
		t.Errorf("mgmt runs %+v", ran)
	}
	want := map[string]string{"noop": "true", "sema": "3", "no-autoedges": "true", "no-autogroup": "true"}
	if diff := cmp.Diff(want, f.get(2).Record.Settings); diff != "" {
		t.Errorf("record's settings (-want +got):\n%s", diff)
	}
	if d, already, err := f.do(job); err != nil || !already || d.ID != 2 {
		t.Errorf("the same again: %+v, already %t, %v", d, already, err)
	}
}

// The frontends differ in what mgmt is given, and not in what refship keeps.
func TestFrontends(t *testing.T) {
	graph := files{"start.yaml": regular("graph: mygraph\n"), "other.yaml": regular("graph: other\n")}
	code := files{"main.mcl": regular("# main\n"), "lib.mcl": regular("# lib\n")}
	module := files{"metadata.yaml": regular("main: code/a.mcl\n"), "code/a.mcl": regular("# a\n")}
	for name, c := range map[string]struct {
		frontend record.Frontend
		entry    string
		files    files
		made     record.Frontend
		starts   string // content of the entry file
	}{
		"yaml":           {record.YAML, "", graph, record.YAML, "graph: mygraph\n"},
		"yaml, entry":    {record.YAML, "other.yaml", graph, record.YAML, "graph: other\n"},
		"lang":           {record.Lang, "", code, record.Lang, "# main\n"},
		"lang, entry":    {record.Lang, "lib.mcl", code, record.Lang, "# lib\n"},
		"lang, metadata": {record.Lang, "", module, record.Lang, "# a\n"},
		"puppet":         {record.Puppet, "", files{"site.pp": regular("# pp\n")}, record.Puppet, "# pp\n"},
		"empty":          {record.Empty, "", graph, record.Empty, ""},
		"auto: yaml":     {record.Auto, "", graph, record.YAML, "graph: mygraph\n"},
		"auto: lang":     {record.Auto, "", code, record.Lang, "# main\n"},
		"auto: module":   {record.Auto, "", module, record.Lang, "# a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t).onMgmt()
			job := f.mgmtJob(c.frontend, f.repo.commit("first", c.files))
			job.Settings.Entry = c.entry
			if _, _, err := f.do(job); err != nil {
				t.Fatal(err)
			}
			d := f.get(1)
			f.sameAsGit(d)
			ran := f.runs()
			if d.Record.Frontend != c.made || ran.Name != string(c.made) || d.Record.Settings["entry"] != c.entry {
				t.Errorf("frontend %s, mgmt runs %s, settings %v", d.Record.Frontend, ran.Name, d.Record.Settings)
			}
			if c.made != record.Empty {
				if got := readAll(t, ran.FS, ran.Entry); got != c.starts {
					t.Errorf("mgmt starts with %q, want %q", got, c.starts)
				}
			}
			if _, already, err := f.do(job); err != nil || !already {
				t.Errorf("the same again: already %t, %v", already, err)
			}
			relation, _, err := job.Relation(t.Context(), f.get(1))
			if err != nil || relation != deploy.RelationEqual {
				t.Errorf("relation is %s, %v", relation, err)
			}
		})
	}
}

// What mgmt could not run is refused before anything is written.
func TestMgmtRefusals(t *testing.T) {
	f := newSetup(t).onMgmt()
	many := files{"main.mcl": regular("")}
	for i := range 17_000 {
		many[fmt.Sprintf("d%02d/file-with-a-name-%05d", i%100, i)] = regular("")
	}
	for name, c := range map[string]struct {
		frontend record.Frontend
		files    files
		says     string
	}{
		"a large file": {record.Lang, files{"main.mcl": regular(""), "big": regular(noise(1600 << 10))},
			`"big" has 1.6 MiB`},
		"many files": {record.Lang, many, "17,001 files"},
		"a link out": {record.Lang, files{"main.mcl": regular(""), "l": {mode: "120000", content: "../x"}},
			`"l" is a link to "../x"`},
		"a link to a directory": {record.Lang, files{"main.mcl": regular(""), "d/x": regular(""),
			"l": {mode: "120000", content: "d"}}, `"l" is a link to "d"`},
		"a submodule": {record.Lang, files{"main.mcl": regular(""),
			"lib": {mode: "160000", content: strings.Repeat("5d", 20)}}, `1 submodule is in the tree: "lib"; `},
		"auto, a submodule": {record.Auto, files{"main.mcl": regular(""),
			"lib": {mode: "160000", content: strings.Repeat("5d", 20)}}, `1 submodule is in the tree: "lib"; `},
		"broken metadata": {record.Lang, files{"metadata.yaml": regular("main: [")}, "metadata.yaml"},
		"no main":         {record.Lang, files{"metadata.yaml": regular("main: x.mcl\n")}, "x.mcl"},
		"no entry":        {record.Lang, files{"x.mcl": regular("")}, "main.mcl"},
		"no start":        {record.YAML, files{"x.yaml": regular("")}, "start.yaml"},
		"auto, nothing":   {record.Auto, files{"x": regular("")}, "nothing that mgmt starts with"},
		"auto, both":      {record.Auto, files{"main.mcl": regular(""), "start.yaml": regular("")}, "two frontends"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := f.do(f.mgmtJob(c.frontend, f.repo.commit(name, c.files)))
			if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), c.says) || fault.RemedyOf(err) == "" {
				t.Errorf("error %v", err)
			}
			if keys := f.dump(); len(keys) != 0 {
				t.Errorf("etcd has %d keys", len(keys))
			}
		})
	}
}

// A chain is shared with mgmt's own command: its deploys are found and followed, and a publish of its kind, which
// compares what mgmt compares, goes on after ours.
func TestChainSharedWithMgmtDeploy(t *testing.T) {
	f := newSetup(t).onMgmt()
	line := f.line("main.mcl", 6)
	golden := f.golden("lang")
	foreign := func(id int, hash string) {
		for key, value := range golden {
			key = strings.Replace(key, "/deploy/1/", fmt.Sprintf("/deploy/%d/", id), 1)
			f.put(key, value)
		}
		if hash != "" {
			f.put(fmt.Sprintf("/_mgmt/deploy/%d/hash", id), hash)
		}
	}
	push := func(at int, want record.ID) {
		t.Helper()
		d, _, err := f.do(f.mgmtJob(record.Lang, line[at]))
		if err != nil || d.ID != want {
			t.Fatalf("deploy %+v, %v", d, err)
		}
		if ran := f.runs(); ran.ID != uint64(want) || ran.Hash != line[at].String() {
			t.Fatalf("mgmt runs %+v", ran)
		}
	}
	foreign(1, line[0].String())
	push(1, 2)
	foreign(3, line[2].String()) // refship/head says 2
	foreign(4, line[3].String())
	push(4, 5)
	if d := f.get(5); d.Record.PreviousHash != record.Hash(line[3].String()) || d.Record.PreviousRecord.ID != 2 {
		t.Errorf("record %+v", d.Record)
	}
	// What mgmt compares when it publishes deploy 6.
	all := f.asMgmt()
	if all["/deploy/5/payload"] == nil || string(all["/deploy/5/hash"]) != line[4].String() ||
		all["/deploy/6/payload"] != nil {
		t.Error("mgmt's own publish could not follow")
	}
	foreign(6, "")
	_, _, err := f.do(f.mgmtJob(record.Lang, line[5]))
	wantError[*deploy.ConflictError](t, err, "is at deploy 6, without a hash, by another writer", "head-without-hash push")
	var list []string
	err = f.chain.Log(t.Context(), 0, func(d *record.Deploy) error {
		list = append(list, fmt.Sprintf("%d %t", d.ID, d.Record == nil))
		return nil
	})
	if diff := cmp.Diff([]string{"6 true", "5 false", "4 true", "3 true", "2 false", "1 true"}, list); diff != "" ||
		err != nil {
		t.Errorf("log, foreign (-want +got), %v:\n%s", err, diff)
	}
	_, _, err = f.do(f.job(line[5]))
	fixture.WantFault(t, fault.Refused, err, "the deploys in /_mgmt are mgmt's", "namespace-mixed config default")
}

// What mgmt itself has deployed of the very commit, with the files that we would publish, is not deployed again.
func TestAlreadyDeployedByMgmt(t *testing.T) {
	graph, err := os.ReadFile(filepath.Join("mgmt", "testdata", "golden", "yaml.input", "graph.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := files{"graph.yaml": regular(string(graph)), "README": regular("# read me\n")}
	for name, c := range map[string]struct {
		golden string
		change func(f *setup, job *deploy.Job)
		want   bool
	}{
		"the same":         {"yaml", func(*setup, *deploy.Job) {}, true},
		"forced":           {"yaml", func(_ *setup, job *deploy.Job) { job.Force, job.Reason = true, "because" }, true},
		"another frontend": {"lang", func(*setup, *deploy.Job) {}, false},
		"another file":     {"yaml", func(_ *setup, job *deploy.Job) { job.Settings.Entry = "README" }, false},
		"other settings":   {"yaml", func(_ *setup, job *deploy.Job) { job.Settings.Noop = true }, false},
		"no superblock": {"yaml", func(f *setup, _ *deploy.Job) {
			for key := range f.dump() {
				if strings.Contains(key, "/fs/deploy/") {
					f.delete(key)
				}
			}
		}, false},
		"a broken payload": {"yaml", func(f *setup, _ *deploy.Job) { f.put("/_mgmt/deploy/1/payload", "x") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t).onMgmt()
			commit := f.repo.commit("first", all)
			for key, value := range f.golden(c.golden) {
				f.put(key, value)
			}
			f.put("/_mgmt/deploy/1/hash", commit.String())
			job := f.mgmtJob(record.YAML, commit)
			job.Settings.Entry = "graph.yaml"
			c.change(f, job)
			before := f.dump()
			d, already, err := f.do(job)
			if err != nil || already != c.want {
				t.Fatalf("deploy %+v, already %t, %v", d, already, err)
			}
			if !c.want {
				if d.ID != 2 || f.runs().ID != 2 {
					t.Errorf("deploy %d", d.ID)
				}
				return
			}
			for key := range f.dump() {
				if _, ok := before[key]; !ok && !strings.Contains(key, "/refship/lock") {
					t.Errorf("%s was written", key)
				}
			}
			if p, err := f.chain.Prepare(t.Context(), nil, job, quiet); err != nil || !p.Verdict.Already || p.Files != 0 {
				t.Errorf("a dry run: %+v, %v", p, err)
			}
		})
	}
}

// golden is a dump of what mgmt itself wrote.
func (f *setup) golden(name string) map[string]string {
	f.Helper()
	text, err := os.ReadFile(filepath.Join("mgmt", "testdata", "golden", name+".json"))
	if err != nil {
		f.Fatal(err)
	}
	all := map[string][]byte{}
	if err := json.Unmarshal(text, &all); err != nil {
		f.Fatal(err)
	}
	values := map[string]string{}
	for key, value := range all {
		values[key] = string(value)
	}
	return values
}

// No key that was ever written below mgmt's namespace, and be it for a moment, is one that a running mgmt stumbles
// over: contents cut and whole, nodes, objects, locks, records, payloads of every frontend.
func TestNoKeyStopsARunningMgmt(t *testing.T) {
	f := newSetup(t).onMgmt()
	deep := files{"main.mcl": regular("# main\n"), "start.yaml": regular("graph: g\n"), "a/deploy/1/meta/x": regular("x"),
		"deploy/latest": regular(noise(3<<20/2 - 8192))}
	var last []tree.OID
	for i, frontend := range []record.Frontend{record.Lang, record.YAML, record.Empty, record.Lang} {
		deep["n"] = regular(fmt.Sprint(i))
		commit := f.repo.commit(fmt.Sprint("deploy ", i), deep, last...)
		last = []tree.OID{commit}
		job := f.mgmtJob(frontend, commit)
		if i == 3 {
			job.Path = "a"
			job.Frontend = record.Empty
		}
		if _, _, err := f.do(job); err != nil {
			t.Fatal(err)
		}
	}
	forced := f.mgmtJob(record.Lang, f.repo.commit("another line", deep))
	forced.Force, forced.Reason = true, "because"
	if _, _, err := f.do(forced); err != nil {
		t.Fatal(err)
	}
	if _, err := f.lock(f.store, 0); err != nil {
		t.Fatal(err)
	}
	now, err := f.tap.KV.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	kinds, seen := map[string]bool{}, int64(0)
	for resp := range f.client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, event := range resp.Events {
			key, ours := strings.CutPrefix(string(event.Kv.Key), string(record.MgmtNamespace))
			if !ours {
				t.Errorf("key %q is not below %s", event.Kv.Key, record.MgmtNamespace)
			}
			if err := mgmttest.CheckKeys([]string{key}); err != nil {
				t.Error(err)
			}
			kinds[strings.Join(strings.Split(key, "/")[:3], "/")] = true
		}
		if seen = resp.Header.Revision; seen >= now.Header.Revision {
			break
		}
	}
	for _, want := range []string{"/deploy/1", "/deploy/5", "/fs/deploy", "/refship/tree", "/refship/object",
		"/refship/head", "/refship/lock"} {
		if !kinds[want] {
			t.Errorf("no key %s… was written", want)
		}
	}
}
