package verify_test

import (
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
	"refship/deploy/verify"
)

// privateKey is the private half of fixture.Signer in OpenSSH's format.
func privateKey(t testing.TB, seed byte) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(fixture.PrivateKey(seed), "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// tenDeploys makes a chain of ten deploys, of every kind that a chain of commits has. Deploys 1 to 3 are expired; the
// first is pinned, and the third has lost nothing.
func tenDeploys(t testing.TB) *setup {
	f := newSetup(t, namespace)
	all := files{
		"a": "one\n", "empty": "", "www/run": "#!/bin/sh\n", "www/link": "../a", "www/main/conf/x": "x\n",
		"www/big": fixture.Content(1, tree.ChunkSize+7), "module": strings.Repeat("1234567890", 4),
	}
	first := f.commit("first", all)
	f.deploy(first)
	// 2: unsigned, of two commits. Of its files gc takes one.
	second := f.commit("second", files{"gone": "soon\n"}, f.commit("between", files{"gone": "not yet\n"}, first))
	f.deploy(second, unsigned)
	// 3: a merge of a line that began before.
	all["b"] = "two\n"
	side := f.commit("side", files{"side": "\n"}, first)
	third := f.commit("third", all, second, side)
	f.deploy(third)
	// 4: with a path.
	all["www/main/conf/x"] = "y\n"
	fourth := f.commit("fourth", all, third)
	f.deploy(fourth, func(job *deploy.Job) { job.Path = "www/main" })
	f.rollback(3)
	// 6: forced, to another line.
	sixth := f.commit("sixth", files{"a": "another line\n"})
	f.deploy(sixth, forced)
	// 7: a tag that is signed, of a commit that is.
	seventh := f.signedTag("v7", sixth)
	f.deploy(seventh, func(job *deploy.Job) { job.Ref = "refs/tags/v7" })
	// 8: a plain one.
	eighth := f.commit("eighth", files{"a": "x", "b/c/d": "x"}, f.repo.OID("rev-parse", "v7^{commit}"))
	f.deploy(eighth)
	// 9: of three commits. 10: of one.
	line := f.repo.Line("main", 3, eighth)
	f.deploy(line[2])
	f.deploy(f.commit("tenth", all, line[2]))
	d, err := f.chain().Get(f.Context(), 1)
	if err == nil {
		_, err = f.chain().Pin(f.Context(), d, &record.Pin{User: "ops"}, f.lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.collect(7)
	return f
}

// signedTag makes a signed commit, and a signed tag of it, and gives the tag.
func (f *setup) signedTag(name string, parent tree.OID) tree.OID {
	f.Helper()
	signs := []string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + f.key(9)}
	root := f.repo.Tree(fmt.Sprintf("100644 blob %s\tsigned", f.repo.Blob(name)))
	commit := f.repo.OID(append(signs, "commit-tree", "-S", root.String(), "-p", parent.String(), "-m", name)...)
	f.repo.Git(append(signs, "tag", "-s", "-m", name, name, commit.String())...)
	return f.repo.OID("rev-parse", "refs/tags/"+name)
}

// wide is a tree with a directory whose node is longer than a chunk.
func (f *setup) wide() tree.OID {
	f.Helper()
	blob := f.repo.Blob("in many places\n")
	var lines []string
	for i := range 3_000 {
		lines = append(lines, fmt.Sprintf("100644 blob %s\t%0240d", blob, i))
	}
	return f.repo.Tree(fmt.Sprintf("40000 tree %s\twide", f.repo.Tree(lines...)))
}

// wideDeploy makes a chain of one deploy that has a directory whose node has two chunks.
func wideDeploy(t testing.TB) *setup {
	f := newSetup(t, "/refship/wide")
	f.deploy(f.repo.CommitTree(f.wide(), "wide"))
	return f
}

// mgmtDeploys makes a chain that mgmt reads, with a foreign deploy in it.
func mgmtDeploys(t testing.TB) *setup {
	f := newSetup(t, record.MgmtNamespace)
	lang := func(job *deploy.Job) { job.Frontend = record.Lang }
	first := f.commit("first", files{"main.mcl": "one\n", "modules/a": "shared\n"})
	f.deploy(first, lang)
	second := f.commit("second", files{"main.mcl": "two\n", "large": fixture.Content(2, tree.ChunkSize+100)}, first)
	f.deploy(second, lang, func(job *deploy.Job) { job.Settings.Noop = true })
	third := f.commit("third", files{"main.mcl": "three\n"}, second)
	f.foreign(3, record.CommitHash(third), files{"main.mcl": "three\n", "metadata.yaml": "main: \"main.mcl\"\n"})
	fourth := f.commit("fourth", files{"start.yaml": "graph: x\n"}, third)
	f.deploy(fourth, func(job *deploy.Job) { job.Frontend = record.YAML })
	f.rollback(1)
	f.deploy(f.commit("sixth", files{"README": "x"}, fourth), func(job *deploy.Job) {
		job.Frontend, job.Again = record.Empty, []record.ID{5}
	})
	return f
}

func wantStates(t *testing.T, v *verified, want ...verify.State) {
	t.Helper()
	if fmt.Sprint(v.states()) != fmt.Sprint(want) {
		t.Errorf("states are %v, want %v", v.states(), want)
	}
	for _, f := range v.findings() {
		t.Errorf("found: %+v", f)
	}
}

func TestChainOfTen(t *testing.T) {
	t.Parallel()
	f := tenDeploys(t)
	v, err := runVerify(t.Context(), f.chain().Chain)
	if err != nil {
		t.Fatal(err)
	}
	const s = verify.Sound
	wantStates(t, v, s, verify.Gone, s, s, s, s, s, s, s, s)
	if v.Orphans != 0 || v.Deploys[s] != 9 {
		t.Errorf("%d orphans, deploys %v", v.Orphans, v.Deploys)
	}
	for id, want := range map[record.ID]map[verify.Check]verify.Answer{
		1:  {verify.Signature: verify.Holds, verify.Commit: verify.Holds, verify.Ancestry: verify.None},
		2:  {verify.Signature: verify.None, verify.Ancestry: verify.Holds, verify.Tree: verify.Expired},
		3:  {verify.Ancestry: verify.Holds},
		4:  {verify.Commit: verify.Holds, verify.Ancestry: verify.Holds},
		5:  {verify.Ancestry: verify.NotStored},
		6:  {verify.Ancestry: verify.NotStored},
		7:  {verify.CommitSignature: verify.UnknownKey, verify.Tag: verify.UnknownKey},
		9:  {verify.Ancestry: verify.Holds, verify.Contents: verify.Holds},
		10: {verify.CommitSignature: verify.None, verify.Certificate: verify.None, verify.Mgmt: verify.None},
	} {
		for check, answer := range want {
			if is := v.all[id].Answers[check]; is != answer {
				t.Errorf("deploy %d: %s %s, want %s", id, check, is, answer)
			}
		}
	}
}

func TestChainOfMgmt(t *testing.T) {
	t.Parallel()
	f := mgmtDeploys(t)
	v, err := runVerify(t.Context(), f.chain().Chain)
	if err != nil {
		t.Fatal(err)
	}
	const s = verify.Sound
	wantStates(t, v, s, s, verify.Foreign, s, s, s)
	if v.Orphans != 0 || v.all[2].Answers[verify.Mgmt] != verify.Holds {
		t.Errorf("%d orphans, %v", v.Orphans, v.all[2].Answers)
	}
}
