package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// golden is what mgmt's own command once wrote, as deploy 1 of /_mgmt.
func golden(t testing.TB, name string) *bundle {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("..", "mgmt", "testdata", "golden", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{}
	if err := json.Unmarshal(dump, &values); err != nil {
		t.Fatal(err)
	}
	b := newBundle()
	for key, value := range values {
		b.keys[key] = string(value)
	}
	return b
}

// key gives the one key that has a text in it.
func (b *bundle) key(t testing.TB, part string) string {
	t.Helper()
	var found []string
	for key := range b.keys {
		if strings.Contains(key, part) {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		t.Fatalf("keys with %q: %q", part, found)
	}
	return found[0]
}

func (b *bundle) mgmt(t testing.TB) (*store.Chain, *record.Deploy) {
	t.Helper()
	chain := store.New(b, record.MgmtNamespace)
	d, err := chain.Head(t.Context())
	if err != nil || d == nil || d.Record != nil {
		t.Fatalf("head %+v, %v", d, err)
	}
	return chain, d
}

func listed(t testing.TB, chain *store.Chain, d *record.Deploy) (paths []string, err error) {
	err = chain.List(t.Context(), d, "", true, func(path string, e tree.Entry) error {
		paths = append(paths, path+" "+e.Mode.String()+" "+e.OID.String())
		return nil
	})
	return paths, err
}

func blob(content string) string {
	return tree.HashObject(tree.FormatSHA1, "blob", []byte(content)).String()
}

// A deploy that mgmt itself made is read as the files that mgmt reads of it.
func TestForeign(t *testing.T) {
	chain, d := golden(t, "lang-dir").mgmt(t)
	f, err := chain.Foreign(t.Context(), d)
	if err != nil || f.Payload.Frontend != mgmt.Lang || f.Root.Files() != 9 {
		t.Fatalf("%+v, %v", f, err)
	}
	got, err := listed(t, chain, d)
	hello := blob("hello text\n")
	for _, want := range []string{"files/hello.txt 0100644 " + hello, "files/link.txt 0100644 " + hello,
		"files/zero 0100644 " + blob("")} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not listed", want)
		}
	}
	if err != nil || len(got) != 9 {
		t.Errorf("listed %q, %v", got, err)
	}
	var out bytes.Buffer
	if err := chain.Cat(t.Context(), d, &out, "files/link.txt"); err != nil || out.String() != "hello text\n" {
		t.Errorf("cat: %q, %v", &out, err)
	}
	out.Reset()
	if err := chain.Cat(t.Context(), d, &out, "files/zero"); err != nil || out.Len() > 0 {
		t.Errorf("cat of nothing: %q, %v", &out, err)
	}
	to := filepath.Join(t.TempDir(), "out")
	var last text.Progress
	if err := chain.Checkout(t.Context(), d, to, func(p text.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Files != 9 || last.FilesTotal != 9 {
		t.Errorf("told %+v", last)
	}
	for name, want := range map[string]string{"files/hello.txt": "hello text\n", "files/zero": ""} {
		if content, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(content) != want {
			t.Errorf("%s is %q, %v", name, content, err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "files", "emptydir")); err != nil {
		t.Error(err)
	}
	if err := chain.Diff(t.Context(), d, d, func(c store.Change) error {
		t.Errorf("%s differs from itself", c.Path)
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A puppet manifest that was given as text is one file, as another manifest is.
func TestForeignPuppetString(t *testing.T) {
	chain, d := golden(t, "puppet-string").mgmt(t)
	f, err := chain.Foreign(t.Context(), d)
	if err != nil || f.Payload.Frontend != mgmt.Puppet || f.Payload.Mode != "string" || f.Root.Files() != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	paths, err := listed(t, chain, d)
	if err != nil || len(paths) != 1 {
		t.Fatalf("listed %q, %v", paths, err)
	}
	var out bytes.Buffer
	name, _, _ := strings.Cut(paths[0], " ")
	if err := chain.Cat(t.Context(), d, &out, name); err != nil || out.String() != "notify { \"s\": }" {
		t.Errorf("cat %s: %q, %v", name, &out, err)
	}
}

// What has no files is an empty tree.
func TestForeignWithoutFiles(t *testing.T) {
	for name, frontend := range map[string]string{"empty": mgmt.Empty, "puppet-agent": mgmt.Puppet} {
		chain, d := golden(t, name).mgmt(t)
		f, err := chain.Foreign(t.Context(), d)
		if err != nil || f.Payload.Frontend != frontend {
			t.Fatalf("%s: %+v, %v", name, f, err)
		}
		if got, err := listed(t, chain, d); err != nil || len(got) > 0 {
			t.Errorf("%s: listed %q, %v", name, got, err)
		}
	}
}

// Whatever is missing or altered is told by its key, and nothing is given away.
func TestForeignDamage(t *testing.T) {
	remove := func(part string) func(*bundle) string {
		return func(b *bundle) string { key := b.key(t, part); delete(b.keys, key); return key }
	}
	put := func(part, value string) func(*bundle) string {
		return func(b *bundle) string { key := b.key(t, part); b.keys[key] = value; return key }
	}
	for name, damage := range map[string]func(b *bundle) string{
		"no superblock":   remove("/fs/deploy/"),
		"bad superblock":  put("/fs/deploy/", "x"),
		"long superblock": put("/fs/deploy/", strings.Repeat("A", 3<<20)),
		"bad payload":     put("payload", "?"),
		"long payload":    put("payload", strings.Repeat("A", 1<<20)),
		"no content":      remove("ac371346f1"),
		"other content":   put("ac371346f1", "x"),
		"git's own name": func(b *bundle) string {
			block, err := mgmt.EncodeSuperblock(&mgmt.File{Mode: os.ModeDir, Children: []*mgmt.File{
				{Name: "agit", SHA256: sha256.Sum256(nil)},
			}})
			if err != nil {
				t.Fatal(err)
			}
			key := b.key(t, "/fs/deploy/")
			b.keys[key] = strings.Replace(string(block), "\x04agit", "\x04.git", 1)
			return key
		},
	} {
		b := golden(t, "lang")
		key := damage(b)
		chain, d := b.mgmt(t)
		_, err := listed(t, chain, d)
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: error %v, want one about %s", name, err, key)
		}
		var out bytes.Buffer
		if err := chain.Cat(t.Context(), d, &out, "hello.mcl"); err == nil || out.Len() > 0 {
			t.Errorf("%s: cat gives %q, %v", name, &out, err)
		}
		to := filepath.Join(t.TempDir(), "out")
		if err := chain.Checkout(t.Context(), d, to, func(text.Progress) {}); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: checkout: %v", name, err)
		}
		if _, err := os.Lstat(to); err == nil {
			t.Errorf("%s: %s is there", name, to)
		}
	}
}

// FuzzForeign: whatever payload and superblock hold, there is a tree that can be read, or an error that says why not.
func FuzzForeign(f *testing.F) {
	for _, name := range []string{"lang", "lang-dir", "yaml", "empty", "puppet-conf", "puppet-agent"} {
		b := golden(f, name)
		payload, err := base64.StdEncoding.DecodeString(b.keys["/_mgmt/deploy/1/payload"])
		if err != nil {
			f.Fatal(err)
		}
		superblock := ""
		for key, value := range b.keys {
			if strings.Contains(key, "/fs/deploy/") {
				superblock = value
			}
		}
		f.Add(payload, []byte(superblock))
	}
	all := golden(f, "lang-dir")
	for key, value := range golden(f, "lang").keys {
		if strings.Contains(key, "/storage/") {
			all.keys[key] = value
		}
	}
	f.Fuzz(func(t *testing.T, payload, superblock []byte) {
		b := newBundle()
		for key, value := range all.keys {
			if strings.Contains(key, "/storage/") {
				b.keys[key] = value
			}
		}
		value := base64.StdEncoding.EncodeToString(payload)
		b.keys["/_mgmt/deploy/1/payload"] = value
		if p, err := mgmt.DecodePayload([]byte(value)); err == nil {
			b.keys["/_mgmt"+p.SuperblockPath()] = string(superblock)
		}
		chain, d := b.mgmt(t)
		paths, err := listed(t, chain, d)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Refused) {
				t.Fatal(err)
			}
			return
		}
		for _, path := range paths {
			name := path[:len(path)-len(" 0100644 ")-40]
			if err := chain.Cat(t.Context(), d, new(bytes.Buffer), name); err != nil {
				t.Fatalf("cat %q: %v", name, err)
			}
		}
		var again []string
		if again, err = listed(t, chain, d); err != nil || cmp.Diff(paths, again) != "" {
			t.Fatalf("%v\n%s", err, cmp.Diff(paths, again))
		}
	})
}
