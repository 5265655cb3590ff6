package deploy_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// logHashes finds the hashes of a log as FORMAT.md says where they are. It knows nothing of package transparency.
type logHashes map[string]string

func (h logHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		value := h[fmt.Sprintf("%slog/%d", own, (n+1)<<level)]
		if len(value) < 32*(level+1) {
			return nil, fmt.Errorf("there is no hash %d of level %d", n, level)
		}
		found = append(found, tlog.Hash([]byte(value[32*level:32*level+32])))
	}
	return found, nil
}

// open opens a checkpoint with nothing but sumdb's own code and the server's public key.
func (f *setup) openNote(signed string) (chain string, size int64, root tlog.Hash) {
	f.Helper()
	chain, _, _ = strings.Cut(signed, "\n")
	public := f.signer.PublicKey().(ssh.CryptoPublicKey).CryptoPublicKey().(ed25519.PublicKey)
	key, err := note.NewEd25519VerifierKey(chain, public)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		f.Fatal(err)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		f.Fatal(err)
	}
	var encoded string
	if _, err := fmt.Sscanf(opened.Text, chain+"\n%d\n%s\n", &size, &encoded); err != nil {
		f.Fatalf("%q: %v", opened.Text, err)
	}
	if root, err = tlog.ParseHash(encoded); err != nil {
		f.Fatal(err)
	}
	return chain, size, root
}

// wantLog checks the whole log with sumdb's own code: each leaf is in it, and the checkpoint is its head.
func (f *setup) wantLog(size record.ID) {
	f.Helper()
	all := f.dump()
	hashes := logHashes(all)
	chain, n, root := f.openNote(all[own+"checkpoint"])
	var r record.Record
	if err := json.Unmarshal([]byte(all[fmt.Sprintf("%s/deploy/%d/record", namespace, size)]), &r); err != nil {
		f.Fatal(err)
	}
	if n != int64(size) || chain != "refship/"+string(r.Chain) {
		f.Errorf("the checkpoint is of %d deploys of %s, want %d of %s", n, chain, size, r.Chain)
	}
	if is, err := tlog.TreeHash(n, hashes); err != nil || is != root {
		f.Errorf("the log's root is %s, %v, the checkpoint's %s", is, err, root)
	}
	for id := int64(1); id <= n; id++ {
		leaf, ok := all[fmt.Sprintf("%s/deploy/%d/record", namespace, id)]
		if !ok {
			payload, hash := all[fmt.Sprintf("%s/deploy/%d/payload", namespace, id)],
				all[fmt.Sprintf("%s/deploy/%d/hash", namespace, id)]
			if hash == "" {
				hash = "-"
			}
			leaf = fmt.Sprintf("foreign %d\n%s\n%s\n", id, sha256Hex([]byte(payload)), hash)
		}
		proof, err := tlog.ProveRecord(n, id-1, hashes)
		if err == nil {
			err = tlog.CheckRecord(proof, n, root, id-1, tlog.RecordHash([]byte(leaf)))
		}
		if err != nil {
			f.Errorf("deploy %d is not in the log: %v", id, err)
		}
	}
	for key := range all {
		if number, ok := strings.CutPrefix(key, own+"log/"); ok {
			if id, err := record.ParseID(number); err != nil || id > size {
				f.Errorf("there is a key %s", key)
			}
		}
	}
}

// Each publish extends the log: sumdb's own code opens each checkpoint, and proves that each later one extends it.
func TestLogIsSumdbs(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	var heads []string
	for _, commit := range f.line("main", 11) {
		d := f.deploy(commit)
		f.wantLog(d.ID)
		heads = append(heads, f.value(own+"checkpoint"))
	}
	f.rollback(3)
	f.wantLog(12)
	heads = append(heads, f.value(own+"checkpoint"))
	hashes := logHashes(f.dump())
	_, size, root := f.openNote(heads[11])
	for i, head := range heads {
		_, earlier, before := f.openNote(head)
		proof, err := tlog.ProveTree(size, earlier, hashes)
		if err == nil {
			err = tlog.CheckTree(proof, size, root, earlier, before)
		}
		if err != nil || earlier != int64(i+1) {
			t.Errorf("checkpoint %d: %v", earlier, err)
		}
	}
}

