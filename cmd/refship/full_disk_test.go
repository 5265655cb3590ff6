package main

// What a user gains from these tests: a disk that fills up loses nothing. A push is refused while there is room to say
// so, a server that meets the end of the disk ends in words, for systemd to start it again, and with room it goes on.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if w := onSmallDisk(t, 310<<20); w != nil {
		w.fillDisk(1, func(int) { w.nearlyFull() })
	}
}

// TestFirstStartOnAFullDisk: etcd panics without the 64 MB that it takes at once. It is looked for before.
func TestFirstStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := onSmallDisk(t, 60<<20)
	if w == nil {
		return
	}
	if err := os.RemoveAll(w.in("data/etcd")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "refship", "serve", "--listen", "127.0.0.1:0", "--data-dir", w.in("data"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != int(fault.Unavailable) || !bytes.Contains(out, []byte(" are free")) ||
		bytes.Contains(out, []byte("goroutine")) {
		t.Errorf("the start ended with %v, and said:\n%s", err, out)
	}
}

// BenchmarkFullDisk is the long form: a disk of 600 MB that is filled ten times.
func BenchmarkFullDisk(b *testing.B) {
	w, landed := onSmallDisk(b, 600_000_000), 0
	for b.Loop() {
		if w != nil {
			w.fillDisk(10, func(round int) {
				for w.pushLarge(round, 45<<20) {
					landed++
				}
			})
		}
	}
	if w != nil {
		b.Logf("%d large pushes have landed, and one in each round was refused up front", landed)
	}
}

// TestFullDiskAtTheStart: what the server cannot write there has the status and the hint of an etcd that cannot.
func TestFullDiskAtTheStart(t *testing.T) {
	err := onEtcdsDisk(fmt.Errorf("write hook: %w", &fs.PathError{Op: "write", Path: "pre-receive", Err: unix.ENOSPC}))
	fixture.WantFault(t, fault.Unavailable, err, "write hook: write pre-receive: no space left on device",
		"free some space there")
	if err := onEtcdsDisk(nil); err != nil {
		t.Error(err)
	}
	if err := onEtcdsDisk(fs.ErrExist); !errors.Is(err, fs.ErrExist) || exitCode(err) != exitFailed {
		t.Errorf("another error became %v", err)
	}
}

// smallDisk is a world whose data directory is a small file system.
type smallDisk struct {
	*world
}

// onDiskEnv is set in the process that has mounted a small disk.
const onDiskEnv = "REFSHIP_TEST_ON_SMALL_DISK"

// onSmallDisk runs the test a second time, as a process that may mount file systems for itself, and gives a world
// there; here, in the first process, it gives nil. Without root's rights that takes a user namespace.
func onSmallDisk(t testing.TB, size int64) *smallDisk {
	t.Helper()
	if os.Getenv(onDiskEnv) == "" {
		runOnDisk(t)
		return nil
	}
	w := &smallDisk{world: newWorld(t)}
	if err := errors.Join(
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		os.Rename(w.in("data"), w.in("made")), os.Mkdir(w.in("data"), 0o700),
		unix.Mount("tmpfs", w.in("data"), "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)),
	); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("the kernel lets no process mount a disk here: %v", err)
	} else if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(w.in("data"), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w.must("cp", "-a", w.in("made")+"/.", w.in("data"))
	w.must("git", "-C", w.in("work"), "config", "core.compression", "0") // noise grows smaller by none
	return w
}

func runOnDisk(t testing.TB) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pattern := "^" + t.Name() + "$"
	args := []string{"-test.v", "-test.run", pattern}
	if _, ok := t.(*testing.B); ok {
		args = []string{"-test.run=^$", "-test.benchtime=1x", "-test.bench", pattern}
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), onDiskEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	case err == nil:
		t.Logf("%s", out)
	case errors.As(err, &exit):
		t.Fatalf("%v\n%s", err, out)
	// See user_namespaces(7): ENOSPC where none are allowed, EINVAL where the kernel has none.
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EINVAL):
		t.Skipf("the kernel lets no process have mounts of its own here: %v", err)
	default:
		t.Fatal(err)
	}
}

