package deploy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// everything reads a whole deploy: its record, the list, each content, and a checkout.
func (f *setup) everything(id record.ID) (map[string]string, error) {
	f.Helper()
	d, err := f.chain.Get(f.Context(), id)
	if err != nil {
		return nil, err
	}
	all := map[string]string{"hash": string(d.Hash), "record": string(d.RecordBytes)}
	if err := f.sshVerify(d.RecordBytes, d.Signature); err != nil {
		return nil, errSignature
	}
	var failed []error
	err = f.chain.List(f.Context(), d, "", true, func(path string, e tree.Entry) error {
		all["list "+path] = fmt.Sprint(e)
		if e.Mode == filemode.Submodule {
			return nil
		}
		var b bytes.Buffer
		if err := f.chain.Cat(f.Context(), d, &b, path); err != nil {
			failed = append(failed, err)
			if e.Size <= tree.ChunkSize && b.Len() > 0 {
				f.Errorf("cat %q wrote %d bytes before it failed", path, b.Len())
			}
		}
		all["cat "+path] = sha256Hex(b.Bytes())
		return nil
	})
	failed = append(failed, err)
	scratch := f.TempDir()
	err = f.chain.Checkout(f.Context(), d, filepath.Join(scratch, "out"), quiet)
	if err == nil {
		for name, what := range manifest(f, filepath.Join(scratch, "out")) {
			all["checkout "+name] = what
		}
	}
	if left, _ := os.ReadDir(scratch); err != nil && len(left) > 0 {
		f.Errorf("checkout left %v behind", left)
	}
	_ = os.RemoveAll(scratch)
	failed = append(failed, err)
	return all, errors.Join(failed...)
}

var errSignature = errors.New("the signature does not verify")

func TestEveryKeyTamperedWith(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{
		"a": regular("one\n"), "empty": regular(""), "d/link": {"120000", "../a"}, "d/e/run": {"100755", "#!"},
		"d/e/big": regular(noise(2*tree.ChunkSize + 7)),
		"module":  {"160000", oid160},
	}
	f.deploy(f.repo.commit("one", all))
	want, err := f.everything(1)
	if err != nil {
		t.Fatal(err)
	}
	whole := f.dump()
	for key, value := range whole {
		tampered := map[string]func(){
			"delete": func() { f.delete(key) },
			"append": func() { f.put(key, value+"\n") },
		}
		if value != "" {
			for _, at := range []int{0, len(value) / 3, len(value) - 1} {
				flipped := []byte(value)
				flipped[at] ^= 1
				tampered[fmt.Sprint("flip ", at)] = func() { f.put(key, string(flipped)) }
			}
			tampered["empty"] = func() { f.put(key, "") }
			tampered["truncate"] = func() { f.put(key, value[:len(value)-1]) }
		}
		for name, tamper := range tampered {
			tamper()
			now := f.value(key)
			got, err := f.everything(1)
			f.put(key, value)
			switch {
			case err == nil:
				for what := range want {
					if got[what] != want[what] {
						t.Errorf("%s %s: %s is %q, want %q", name, key, what, got[what], want[what])
					}
				}
				// What a reader does not need: the commit, the hint, the count, the log (package verify reads that), and white
				// space behind the signature's armor.
				armor := strings.HasSuffix(key, "/signature") && strings.TrimSpace(now) == strings.TrimSpace(value)
				if !armor && !strings.HasPrefix(key, own+"object/") && key != own+"head" && key != own+"stored" &&
					key != own+"checkpoint" && key != own+"log/1" {
					t.Errorf("%s %s: nobody noticed", name, key)
				}
			case fault.Is(err, fault.Corrupt):
				if fault.RemedyOf(err) == "" {
					t.Errorf("%s %s: %v has no remedy", name, key, err)
				}
			case errors.Is(err, errSignature) && (strings.HasSuffix(key, "/signature") || strings.HasSuffix(key, "/record")):
			default:
				t.Errorf("%s %s: %v", name, key, err)
			}
		}
	}
	f.unchanged(whole)
}

// What is left of a deploy whose record is gone keeps the next one out, by name, and not as a lost lock.
func TestRestsOfADeployAreReported(t *testing.T) {
	f := newSetup(t)
	commit := f.one()
	for _, key := range []string{"hash", "signature"} {
		f.put(namespace+"/deploy/1/"+key, oid160)
		_, _, err := f.do(f.job(commit))
		fixture.WantFault(t, fault.Corrupt, err, "/refship/config/deploy/1/", "head-damaged push 1")
		_, err = f.chain.Get(t.Context(), 1)
		fixture.WantFault(t, fault.Corrupt, err, "/refship/config/deploy/1/", "")
		f.delete(namespace + "/deploy/1/" + key)
	}
	if _, err := f.chain.Get(t.Context(), 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}

// What another writer has put there is read if it is mgmt's (package store).
func TestForeignDeployThatIsNotMgmts(t *testing.T) {
	f := newSetup(t)
	f.foreign(1, oid160)
	d := f.get(1)
	if d.Record != nil || d.Hash != oid160 || d.By() != "another writer" {
		t.Errorf("deploy %+v", d)
	}
	const want = "deploy 1: it is foreign: verify /refship/config/deploy/1/payload: decode payload: "
	for what, err := range map[string]error{
		"list":     f.chain.List(t.Context(), d, "", true, func(string, tree.Entry) error { return nil }),
		"cat":      f.chain.Cat(t.Context(), d, &bytes.Buffer{}, "a"),
		"checkout": f.chain.Checkout(t.Context(), d, filepath.Join(t.TempDir(), "out"), quiet),
	} {
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}

// A record that another program signed may name a content of any size: nothing is allocated for it.
func TestForgedSizes(t *testing.T) {
	f := newSetup(t)
	node := fmt.Sprintf("100644 %s 9223372036854775807 %s\tf\x00", oid160, emptySHA256)
	parsed, err := tree.ParseNode([]byte(node))
	if err != nil {
		t.Fatal(err)
	}
	f.put(own+"tree/"+parsed.OID(tree.FormatSHA1).String(), node)
	f.handwritten(record.Record{
		ID: 1, Hash: oid160, Tree: parsed.OID(tree.FormatSHA1), TreeSHA256: sha256.Sum256([]byte(node)), TreeSize: int64(len(node)),
	})
	d := f.get(1)
	fixture.WantFault(t, fault.Corrupt, f.chain.Cat(t.Context(), d, &bytes.Buffer{}, "f"), "is missing", "")
	fixture.WantFault(t, fault.Refused, f.chain.Checkout(t.Context(), d, filepath.Join(t.TempDir(), "out"), quiet),
		"it takes 4 EiB, and the disk of", "another disk")
}
