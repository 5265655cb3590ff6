package deploy_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/transparency"
	"refship/deploy/tree"
	"refship/keys"
)

var update = flag.Bool("update", false, "write the example into FORMAT.md")

// between gives what stands between two markers of FORMAT.md, and what is around it.
func between(t *testing.T, marker string) (before, inside, after string) {
	t.Helper()
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+marker+": begin -->\n", "<!-- "+marker+": end -->\n"
	before, rest, ok1 := strings.Cut(string(b), begin)
	inside, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("FORMAT.md has no markers %q", marker)
	}
	return before + begin, inside, end + after
}

// examples are the markers of FORMAT.md's examples, one of each object format.
var examples = map[tree.Format]string{tree.FormatSHA1: "example", tree.FormatSHA256: "example of SHA-256"}

// of is the setup with a repository of an object format.
func (f *setup) of(format tree.Format) *setup {
	f.repo = gitRepo{fixture.NewRepository(f, "--object-format="+format.String())}
	return f
}

// example makes a deploy of FORMAT.md. Its record gets a fixed time, and is signed again: with the fixed key of
// the fixture every byte is always the same.
func (f *setup) example() *record.Deploy {
	f.Helper()
	d := f.deploy(f.repo.commit("greet\n", files{
		"motd": regular("hello\n"), "bin/run": {"100755", "#!/bin/sh\ncat motd\n"}, "empty": regular(""),
		"message": {"120000", "motd"},
	}))
	r := *d.Record
	r.Chain = "c0ffee00c0ffee00c0ffee00c0ffee00"
	r.Time = time.Date(2026, 1, 1, 12, 0, 0, 345e6, time.UTC)
	text, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	signature, err := keys.Sign(f.signer, "refship", text)
	if err != nil {
		f.Fatal(err)
	}
	f.put(namespace+"/deploy/1/record", string(text))
	f.put(namespace+"/deploy/1/signature", string(signature))
	f.logged(r.Chain, text)
	f.put(own+"stored", fmt.Sprintf(`{"bytes":%d,"unsure":0,"deploy":1}`, f.holds()))
	return f.get(1)
}

// logged puts the log of a chain of one deploy anew.
func (f *setup) logged(chain record.ChainID, text []byte) {
	f.Helper()
	log := new(transparency.Tree)
	f.put(own+"log/1", string(log.Append(transparency.LeafHash(text))))
	cp := transparency.Checkpoint{Chain: chain, Size: 1, Root: log.Root()}
	signer, err := transparency.NewSigner(cp.Origin(), f.signer)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := cp.Sign(signer)
	if err != nil {
		f.Fatal(err)
	}
	f.put(own+"checkpoint", string(signed))
}

// The examples of FORMAT.md are deploys of the same files, each named in its object format.
func TestFormatDocumentHasRealDeploys(t *testing.T) {
	for format, marker := range examples {
		t.Run(format.String(), func(t *testing.T) { newSetup(t).of(format).isInFormatDocument(t, marker) })
	}
}

func (f *setup) isInFormatDocument(t *testing.T, marker string) {
	f.sameAsGit(f.example())
	var b strings.Builder
	b.WriteString("```text\n")
	all := f.dump()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s\n", key)
		for line := range strings.SplitAfterSeq(all[key], lineEnd(key)) {
			if line != "" || all[key] == "" {
				fmt.Fprintf(&b, "    %q\n", line)
			}
		}
	}
	fmt.Fprintf(&b, "\ntrusted: refship %s```\n", authorized(f.signer))
	before, inside, after := between(t, marker)
	if *update {
		if err := os.WriteFile("FORMAT.md", []byte(before+b.String()+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(inside, b.String()); diff != "" {
		t.Errorf("the example in FORMAT.md is not what is stored; -update writes it (-page +etcd):\n%s", diff)
	}
}

// lineEnd is where a value's literal may be broken, for reading.
func lineEnd(key string) string {
	switch {
	case strings.Contains(key, "/tree/"):
		return "\x00"
	case strings.HasSuffix(key, "/record"):
		return ","
	}
	return "\n"
}

// The commands of FORMAT.md, with the stock programs, on a deploy and on damaged ones.
func TestFormatDocumentVerifiesByHand(t *testing.T) {
	fixture.Need(t, "etcdctl")
	for format := range examples {
		t.Run(format.String(), func(t *testing.T) {
			e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
			newSetupOn(t, e.Client()).of(format).verifiesByHand(t, e.Addr())
		})
	}
}

func (f *setup) verifiesByHand(t *testing.T, addr string) {
	f.example()
	_, script, _ := between(t, "by hand")
	first := f.dump()
	f.deploy(f.repo.commit("second", files{"motd": regular("hello\n")}, f.get(1).Hash.OID()))
	script = strings.TrimSuffix(strings.TrimPrefix(script, "```sh\n"), "```\n")
	for n, good := range map[int]int{1: 2 + 4, 2: 1 + 1 + 1} { // nodes, contents, the record below
		if out, err := f.byHand(script, addr, n); err != nil || strings.Count(out, ": OK") != good ||
			!strings.Contains(out, "Good \"refship\" signature") {
			t.Fatalf("deploy %d: %v\n%s", n, err, out)
		}
	}
	below := f.dump()[namespace+"/deploy/1/record"]
	f.put(namespace+"/deploy/1/record", strings.Replace(below, "c0ffee", "decade", 1))
	if out, err := f.byHand(script, addr, 2); err == nil {
		t.Errorf("the record below is another, and the commands did not notice:\n%s", out)
	}
	f.put(namespace+"/deploy/1/record", below)
	for key, value := range f.dump() {
		if _, ok := first[key]; !ok || key == own+"head" || key == own+"stored" { // not of deploy 1
			continue
		}
		damaged := []byte(value + "x")
		if value != "" {
			damaged = []byte(value)
			damaged[len(damaged)/2] ^= 1
		}
		f.put(key, string(damaged))
		if out, err := f.byHand(script, addr, 1); err == nil {
			t.Errorf("%s is damaged, and the commands did not notice:\n%s", key, out)
		}
		f.put(key, value)
	}
}

func (f *setup) byHand(script, addr string, n int) (string, error) {
	dir := f.TempDir()
	f.writeFile(filepath.Join(dir, "trusted"), "refship "+authorized(f.signer))
	f.writeFile(filepath.Join(dir, "script"), "set -eu -o pipefail\n"+script)
	cmd := exec.CommandContext(context.WithoutCancel(f.Context()), "bash", "script")
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=http://" + addr,
		"ns=" + namespace, fmt.Sprint("n=", n), "trusted=trusted", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
