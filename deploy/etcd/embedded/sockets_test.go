package embedded_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// Nothing but the socket, and the port if one is asked for: no peer port, and
// none in the abstract namespace, which no file permission guards.
func TestListensOnlyWhereAsked(t *testing.T) {
	if have := listening(t); len(have) > 0 {
		t.Fatalf("before the start: %q", have)
	}
	dir := fixture.ShortDir(t)
	socket := "unix " + filepath.Join(dir, "etcd.sock")
	for _, listen := range []string{"", "127.0.0.1:0"} {
		e := start(t, embedded.Config{Dir: dir, Listen: listen})
		want := []string{socket}
		if listen != "" {
			_, port, _ := strings.Cut(e.Addr(), ":")
			want = []string{"tcp " + port, socket}
		}
		if diff := cmp.Diff(want, listening(t)); diff != "" {
			t.Errorf("listen %q: %s", listen, diff)
		}
		closeEtcd(t, e)
		if have := listening(t); len(have) > 0 {
			t.Errorf("after Close: %q", have)
		}
	}
}

// listening names the listening sockets of this process, sorted: "tcp PORT",
// "unix PATH" (a path that begins with @ is abstract). See proc(5), /proc/net.
func listening(t *testing.T) []string {
	t.Helper()
	own := ownSockets(t)
	var found []string
	for _, line := range procLines(t, "unix") {
		// Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
		f := strings.Fields(line)
		if len(f) >= 7 && f[3] == "00010000" && own[f[6]] {
			found = append(found, strings.TrimSpace("unix "+strings.Join(f[7:], " ")))
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		for _, line := range procLines(t, table) {
			// sl local_address rem_address st … inode is the tenth; 0A is listening.
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !own[f[9]] {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, "tcp "+strconv.FormatUint(port, 10))
		}
	}
	slices.Sort(found)
	return found
}

func procLines(t *testing.T, table string) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/" + table)
	if err != nil && !(table == "tcp6" && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// ownSockets holds the inodes of this process's open sockets.
func ownSockets(t *testing.T) map[string]bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil {
			continue // the one that ReadDir used
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return own
}
