package deploy_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// handwritten puts a deploy's record as another refship could have published it, unsigned.
func (f *setup) handwritten(r record.Record) {
	f.Helper()
	if r.Frontend == "" {
		r.Frontend = record.Files
	}
	r.Format, r.Signer, r.Namespace = 1, "", namespace
	r.Chain = cmp.Or(r.Chain, "00112233445566778899aabbccddeeff")
	r.Kind = cmp.Or(r.Kind, record.KindPush)
	if r.Undone == nil {
		r.Undone = []record.Undone{}
	}
	if r.Time.IsZero() {
		r.Time = time.Now().UTC()
	}
	switch empty := sha256.Sum256(nil); {
	case r.Hash.IsTree():
		r.Tree, r.TreeSHA256 = r.Hash.OID(), empty
	case r.Tree.IsZero():
		r.Tree, r.TreeSHA256 = tree.HashObject(tree.FormatSHA1, "tree", nil), empty
	}
	b, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.put(fmt.Sprintf("%s/deploy/%d/record", namespace, r.ID), string(b))
	f.put(fmt.Sprintf("%s/deploy/%d/hash", namespace, r.ID), string(r.Hash))
	f.put(own+"head", r.ID.String())
	if f.dump()[own+"tree/4b825dc642cb6eb9a060e54bf8d69288fbee4904"] == "" {
		f.put(own+"tree/4b825dc642cb6eb9a060e54bf8d69288fbee4904", "")
	}
}

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// foreign puts a deploy as mgmt does; hash may be "".
func (f *setup) foreign(id int, hash string) {
	f.Helper()
	f.put(fmt.Sprintf("%s/deploy/%d/payload", namespace, id), "payload")
	if hash != "" {
		f.put(fmt.Sprintf("%s/deploy/%d/hash", namespace, id), hash)
	}
}

// line is a linear history of n commits, oldest first.
func (f *setup) line(name string, n int, onto ...tree.OID) []tree.OID {
	f.Helper()
	var line []tree.OID
	for i := range n {
		commit := f.repo.commit(fmt.Sprintf("%s %d", name, i), files{name: regular(fmt.Sprint(i))}, onto...)
		line, onto = append(line, commit), []tree.OID{commit}
	}
	return line
}

