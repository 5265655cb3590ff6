package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// childEnv names what the test binary does when a test runs it as a child.
const childEnv = "REFSHIP_ETCD_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "dial":
		childDial()
	default:
		fixture.Main(m) // etcd 3.7 leaves no goroutine behind: no exceptions
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