// fillDisk lets pushes come until there is no room for one, then fills the disk from outside until etcd ends, and makes
// room again; so many times.
func (w *smallDisk) fillDisk(rounds int, push func(round int)) {
	w.Helper()
	ended := 0
	for round := range rounds {
		w.serve("")
		w.tidy()
		w.awaitRoom()
		w.commit(fmt.Sprintf("small %d", round), 1)
		w.mustPush("with room")
		push(round)
		w.agree("refused")
		w.leave(0)
		w.commit("on a full disk", 1)
		w.wantRefused("main", noRoomForPack)
		w.undo()
		w.write()
		w.ends("no space left on device")
		ended++
		if w.start([]string{"env"}) { // a few MiB may have become free
			w.stop()
		} else {
			w.ends("refship: hint: free some space there")
		}
		if err := os.Remove(w.in("data/filler")); err != nil {
			w.Fatal(err)
		}
	}
	w.serve("")
	w.awaitRoom()
	w.commit("at the end", 1)
	w.mustPush("with room again")
	w.agree("the end")
	w.readBack()
	w.stop()
	w.Logf("%d rounds: the server has ended %d times", rounds, ended)
}

func (w *smallDisk) mustPush(when string) {
	w.Helper()
	if err := w.push(); err != nil {
		w.Fatalf("%s: %v\nthe server said:\n%s", when, err, w.server.text())
	}
}

// What a push is told that is refused up front.
const (
	noRoomForPack   = "refship: error: the server cannot store what was pushed to config: it needs at least "
	noRoomForDeploy = " on the disk of the server's etcd, where "
)

// pushLarge pushes another file of a size. If that is refused it takes the commit back, and gives false.
func (w *smallDisk) pushLarge(round int, size int64) (landed bool) {
	w.Helper()
	w.addLarge(round, size)
	err := w.push()
	if err == nil {
		return true
	}
	w.undo()
	if !strings.Contains(err.Error(), noRoomForPack) && !strings.Contains(err.Error(), noRoomForDeploy) {
		w.Errorf("a push without room was told:\n%v\nthe server said:\n%s", err, w.server.text())
	}
	return false
}

func (w *smallDisk) addLarge(round int, size int64) {
	w.Helper()
	random := rand.NewChaCha8([32]byte{byte(round), byte(w.files), byte(w.files >> 8)})
	data := make([]byte, size)
	_, _ = random.Read(data) // never fails
	w.files++
	if err := os.WriteFile(w.in(fmt.Sprintf("work/large-%d", w.files)), data, 0o600); err != nil {
		w.Fatal(err)
	}
	w.commit("large", 1)
}

// nearlyFull pushes a file while etcd has room enough on the disk, for as long as nothing takes it, and not enough is
// free for the push beside that; and deploys without a push.
func (w *smallDisk) nearlyFull() {
	w.Helper()
	const size, kept = 8 << 20, 2*etcd.LogFile + 1<<20
	w.addLarge(-1, size)
	// While git takes a pack, it is on the disk twice.
	w.leave(kept + size*3/2)
	w.wantRefused("main", noRoomForPack)
	w.wantRefused("main:side", noRoomForPack)
	// The pack has room, what etcd would store of it has none. What is not deployed needs no more.
	w.leave(kept + size*5/2)
	w.wantRefused("main", noRoomForDeploy)
	w.must("git", "-C", w.in("work"), "push", "-q", w.url, "main:side")
	w.leave(etcd.LogFile)
	if _, err := w.run("refship", "deploy", "--dir", w.in("work/dir-0"), "--namespace", "/refship/plain"); err == nil ||
		!strings.Contains(err.Error(), noRoomForDeploy) {
		w.Errorf("refship deploy without room: %v", err)
	}
	w.must("git", "init", "-q", "--bare", "-b", "main", w.in("hooked.git"))
	w.must("refship", "hook", "install", w.in("hooked.git"))
	if _, err := w.run("git", "-C", w.in("work"), "push", "-q", w.in("hooked.git"), "main"); err == nil ||
		!strings.Contains(err.Error(), noRoomForDeploy) {
		w.Errorf("a push to an installed hook without room: %v", err)
	}
	if left := w.must("find", w.in("data/repos/config.git/objects"), "-name", "*incoming*"); left != "" {
		w.Errorf("left behind:\n%s", left)
	}
	w.undo()
}

