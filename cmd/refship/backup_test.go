package main

// What a user gains from these tests: a backup taken in the midst of pushes is sound, whatever moment it was; and one
// that died is not there.

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// backupRepos are pushed to at the same time. The first one has an upkeep, too.
var backupRepos = []string{"config", "site", "team/web"}

// Backups are taken one after the other while pushes run, forced ones among them. Each is restored elsewhere: git finds
// nothing wrong, every deploy is the one that the first server has under that number and is read back whole, its
// commit is in the restored repository, each ref is where its chain's head is or further, and nothing is deployed by
// the new server's start.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	const backups, between = 3, 4 // pushes of each pusher
	const many = 10_000           // more pushes than there will be: a pusher waits for nobody
	w := newWorld(t)
	w.must("refship", "key", "set", "ada", "--allow", "force:*")
	for _, name := range backupRepos[1:] {
		w.must("refship", "repo", "create", name)
	}
	seed := &fixture.Repository{TB: t, Dir: w.in("data/repos/config.git"),
		Env: append(slices.Clone(w.env), "GIT_DIR="+w.in("data/repos/config.git"))}
	seed.Packs("seed", 60, git.OID{})
	w.serve("")

	stop, pushed := make(chan struct{}), make([]chan struct{}, len(backupRepos))
	var pushers sync.WaitGroup
	for i, name := range backupRepos {
		pushed[i] = make(chan struct{}, many)
		p := &backupPusher{world: w, dir: w.in(fmt.Sprint("clone-", i)), url: strings.TrimSuffix(w.url, "config") + name}
		pushers.Go(func() { p.run(stop, pushed[i]) })
	}
	for n := range backups {
		for range between {
			for _, one := range pushed {
				<-one
			}
		}
		w.must("refship", "backup", w.in(fmt.Sprint("backup-", n)))
	}
	close(stop)
	pushers.Wait()
	for n := range backups {
		checkBackup(w, w.in(fmt.Sprint("backup-", n)), w.in(fmt.Sprint("restored-", n)))
	}
}

// backupPusher pushes commits, every third one to another line than the last.
type backupPusher struct {
	*world
	dir, url string
}

