package keys

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fixture"
)

// TestProcessesExcludeEachOther has several processes and goroutines add keys to one file at once: none is lost.
func TestProcessesExcludeEachOther(t *testing.T) {
	f := newFile(t)
	const processes, each = 4, 5
	done := make(chan error)
	for i := range processes {
		cmd := childCommand(t, "add", f.Path, fmt.Sprint("process", i), each)
		go func() { done <- cmd.Run() }()
		go func() {
			var err error
			for range each {
				if err == nil {
					err = f.Add(fmt.Sprint("goroutine", i), fixture.PublicKey(), "", []Rule{{Read, "*"}})
				}
			}
			done <- err
		}()
	}
	for range 2 * processes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	count := make(map[string]int)
	for _, name := range names(t, f) {
		count[name]++
	}
	want := make(map[string]int)
	for i := range processes {
		want[fmt.Sprint("process", i)], want[fmt.Sprint("goroutine", i)] = each, each
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// killedChild runs a job in a process and kills it at some moment after it has reported a random number of rounds. It
// gives the number of rounds that were reported.
func killedChild(t *testing.T, job, path string) int {
	t.Helper()
	cmd := childCommand(t, job, path, "child", 1_000_000)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reported, limit := 0, 1+rand.IntN(8)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		reported++
		if reported == limit {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the process was not killed: %v", err)
	}
	return reported
}

// TestKilledWhileAdding: what was reported is there, the file is whole, and the next change works.
func TestKilledWhileAdding(t *testing.T) {
	f := newFile(t)
	total := 0
	for range 6 {
		total += killedChild(t, "add", f.Path)
		before := len(names(t, f)) // fails when a line is not usable
		// The last change may have been made and not reported.
		if before < total {
			t.Fatalf("%d keys are there, %d were reported", before, total)
		}
		mustAdd(t, f, "after", fixture.PublicKey(), Rule{Read, "*"})
		if after := names(t, f); len(after) != before+1 || after[before] != "after" {
			t.Fatalf("%d keys, then %v", before, after)
		}
		total++
	}
}

// TestKilledWhileCreating: a private key is there as a whole or not at all, and what was reported is there.
func TestKilledWhileCreating(t *testing.T) {
	for range 6 {
		dir := t.TempDir()
		reported := killedChild(t, "create", dir)
		paths, err := filepath.Glob(dir + "/*/key")
		if err != nil || len(paths) < reported {
			t.Fatalf("%d keys are there, %d were reported: %v", len(paths), reported, err)
		}
		// The directory in which it was killed is the one after the last report, or the one after that.
		for i := range reported + 2 {
			path := fmt.Sprintf("%s/%d/key", dir, i)
			signer, err := LoadOrCreate(path, "child", Ed25519)
			if err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, path+".pub"); got != keyText(signer.PublicKey())+" child\n" {
				t.Errorf("%s.pub is %q", path, got)
			}
		}
	}
}

// TestSyncsInOrder watches the system calls: a file is on disk before it gets its name, and its name before the call
// returns.
func TestSyncsInOrder(t *testing.T) {
	fixture.Need(t, "strace")
	for _, job := range []string{"add", "load"} {
		t.Run(job, func(t *testing.T) {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dir, trace := root+"/new/keys", filepath.Join(t.TempDir(), "trace")
			cmd := childCommand(t, job, dir+"/file", "child", 1,
				"strace", "-f", "-y", "-qq", "-o", trace, "-e",
				"trace=mkdirat,fsync,fdatasync,rename,renameat,renameat2,write", "--")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			replaced := func(name string) []string {
				temporary := "./." + filepath.Base(name) + ".RANDOM.refship-tmp"
				return []string{"write " + temporary, "fsync " + temporary, "rename " + temporary + " " + name,
					"fsync ."}
			}
			want := []string{"mkdir ..", "fsync ../..", "mkdir .", "fsync .."}
			if job == "load" {
				want = append(want, replaced("./file.pub")...)
			}
			want = append(want, replaced("./file")...)
			if diff := cmp.Diff(want, systemCalls(t, trace, dir)); diff != "" {
				t.Errorf("-want +got:\n%s\n%s", diff, readFile(t, trace))
			}
		})
	}
}

// systemCalls gives those calls of a strace log that succeeded and name files in dir or above it, with dir written as
// ".".
func systemCalls(t *testing.T, trace, dir string) []string {
	t.Helper()
	log, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	var calls []string
	unfinished := make(map[string]string)                           // by process id
	call := regexp.MustCompile(`^(\d+) +([a-z]+?)(?:at2?)?\((.*)$`) // mkdirat and renameat are written as mkdir and rename
	name := regexp.MustCompile(`[<"](` + regexp.QuoteMeta(filepath.Dir(filepath.Dir(dir))) + `[^>"]*)[>"]`)
	random := regexp.MustCompile(`\.\d+\.refship-tmp$`)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		line := lines.Text()
		pid, _, _ := strings.Cut(line, " ")
		if start, cut := strings.CutSuffix(line, "<unfinished ...>"); cut {
			unfinished[pid] = start
			continue
		}
		if _, end, cut := strings.Cut(line, " resumed>"); cut {
			line = unfinished[pid] + end
		}
		parts := call.FindStringSubmatch(line)
		if parts == nil || strings.Contains(line, " = -1 ") {
			continue
		}
		var names []string
		for _, m := range name.FindAllStringSubmatch(parts[3], -1) {
			relative, err := filepath.Rel(dir, random.ReplaceAllString(m[1], ".RANDOM.refship-tmp"))
			if err != nil {
				t.Fatal(err)
			}
			if relative != "." && !strings.HasPrefix(relative, "..") {
				relative = "./" + relative
			}
			names = append(names, relative)
		}
		if len(names) > 0 {
			calls = append(calls, strings.Join(append([]string{parts[2]}, names...), " "))
		}
	}
	return calls
}
