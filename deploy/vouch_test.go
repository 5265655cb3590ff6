package deploy_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// What an older deploy left in etcd is not believed when a deploy brings it back: it is read from git and compared, and
// put right where somebody has altered it. Else it would be signed, and no reader could read it.
func TestWhatTheHeadDoesNotVouchForIsPutRight(t *testing.T) {
	t.Parallel()
	big := noise(2*tree.ChunkSize + 7)
	old := files{"a": regular("a"), "d/e/file": regular("file\n"), "d/e/big": regular(big), "d/e/run": {"100755", "run"}}
	isNode := func(key string) bool { return strings.HasPrefix(key, own+"tree/") }
	isContent := func(key string) bool { return strings.HasPrefix(key, namespace+"/storage/") }
	isObject := func(key string) bool { return strings.HasPrefix(key, own+"object/") }
	flip := func(value string) string {
		b := []byte(value)
		b[len(b)/2] ^= 1
		return string(b)
	}
	for name, c := range map[string]struct {
		which func(key string) bool
		alter func(value string) string // "" deletes
	}{
		"a sha256 in a node, whose tree oid still fits": {isNode, func(value string) string {
			return strings.ReplaceAll(value, emptySHA256[:8], "00000000")
		}},
		"nodes deleted":    {isNode, func(string) string { return "" }},
		"contents altered": {isContent, flip},
		"contents cut":     {isContent, func(value string) string { return value[:len(value)-1] }},
		"contents deleted": {isContent, func(string) string { return "" }},
		"commits altered":  {isObject, flip},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSetup(t)
			all := files{"empty": regular("")}
			for path, content := range old {
				all[path] = content
			}
			all["d/e/empty"] = regular("")
			first := f.deploy(f.repo.commit("first", all))
			second := f.deploy(f.repo.commit("second", files{"other": regular("other")}, first.Hash.OID()))
			altered := 0
			for key, value := range f.dump() {
				if value == "" || !c.which(key) || isObject(key) && !strings.HasSuffix(key, string(first.Hash)) {
					continue
				}
				switch now := c.alter(value); {
				case now == value:
				case now == "":
					f.delete(key)
					altered++
				default:
					f.put(key, now)
					altered++
				}
			}
			if altered == 0 {
				t.Fatal("nothing was altered")
			}
			// The first tree comes back, once with a new commit on top, once with the first commit itself.
			third := f.deploy(f.repo.commit("third", all, second.Hash.OID()))
			f.sameAsGit(third)
			job := f.job(first.Hash.OID())
			job.Force, job.Reason = true, "back"
			d, _, err := f.do(job)
			if err != nil {
				t.Fatal(err)
			}
			f.sameAsGit(d)
			if got := f.dump()[own+"object/"+string(first.Hash)]; tree.HashObject(tree.FormatSHA1, "commit",
				[]byte(got[strings.IndexByte(got, 0)+1:])) !=
				first.Hash.OID() {
				t.Errorf("the commit is not what its key names: %q", got)
			}
		})
	}
}

// A head that was signed over a node with a wrong sha256 vouches for it. Force believes nothing of the head, and so
// puts it right.
func TestForceBelievesNothingOfTheHead(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("a"), "b": regular("b")}))
	key := own + "tree/" + first.Record.Tree.String()
	sum := sha256Hex([]byte("a"))
	text := strings.Replace(f.dump()[key], sum, strings.Repeat("0", len(sum)), 1)
	f.put(key, text)
	r := *first.Record
	r.TreeSHA256 = sha256.Sum256([]byte(text))
	signed, err := record.NewDeploy(&r, f.signer)
	if err != nil {
		t.Fatal(err)
	}
	f.put(record1, string(signed.RecordBytes))
	f.put(namespace+"/deploy/1/signature", string(signed.Signature))

	job := f.job(f.repo.commit("second", files{"a": regular("a"), "b": regular("b2")}, first.Hash.OID()))
	job.Force, job.Reason = true, "put it right"
	d, _, err := f.do(job)
	if err != nil || d.Record.Forced {
		t.Fatalf("%+v, %v", d, err)
	}
	f.sameAsGit(d)
}