// older makes a chain of n deploys as a refship without a log has made it, unsigned, and gives its commits.
func (f *setup) older(n int) []tree.OID {
	f.Helper()
	line := f.repo.Line("main", n+2, tree.OID{})
	var below record.Ref
	previous := record.Hash("")
	for start := 0; start < n; start += 60 {
		var puts []clientv3.Op
		for i := start; i < min(start+60, n); i++ {
			id := record.ID(i + 1)
			r := &record.Record{
				Format: 1, Namespace: namespace, Chain: "00112233445566778899aabbccddeeff", ID: id, Kind: record.KindPush,
				Hash: record.CommitHash(line[i]), Tree: tree.HashObject(tree.FormatSHA1, "tree", nil), Commits: 1, Frontend: record.Files,
				PreviousHash: previous, PreviousRecord: below, Undone: []record.Undone{}, Time: time.Unix(1700000000, 0).UTC(),
			}
			r.TreeSHA256 = sha256.Sum256(nil)
			d, err := record.NewDeploy(r, nil)
			if err != nil {
				f.Fatal(err)
			}
			below, previous = record.Ref{ID: id, SHA256: record.Sum(d.RecordBytes)}, d.Hash
			puts = append(puts, clientv3.OpPut(f.chain.DeployKey(id, record.KeyRecord), string(d.RecordBytes)),
				clientv3.OpPut(f.chain.DeployKey(id, record.KeyHash), string(d.Hash)))
		}
		if _, err := f.tap.KV.Txn(f.Context()).Then(puts...).Commit(); err != nil {
			f.Fatal(err)
		}
	}
	f.put(own+"head", fmt.Sprint(n))
	return line
}

// A chain that is older than the log gets its leaves with the next deploy. Broken off at whichever txn, the log has not
// begun, and the next deploy begins it.
func TestLogOfAnOlderChain(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.older(250)
	for broken := 1; ; broken++ {
		txns := 0
		f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
			touches := slices.ContainsFunc(txn.thens, func(op clientv3.Op) bool {
				return (op.IsPut() || op.IsDelete()) && strings.HasPrefix(string(op.KeyBytes()), own+"log/")
			})
			if len(txn.thens) > 128 || len(txn.ifs) > 128 {
				t.Errorf("%d operations, %d compares", len(txn.thens), len(txn.ifs))
			}
			if touches && !txn.puts(own+"head") {
				if txns++; txns == broken {
					return nil, fmt.Errorf("broken off at %d", broken)
				}
			}
			return txn.send()
		})
		d, _, err := f.do(f.job(line[250]))
		f.tap.on(nil)
		if err == nil {
			if broken != 5 || d.ID != 251 { // the wipe, and 3 batches
				t.Errorf("deploy %d after %d txns", d.ID, broken)
			}
			break
		}
		if !strings.Contains(err.Error(), "broken off") || f.value(own+"log/1") != "" || f.value(own+"checkpoint") != "" {
			t.Fatalf("broken at %d: %v", broken, err)
		}
	}
	f.wantLog(251)
	f.deploy(line[251])
	f.wantLog(252)
}

// Leaves of foreign deploys come before the next one's, as many as there are, and also when that is tried again.
func TestLogHasForeignDeploys(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.mgmts = true
	f.foreign(1, "")
	line := f.line("main", 3)
	job := func(commit tree.OID) *deploy.Job {
		job := f.job(commit)
		job.Force, job.Reason = true, "mgmt's"
		return job
	}
	if _, _, err := f.do(job(line[0])); err != nil {
		t.Fatal(err)
	}
	f.wantLog(2)
	hash := string(record.CommitHash(line[0]))
	for id := 3; id < 210; id++ {
		f.foreign(id, hash)
	}
	txns := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if txn.puts(own+"log/103") && !txn.puts(own+"head") {
			if txns++; txns == 1 {
				return nil, fmt.Errorf("broken off")
			}
		}
		return txn.send()
	})
	if _, _, err := f.do(job(line[1])); err == nil || f.value(own+"log/102") == "" || f.value(own+"log/103") != "" {
		t.Fatal(err)
	}
	d, _, err := f.do(job(line[1]))
	f.tap.on(nil)
	if err != nil || d.ID != 210 {
		t.Fatal(d, err)
	}
	f.wantLog(210)
}

