package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// childEnv names what the test binary does when a test runs it as a child.
const childEnv = "REFSHIP_EMBEDDED_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "write":
		childWrite()
	case "serve":
		childServe()
	case "full disk":
		childFullDisk()
	case "limited":
		childLimited()
	case "hangs":
		childHangs()
	default:
		fixture.Main(m) // etcd 3.7 leaves no goroutine behind: no exceptions
	}
}

// child runs the test binary as another process and gives its stdout by line.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, what string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: cmd, lines: bufio.NewScanner(stdout)}
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	if c.ProcessState == nil {
		c.Process.Kill()
		_ = c.Wait()
	}
}

// line waits for the child's next line, without the prefix it must have.
func (c *child) line(t *testing.T, prefix string) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("child ended before it said %q: %v", prefix, c.lines.Err())
	}
	rest, ok := strings.CutPrefix(c.lines.Text(), prefix)
	if !ok {
		t.Fatalf("child said %q, not %q", c.lines.Text(), prefix)
	}
	return rest
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func stderrLog() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

// childWrite runs etcd in its first argument and writes key after key, telling
// each that was acknowledged.
func childWrite() {
	e, err := embedded.Start(context.Background(), embedded.Config{Dir: os.Args[1], Log: stderrLog()})
	must(err)
	fmt.Println("started")
	for i := 0; ; i++ {
		_, err := e.Client().Put(context.Background(), fmt.Sprintf("key/%d", i), strings.Repeat("x", 1000))
		must(err)
		fmt.Println("wrote", i)
	}
}

// childServe serves etcd in its first argument, listening on its second.
func childServe() {
	e, err := embedded.Start(context.Background(), embedded.Config{
		Dir: os.Args[1], Listen: os.Args[2], Log: stderrLog(),
	})
	must(err)
	fmt.Println("listening", e.Addr())
	must(<-e.Done())
}

// childFullDisk writes until etcd fails: its files grow no more, or those are gone that its second argument names.
func childFullDisk() {
	e, err := embedded.Start(context.Background(), embedded.Config{Dir: os.Args[1], Log: stderrLog()})
	must(err)
	remote, err := etcd.Dial(context.Background(), etcd.Config{Endpoints: []string{etcd.Socket(os.Args[1])}})
	must(err)
	if len(os.Args) > 2 {
		must(os.RemoveAll(filepath.Join(os.Args[1], os.Args[2])))
	} else {
		signal.Ignore(syscall.SIGXFSZ)
		must(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = e.Client().Put(ctx, fmt.Sprintf("key/%d", i), strings.Repeat("x", 100_000))
		}
	}()
	select {
	case err := <-e.Done():
		fmt.Println("done", err)
		_, err = e.Client().Get(context.Background(), "key") // which never ends, if etcd has to
		fmt.Println("get", errors.Is(err, etcd.ErrUnreachable), err)
		short, end := context.WithTimeout(ctx, 300*time.Millisecond)
		defer end()
		_, err = remote.Put(short, "key", "value") // of a client that does not know
		fmt.Println("put", err != nil)
		began := time.Now()
		must(e.Close())
		fmt.Println("closed", time.Since(began) < time.Minute)
	case <-ctx.Done():
		fmt.Println("nothing")
	}
}

// childLimited starts etcd in its first argument under the limit that its second names, of as many bytes as its third.
func childLimited() {
	bytes, err := strconv.ParseUint(os.Args[3], 10, 64)
	must(err)
	limit := map[string]int{"file": unix.RLIMIT_FSIZE, "memory": unix.RLIMIT_AS}[os.Args[2]]
	must(unix.Setrlimit(limit, &unix.Rlimit{Cur: bytes, Max: bytes}))
	childStart(context.Background())
}

// childHangs starts etcd in its first argument, for a second at most.
func childHangs() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, errors.New("told to end"))
	defer cancel()
	childStart(ctx)
}

// childStart says how a start ended.
func childStart(ctx context.Context) {
	e, err := embedded.Start(ctx, embedded.Config{Dir: os.Args[1], Log: stderrLog()})
	if err != nil {
		fmt.Printf("kind %d: %v\n", fault.KindOf(err), err)
		return
	}
	must(e.Close())
	fmt.Println("started")
}

func start(t testing.TB, cfg embedded.Config) *embedded.Etcd {
	t.Helper()
	cfg.Log = fixture.Log(t)
	return fixture.StartEtcd(t, cfg)
}

func closeEtcd(t testing.TB, e *embedded.Etcd) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