func (w *smallDisk) wantRefused(refspec, want string) {
	w.Helper()
	if _, err := w.run("git", "-C", w.in("work"), "push", "-q", w.url, refspec); err == nil ||
		!strings.Contains(err.Error(), want) {
		w.Errorf("a push of %s without room: %v\nthe server said:\n%s", refspec, err, w.server.text())
	}
}

// undo takes the commits back that have not landed.
func (w *smallDisk) undo() { w.must("git", "-C", w.in("work"), "reset", "-q", "--hard", w.ref()) }

// leave leaves so much of the disk free.
func (w *smallDisk) leave(want int64) {
	w.Helper()
	f, err := os.OpenFile(w.in("data/filler"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		w.Fatal(err)
	}
	free, err := disk.Free(w.in("data"))
	if size := info.Size() + free - want; err == nil && size < info.Size() {
		err = f.Truncate(size)
	} else if err == nil && size > 0 {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	free, freeErr := disk.Free(w.in("data"))
	if err = errors.Join(err, freeErr); err != nil || free < want-1<<20 || free > want+1<<20 {
		w.Fatalf("%d bytes are free, want %d: %v", free, want, err)
	}
}

// write makes etcd need room for its database.
func (w *smallDisk) write() {
	w.Helper()
	client := w.etcd()
	defer client.Close()
	for i, err := 0, error(nil); err == nil; i++ {
		_, err = client.Put(w.Context(), "/elsewhere", strings.Repeat("x", 1<<20))
		if i > 200 {
			w.Fatal("etcd has taken 200 MiB without room")
		}
	}
}

// tidy frees what write has left in etcd's database, as an operator would.
func (w *smallDisk) tidy() {
	w.Helper()
	client := w.etcd()
	defer client.Close()
	gone, err := client.Delete(w.Context(), "/elsewhere")
	if err == nil {
		_, err = client.Compact(w.Context(), gone.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		w.Fatal(err)
	}
}

// awaitRoom waits until etcd has removed what it needs no more of its log, which it looks for every 30 s.
func (w *smallDisk) awaitRoom() {
	w.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		free, err := disk.Free(w.in("data"))
		if err != nil || time.Now().After(end) {
			w.Fatalf("%d bytes are free: %v\n%s", free, err, w.must("du", "-a", "-k", "-t", "1M", w.in("data")))
		}
		if free > 2*etcd.LogFile+8<<20 {
			return
		}
	}
}

func (w *smallDisk) etcd() *etcd.Client {
	w.Helper()
	client, err := etcd.Dial(w.Context(), etcd.Config{
		Endpoints: []string{etcd.Socket(w.in("data/etcd"))}, Log: fixture.Log(w),
	})
	if err != nil {
		w.Fatal(err)
	}
	return client
}

// ends waits for the end of a server that says why, in one line, with status 6.
func (w *smallDisk) ends(want string) {
	w.Helper()
	select {
	case <-w.server.ended:
	case <-time.After(patience):
		w.Fatalf("the server has not ended; it said:\n%s", w.server.text())
	}
	said := w.server.text()
	line := said[max(0, strings.LastIndex(said, "refship: error: ")):]
	if w.server.cmd.ProcessState.ExitCode() != 6 || !strings.Contains(line, want) || strings.Contains(said, "goroutine ") {
		w.Errorf("the server has ended with %v, want 6 and %q; it said:\n%s", w.server.err, want, said)
	}
}
