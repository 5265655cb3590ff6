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

// example makes the deploy of FORMAT.md. Its record gets a fixed time, and is signed again: with the fixed key of
// the fixture every byte is always the same.
func (f *setup) example() *record.Deploy {
	f.Helper()
	d := f.deploy(f.repo.commit("greet\n", files{
		"motd": regular("hello\n"), "bin/run": {"100755", "#!/bin/sh\ncat motd\n"}, "empty": regular(""), "message": {"120000", "motd"},
	}))
	r := *d.Record
	r.Time = time.Date(2026, 1, 1, 12, 0, 0, 345e6, time.UTC)
	record, err := (*record.Record).Encode(&r)
	if err != nil {
		f.Fatal(err)
	}
	signature, err := keys.Sign(f.signer, "refship", record)
	if err != nil {
		f.Fatal(err)
	}
	f.put(namespace+"/deploy/1/record", string(record))
	f.put(namespace+"/deploy/1/signature", string(signature))
	return f.get(1)
}

func TestFormatDocumentHasARealDeploy(t *testing.T) {
	f := newSetup(t)
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
	before, inside, after := between(t, "example")
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
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	f := newSetupOn(t, e.Client())
	f.example()
	_, script, _ := between(t, "by hand")
	script = strings.TrimSuffix(strings.TrimPrefix(script, "```sh\n"), "```\n")
	if out, err := f.byHand(script, e.Addr()); err != nil || strings.Count(out, ": OK") != 2+4 || !strings.Contains(out, "Good \"refship\" signature") {
		t.Fatalf("%v\n%s", err, out)
	}
	for key, value := range f.dump() {
		if key == own+"head" {
			continue
		}
		damaged := []byte(value + "x")
		if value != "" {
			damaged = []byte(value)
			damaged[len(damaged)/2] ^= 1
		}
		f.put(key, string(damaged))
		if out, err := f.byHand(script, e.Addr()); err == nil {
			t.Errorf("%s is damaged, and the commands did not notice:\n%s", key, out)
		}
		f.put(key, value)
	}
}

func (f *setup) byHand(script, addr string) (string, error) {
	dir := f.TempDir()
	f.writeFile(filepath.Join(dir, "trusted"), "refship "+authorized(f.signer))
	f.writeFile(filepath.Join(dir, "script"), "set -eu -o pipefail\n"+script)
	cmd := exec.CommandContext(context.WithoutCancel(f.Context()), "bash", "script")
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=http://" + addr,
		"ns=" + namespace, "n=1", "trusted=trusted", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