// run pushes until it is told to stop, and tells of each push. Then it closes pushed.
func (p *backupPusher) run(stop <-chan struct{}, pushed chan<- struct{}) {
	defer close(pushed)
	git := func(args ...string) bool {
		_, err := p.world.run("git", append([]string{"-C", p.dir}, args...)...)
		if err != nil {
			p.Error(err)
		}
		return err == nil
	}
	if _, err := p.world.run("git", "init", "-q", "-b", "main", p.dir); err != nil {
		p.Error(err)
		return
	}
	for n := 0; ; n++ {
		content := strings.Repeat(fmt.Sprintf("%s, content %d\n", p.url, n), 1+n%7*500)
		if err := os.WriteFile(filepath.Join(p.dir, fmt.Sprint("file-", n%5)), []byte(content), 0o600); err != nil {
			p.Error(err)
			return
		}
		args := []string{"push", "-q"}
		if n%3 == 2 {
			if !git("reset", "-q", "--soft", "HEAD~1") {
				return
			}
			args = append(args, "-f", "-o", "deploy.force", "-o", "deploy.reason=another line")
		}
		if !git("add", "-A") || !git("commit", "-q", "-m", fmt.Sprint("commit ", n)) || !git(append(args, p.url, "main")...) {
			return
		}
		pushed <- struct{}{}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// checkBackup restores a backup of w into a directory of its own, serves it, and checks all of it.
func checkBackup(w *world, file, dir string) {
	w.Helper()
	r := &world{TB: w.TB, dir: dir, env: append(slices.Clone(w.env), "REFSHIP_DATA_DIR="+filepath.Join(dir, "data"))}
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.Fatal(err)
	}
	r.must("refship", "restore", file, "--data-dir", r.in("data"))
	r.serve("")
	defer r.stop()
	for _, name := range backupRepos {
		gitDir := r.in("data/repos/" + name + ".git")
		r.must("git", "--git-dir", gitDir, "fsck", "--strict")
		now := strings.Split(r.must("refship", "log", "--json", "-n", "all", "--namespace", "/refship/"+name), "\n")
		all := strings.Split(w.must("refship", "log", "--json", "-n", "all", "--namespace", "/refship/"+name), "\n")
		if len(now) > len(all) || !slices.Equal(now, all[len(all)-len(now):]) {
			w.Errorf("%s: %s has other deploys than the first server:\n%s\nand not\n%s", file, name,
				strings.Join(now, "\n"), strings.Join(all, "\n"))
		}
		for _, line := range now {
			readBackDeploy(r, gitDir, "/refship/"+name, field(w.TB, line, "id"), field(w.TB, line, "hash"))
		}
		status := r.status(name)
		if !strings.Contains(status, "  state  equal\n") && !strings.Contains(status, "  state  ahead by ") &&
			!strings.Contains(status, "  state  diverged") {
			w.Errorf("%s: %s: %s", file, name, status)
		}
		w.Logf("%s: %s: %d of %d deploys\n%s", filepath.Base(file), name, len(now), len(all), status)
	}
}

// status is that of a repository, over SSH.
func (w *world) status(name string) string {
	w.Helper()
	address, _, _ := strings.Cut(strings.TrimPrefix(w.url, "ssh://git@"), "/")
	host, port, _ := strings.Cut(address, ":")
	return w.must("sh", "-c", "$GIT_SSH_COMMAND -p "+port+" git@"+host+" status "+name) + "\n"
}

// readBackDeploy compares a deploy with its commit in a repository.
func readBackDeploy(w *world, gitDir, namespace, id, hash string) {
	w.Helper()
	ours, theirs := w.in("ours"), w.in("theirs")
	w.must("refship", "checkout", id, ours, "--namespace", namespace)
	w.must("git", "--git-dir", gitDir, "archive", "-o", theirs+".tar", hash)
	if err := os.Mkdir(theirs, 0o700); err != nil {
		w.Fatal(err)
	}
	w.must("tar", "-x", "-f", theirs+".tar", "-C", theirs)
	a, err := describeTree(ours)
	if err != nil {
		w.Fatal(err)
	}
	b, err := describeTree(theirs)
	if err != nil {
		w.Fatal(err)
	}
	if !slices.Equal(a, b) {
		w.Errorf("deploy %s of %s is not %s", id, namespace, hash)
	}
	if err := errors.Join(os.RemoveAll(ours), os.RemoveAll(theirs)); err != nil {
		w.Fatal(err)
	}
}

// A backup that is killed leaves no backup, and one of a server that stands still leaves its etcd sound. A restore that
// is killed leaves no data directory. Or it was done: then it is whole.
func TestKillBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve("")
	w.commit("first", 400)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &killer{world: w, random: rand.New(rand.NewPCG(seed, 0))}

	whole := w.in("whole")
	w.must("refship", "restore", k.undisturbed("backup", w.in("backup")), "--data-dir", whole)
	want := dataFiles(t, whole)
	k.killAtRandom(12, "backup", func(n int) []string {
		return []string{w.in(fmt.Sprint("backup-", n))}
	}, k.makes(func(made string) {
		w.must("refship", "restore", made, "--data-dir", made+".dir")
		if got := dataFiles(t, made+".dir"); !slices.Equal(got, want) {
			t.Errorf("%s is there, and has other files:\n%s\nwant:\n%s", made,
				strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}))
	k.undisturbed("restore", w.in("backup"), "--data-dir", w.in("restored"))
	k.killAtRandom(12, "restore", func(n int) []string {
		return []string{w.in("backup"), "--data-dir", w.in(fmt.Sprint("new-", n))}
	}, k.makes(func(made string) {
		if got := dataFiles(t, made); !slices.Equal(got, want) {
			t.Errorf("%s is there, and has other files:\n%s\nwant:\n%s", made,
				strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}))
	w.serve("")
	w.agree("after the kills")
	w.readBack()
}

// killer kills commands.
type killer struct {
	*world
	random *rand.Rand
	span   time.Duration // that the command last took when it was not hit
}

// undisturbed runs a command to its end, and gives the first argument.
func (k *killer) undisturbed(command string, args ...string) string {
	k.Helper()
	start := time.Now()
	k.must("refship", append([]string{command}, args...)...)
	k.span = time.Since(start)
	return args[0]
}

// killAtRandom kills a command so many times, at moments that are spread over all of its time and beyond. Each time after
// is told what it was and how it ended. It may run beside the test's own goroutine.
func (k *killer) killAtRandom(
	kills int, command string, args func(n int) []string, after func(words []string, err error),
) {
	hit, n := 0, 0
	for ; hit < kills && n < 8*kills; n++ {
		words := append([]string{command}, args(n)...)
		cmd := exec.Command(k.program("refship"), words...)
		cmd.Env = k.env
		var said strings.Builder
		cmd.Stderr = &said
		start, ended := time.Now(), make(chan error, 1)
		if err := cmd.Start(); err != nil {
			k.Error(err)
			return
		}
		go func() { ended <- cmd.Wait() }()
		var err error
		select {
		case err = <-ended:
			k.span = time.Since(start)
		case <-time.After(time.Duration(k.random.Int64N(1 + int64(k.span)*5/4))):
			_ = cmd.Process.Kill() // it may have ended
			err = <-ended
		}
		after(words, err)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			if exit.Exited() {
				k.Errorf("%q: %v\n%s", words, err, said.String())
				return
			}
			hit++
			k.span += k.span / 4 // it may have become longer
		}
	}
	k.Logf("%d of %d %ss were hit, the last within %s", hit, n, command, k.span)
	if hit < kills {
		k.Errorf("%d kills hit a running %s, want %d", hit, command, kills)
	}
}

// makes is for a command that makes what its last argument names: if that is there, it must be as check wants it.
func (k *killer) makes(check func(made string)) (after func(words []string, err error)) {
	return func(words []string, err error) {
		made := words[len(words)-1]
		if _, gone := os.Lstat(made); gone == nil {
			check(made)
		} else if err == nil {
			k.Errorf("%q has ended with 0, and made nothing", words)
		}
	}
}

// dataFiles describes what a data directory has of keys and repositories, and whether etcd is there.
func dataFiles(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "etcd", "member", "snap", "db")); err != nil {
		t.Error(err)
	}
	var all []string
	for _, part := range []string{"keys", "repos"} {
		lines, err := describeTree(filepath.Join(dir, part))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, lines...)
	}
	return all
}
