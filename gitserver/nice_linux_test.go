package gitserver

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestManyPushesOfOneKey: of the pushes of a key each has less of the processors than the one before, so that another
// key's first push is not one of many.
func TestManyPushesOfOneKey(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop, ops := e.user("laptop", "deploy:config"), e.user("ops", "deploy:config")
	for _, u := range []*user{laptop, laptop, laptop, ops} {
		s, err := e.dial(u).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.StdinPipe(); err != nil { // which stays open
			t.Fatal(err)
		}
		if err := s.Start("git-receive-pack '/config'"); err != nil {
			t.Fatal(err)
		}
	}
	want := []int{0, 0, 4, 8}
	until(t, "four pushes", func() bool { return slices.Equal(niceOf("receive-pack"), want) })
	reached, release := e.halt("checked")
	ended := make(chan result)
	work := e.work()
	// What a small push has brought is read without a git.
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise) // it never fails
	e.commit(work, "large", string(noise))
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main")
	go func() { ended <- e.run(cmd) }()
	<-reached
	if got, want := niceOf("cat-file"), []int{12}; !slices.Equal(got, want) {
		t.Errorf("git reads what is pushed at %v, want %v", got, want)
	}
	release()
	e.deployed(<-ended, 1)
}

// niceOf are the nice values of the git processes that this process has started for a command, lowest first, counted
// from its own.
func niceOf(command string) (all []int) {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the nice value
	if err != nil {
		return nil
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the only error is a bad pattern
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(line), "\x00"), command) {
			continue // it has ended
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil || !strings.Contains(string(status), "\nPPid:\t"+strconv.Itoa(os.Getpid())+"\n") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // it is a number
		if nice, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err == nil {
			all = append(all, own-nice)
		}
	}
	slices.Sort(all)
	return all
}