func TestPreviousHash(t *testing.T) {
	f := newSetup(t)
	line := f.line("main", 5)
	other := f.line("other", 2)
	fork := f.line("fork", 1, line[1])
	merge := f.repo.commit("merge", files{"m": regular("m")}, other[1], line[4])
	unknown := record.Hash(strings.Repeat("ab", 20))
	blob := record.Hash(f.repo.Blob("a blob's oid").String())
	hash := func(h tree.OID) record.Hash { return record.Hash(h.String()) }
	yesterday := time.Now().Add(-25 * time.Hour)
	head := func(hash record.Hash) record.Record {
		return record.Record{
			ID: 7, Kind: record.KindPush, Hash: hash, Subject: "hot\x1bfix", Pusher: record.Pusher{Name: "ops"}, Time: yesterday,
		}
	}
	rollback := func(to, undone record.Hash) record.Record {
		r := head(to)
		r.Kind, r.PreviousHash, r.Reason = record.KindRollback, undone, "cache broke login"
		r.Undone = []record.Undone{{ID: 6, Hash: undone}}
		return r
	}
	const at = `/refship/config is at deploy 7, `
	tests := map[string]struct {
		head    *record.Record
		foreign string // in place of head: "-" is a payload only
		commit  tree.OID
		path    string
		noop    bool

		commits  int // of the next deploy
		already  bool
		again    record.ID
		back     int // what was undone and comes back
		why      string
		hint     string
		previous record.Hash
	}{
		"nothing yet":     {commit: line[4], commits: 1},
		"the same":        {head: new(head(hash(line[4]))), commit: line[4], already: true},
		"the parent":      {head: new(head(hash(line[3]))), commit: line[4], commits: 1},
		"far older":       {head: new(head(hash(line[0]))), commit: line[4], commits: 4},
		"under a merge":   {head: new(head(hash(line[2]))), commit: merge, commits: 5},
		"another path":    {head: new(head(hash(line[4]))), commit: line[4], path: "sub", commits: 0},
		"another setting": {head: new(head(hash(line[4]))), commit: line[4], noop: true, commits: 0},
		"rollback, undone": {
			head: new(rollback(hash(line[1]), hash(line[3]))), commit: line[4],
			why: "your " + hash(line[4]).Short() + " contains " + hash(line[3]).Short() +
				" of deploy 6, which ops undid with deploy 7, yesterday: cache broke login", hint: "head-undone push 7",
		},
		"rollback, undone, that was seen": {
			head: new(rollback(hash(line[1]), hash(line[3]))), commit: line[4], again: 7, back: 1, commits: 3,
		},
		"rollback, undone, another was seen": {
			head: new(rollback(hash(line[1]), hash(line[3]))), commit: line[4], again: 6,
			why: "you have seen deploy 6, and the head is 7", hint: "head-undone push 7",
		},
		"rollback, the very commit again": {
			head: new(rollback(hash(line[1]), hash(line[3]))), commit: line[3],
			why: "your " + hash(line[3]).Short() + " is that of deploy 6, which ops undid", hint: "head-undone push 7",
		},
		"rollback, another line goes on": {head: new(rollback(hash(line[1]), hash(line[3]))), commit: fork[0], commits: 1},
		"rollback across lines, undone": {
			head: new(rollback(hash(other[1]), hash(line[3]))), commit: line[4], again: 7,
			why: "does not contain it", hint: "git pull --rebase",
		},
		"rollback across lines, not undone": {
			head: new(rollback(hash(other[1]), hash(line[3]))), commit: fork[0],
			why: at + hash(other[1]).Short() + ` "hot\x1bfix", by ops, yesterday; your ` + hash(fork[0]).Short() +
				" does not contain it", hint: "git pull --rebase",
		},
		"rollback of an unknown": {head: new(rollback(hash(line[1]), unknown)), commit: line[4], commits: 3},
		"rollback of a tree":     {head: new(rollback(hash(line[1]), "tree:"+unknown)), commit: line[4], commits: 3},
		"rewound": {
			head: new(head(hash(line[4]))), commit: line[3],
			why: at + hash(line[4]).Short() + ` "hot\x1bfix", by ops, yesterday; your ` + hash(line[3]).Short() +
				" does not contain it", hint: "commit-older push 7",
		},
		"another line": {head: new(head(hash(fork[0]))), commit: line[4], why: "does not contain it",
			hint: "git pull --rebase"},
		"a hash this repository lacks": {
			head: new(head(unknown)), commit: line[4],
			why:  at + `abababa "hot\x1bfix", by ops, yesterday; this repository does not have that commit`,
			hint: "head-unknown push 7",
		},
		"a hash that is no commit": {head: new(head(blob)), commit: line[4],
			why: "this repository does not have that commit", hint: "head-unknown push 7"},
		"a plain directory": {head: new(head("tree:" + unknown)), commit: line[4], why: at + "tree:abababa",
			hint: "head-is-directory push"},
		"foreign without a hash": {foreign: "-", commit: line[4],
			why: at + "without a hash, by another writer; that deploy has no hash", hint: "head-without-hash push"},
		"foreign with garbage": {foreign: "v1.2", commit: line[4],
			why: at + "without a hash, by another writer; that deploy has no hash", hint: "head-without-hash push"},
		"foreign with an ancestor": {foreign: line[2].String(), commit: line[4], commits: 2},
		"foreign with the same":    {foreign: line[4].String(), commit: line[4], commits: 0},
		"foreign with an unknown": {foreign: string(unknown), commit: line[4],
			why: at + "abababa, by another writer; this repository does not have", hint: "head-unknown push 7"},
		"foreign with another line": {foreign: other[1].String(), commit: line[4], why: "by another writer; your " +
			hash(line[4]).Short() + " does not contain it", hint: "pull"},
		"foreign with a plain tree:": {foreign: "tree:" + string(unknown), commit: line[4], why: "plain directory",
			hint: "head-is-directory push"},
	}
	with := f.repo.commit("sub", files{"sub/x": regular("x")}, line[4]) // has the directory sub
	n := 0
	for name, c := range tests {
		n++
		ns := record.Namespace(fmt.Sprintf("/t/%d", n))
		t.Run(name, func(t *testing.T) {
			chain := f.store.Chain(ns)
			if c.noop {
				c.head.Frontend = record.Empty
			}
			if c.head != nil || c.foreign != "" {
				for key, value := range f.headKeys(c.head, c.foreign) {
					value = strings.Replace(value, `"namespace":"`+namespace, `"namespace":"`+string(ns), 1)
					f.put(strings.Replace(key, namespace, string(ns), 1), value)
				}
			}
			job := f.job(c.commit)
			job.Path, job.Settings.Noop = c.path, c.noop
			if c.again != 0 {
				job.Again = []record.ID{c.again}
			}
			if c.noop || c.foreign != "" {
				job.Frontend = record.Empty
			}
			if c.path != "" {
				job.Commit = with
				c.commits++
			}
			v, err := chain.Check(t.Context(), job)
			if c.why != "" {
				why := strings.Replace(c.why, namespace, string(ns), 1)
				conflict := wantError[*deploy.ConflictError](t, err, why, c.hint)
				if conflict.Namespace != ns || conflict.Head.ID != 7 {
					t.Errorf("conflict %+v", conflict)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.Already != c.already || len(v.Back) != c.back || v.Again != c.again || len(v.Commits) != c.commits || v.More {
				t.Errorf("already %t, brings back %v, %d commits, more %t", v.Already, v.Back, len(v.Commits), v.More)
			}
			// What Check allows can be published, and follows the head.
			d, already, err := chain.Do(t.Context(), holder, job, time.Second, quiet)
			if err != nil || already != c.already {
				t.Fatalf("already %t, %v", already, err)
			}
			if want := wantID(v); d.ID != want {
				t.Errorf("deploy %d, want %d", d.ID, want)
			}
			if !already && v.Head != nil && d.Record.PreviousHash != v.Head.Hash {
				t.Errorf("previous hash %q, want %q", d.Record.PreviousHash, v.Head.Hash)
			}
		})
	}
}

func wantID(v *deploy.Verdict) record.ID {
	switch {
	case v.Head == nil:
		return 1
	case v.Already:
		return v.Head.ID
	}
	return v.Head.ID + 1
}

// headKeys are the keys of a chain of seven foreign deploys or of a record above six of them.
func (f *setup) headKeys(head *record.Record, foreign string) map[string]string {
	f.Helper()
	f.clear()
	for id := range 7 {
		f.foreign(id+1, "")
	}
	switch {
	case head != nil:
		f.delete(namespace + "/deploy/7/payload")
		f.handwritten(*head)
	case foreign != "-":
		f.foreign(7, foreign)
	}
	keys := f.dump()
	for key := range keys {
		if !strings.HasPrefix(key, namespace+"/") {
			delete(keys, key)
		}
	}
	return keys
}

// clear removes all keys of the fixture's namespace.
func (f *setup) clear() {
	f.Helper()
	if _, err := f.tap.KV.Delete(f.Context(), namespace+"/", clientv3.WithPrefix()); err != nil {
		f.Fatal(err)
	}
}

func TestCommitsBeyondWhatIsStored(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("a")}))
	// 10,001 commits by one fast-import.
	var b strings.Builder
	for i := range 10_001 {
		from := ""
		if i == 0 {
			from = "from " + string(first.Hash) + "\n"
		}
		fmt.Fprintf(&b, "commit refs/heads/long\nmark :%d\ncommitter Ada <ada@example.org> %d +0000\ndata 1\nx\n%s\n", i+1,
			1767225600+i, from)
	}
	f.repo.run([]byte(b.String()), "fast-import", "--quiet")
	second := f.deploy(f.repo.OID("rev-parse", "refs/heads/long~1"))
	if n := f.objects(); n != 1+10_000 {
		t.Errorf("%d objects are stored", n)
	}
	if second.Record.Commits != 10_000 {
		t.Errorf("%d commits", second.Record.Commits)
	}
	f.clear()
	f.deploy(first.Hash.OID())
	third := f.deploy(f.repo.OID("rev-parse", "refs/heads/long"))
	if got := record.CountCommits(third.Record.Commits); got != "more than 10,000 commits" {
		t.Errorf("the record has %d commits, %q", third.Record.Commits, got)
	}
	if n := f.objects(); n != 2 {
		t.Errorf("%d objects are stored, want the two deployed commits", n)
	}
	f.sameAsGit(third)
}

func (f *setup) objects() (n int) {
	for key := range f.dump() {
		if strings.HasPrefix(key, own+"object/") {
			n++
		}
	}
	return n
}