// The log grows with unsigned deploys, and with those that another kind of key signs; a note is signed by ed25519.
func TestLogWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 5)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	signer := f.signer
	checkpoint := ""
	for i, by := range []ssh.Signer{nil, other, signer, nil, signer} {
		f.signer = by
		f.deploy(line[i])
		switch now := f.value(own + "checkpoint"); {
		case by == signer:
			f.wantLog(record.ID(i + 1))
			checkpoint = now
		case now != checkpoint:
			t.Errorf("deploy %d: checkpoint %q", i+1, now)
		case f.value(fmt.Sprintf("%slog/%d", own, i+1)) == "":
			t.Errorf("deploy %d is not in the log", i+1)
		}
	}
}

// A log that does not fit keeps the next deploy out, and a rollback: nothing is written. Force makes it anew.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 6)
	var older string
	for i, commit := range line[:5] {
		f.deploy(commit)
		if i == 2 {
			older = f.value(own + "checkpoint")
		}
	}
	whole := f.dump()
	set := func(key, value string) func() { return func() { f.put(own+key, value) } }
	for name, c := range map[string]struct {
		damage func()
		what   string
	}{
		"a value of the edge": {set("log/4", strings.Repeat("x", 96)), "checkpoint: its root is not that of the log"},
		"the last value":      {set("log/5", strings.Repeat("x", 32)), "checkpoint: its root is not that of the log"},
		"a short value":       {set("log/4", "x"), "log/: read the log up to deploy 5: the log is damaged: its value of deploy 4 has 1 bytes, not 96"},
		"an empty value":      {set("log/5", ""), "log/: read the log up to deploy 5: the log is damaged: its value of deploy 5 has 0 bytes, not 32"},
		"a missing value":     {func() { f.delete(own + "log/4") }, "log/4: it is missing"},
		"a value too many":    {set("log/6", "x"), "log/6: it is there, and deploy 6 is not"},
		"no checkpoint":       {set("checkpoint", "x"), "checkpoint: read checkpoint: malformed note"},
		"another signature": {set("checkpoint", strings.Replace(whole[own+"checkpoint"], "= ", "= A", 1)[:len(whole[own+"checkpoint"])-9]+"AAAAAAA=\n"),
			"checkpoint: the key that signed deploy 5 has not signed it"},
		"a checkpoint of more": {func() {
			f.delete(namespace + "/deploy/5/hash")
			f.delete(namespace + "/deploy/5/record")
			f.delete(namespace + "/deploy/5/signature")
			f.put(own+"head", "4")
		}, "checkpoint: it is of 5 deploys, and there are 4"},
		"another history": {func() {
			f.delete(own + "log/1")
			f.put(namespace+"/deploy/2/record", whole[namespace+"/deploy/1/record"])
		}, "checkpoint: its root is not that of the deploys up to 5: one of them was written anew"},
		"another history, an older checkpoint": {func() {
			f.delete(own + "log/1")
			f.put(own+"checkpoint", older)
			f.put(namespace+"/deploy/2/record", whole[namespace+"/deploy/1/record"])
		}, "checkpoint: its root is not that of the deploys up to 3: one of them was written anew"},
	} {
		t.Run(name, func(t *testing.T) {
			c.damage()
			before := f.dump()
			_, _, err := f.do(f.job(line[5]))
			fixture.WantFault(t, fault.Corrupt, err, "verify "+own+c.what, "log-damaged push")
			if _, _, err := f.do(f.back(3)); err == nil {
				t.Error("a rollback goes through")
			}
			if !maps.Equal(before, f.dump()) {
				t.Error("something was written")
			}
			job := f.job(line[5])
			job.Force, job.Reason = true, "the log is damaged"
			d, _, err := f.do(job)
			if err != nil || !d.Record.Forced {
				t.Fatalf("forced: %+v, %v", d, err)
			}
			f.wantLog(d.ID)
			for key := range f.dump() {
				if whole[key] == "" {
					f.delete(key)
				}
			}
			for key, value := range whole {
				f.put(key, value)
			}
		})
	}
	f.deploy(line[5])
	f.wantLog(6)
}

// A log whose newest values were taken away, or all of it, is made anew from the deploys, as the checkpoint has them.
func TestLogIsMadeAgain(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 7)
	for _, commit := range line[:5] {
		f.deploy(commit)
	}
	f.delete(own + "log/5")
	f.delete(own + "log/4")
	f.deploy(line[5])
	f.wantLog(6)
	for id := 1; id <= 6; id++ {
		f.delete(fmt.Sprintf("%slog/%d", own, id))
	}
	f.deploy(line[6])
	f.wantLog(7)
}
