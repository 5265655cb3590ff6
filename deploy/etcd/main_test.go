package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// childEnv names what the test binary does when a test runs it as a child.
const childEnv = "REFSHIP_ETCD_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "dial":
		childDial()
	default:
		goleak.VerifyTestMain(m) // etcd 3.7 leaves no goroutine behind: no exceptions
	}
}

// childDial dials each of its arguments; a test reads what that leaves on stderr.
func childDial() {
	for _, endpoint := range os.Args[1:] {
		_, err := etcd.Dial(context.Background(), etcd.Config{
			Endpoints: []string{endpoint}, DialTimeout: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		})
		fmt.Println("dialled", endpoint, errors.Is(err, etcd.ErrUnreachable) || errors.Is(err, etcd.ErrDenied))
	}
}

// testLog writes to the test's output.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// valuesOf reads keys, one by one; nil for one that is not there.
func valuesOf(t *testing.T, client *clientv3.Client, keys []string) [][]byte {
	t.Helper()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		resp, err := client.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) > 0 {
			values[i] = append([]byte{}, resp.Kvs[0].Value...)
		}
	}
	return values
}

// same tells whether two errors are one value, not only of one kind.
func same(a, b error) bool { return a == b } //nolint:errorlint // the identity is what is asked

// checkError wants err to be sort (nil: any error), and wants words in its message and in its remedy or reason.
func checkError(t *testing.T, err, sort error, words, remedy string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	if sort != nil && !errors.Is(err, sort) {
		t.Errorf("%v is not %q", err, sort)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("error %q lacks %q", err, words)
	}
	reason, _ := fault.ReasonOf(err)
	if got := fmt.Sprintf("%s (%s)", fault.RemedyOf(err), reason); !strings.Contains(got, remedy) {
		t.Errorf("remedy %q of %q lacks %q", got, err, remedy)
	}
	if strings.Contains(err.Error(), "rpc error") {
		t.Errorf("error %q speaks gRPC", err)
	}
}
