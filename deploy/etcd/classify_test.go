package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

func TestClassify(t *testing.T) {
	kinds := []error{etcd.ErrUnreachable, etcd.ErrFull, etcd.ErrDenied}
	for _, test := range []struct{ err, kind error }{
		{rpctypes.ErrNoSpace, etcd.ErrFull},
		{rpctypes.ErrGRPCNoSpace, etcd.ErrFull},
		{rpctypes.ErrPermissionDenied, etcd.ErrDenied},
		{rpctypes.ErrGRPCUserEmpty, etcd.ErrDenied},
		{rpctypes.ErrInvalidAuthToken, etcd.ErrDenied},
		{rpctypes.ErrNoLeader, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCStopped, etcd.ErrUnreachable},
		{rpctypes.ErrTimeout, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCDeadlineExceeded, etcd.ErrUnreachable},
		{context.DeadlineExceeded, etcd.ErrUnreachable},
		{status.Error(codes.Unavailable, "connection refused"), etcd.ErrUnreachable},
		{status.Error(codes.Unknown, "context deadline exceeded"), etcd.ErrUnreachable}, // 3.4 without a leader
		{
			status.Error(codes.Unavailable, `connection error: desc = "transport: authentication handshake failed: `+
				`tls: failed to verify certificate"`), etcd.ErrDenied,
		},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max (3 vs. 2)"), nil},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (3 vs. 2)"), nil},
		{rpctypes.ErrTooManyRequests, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCNotLeader, etcd.ErrUnreachable},
		{rpctypes.ErrLeaderChanged, etcd.ErrUnreachable},
		{rpctypes.ErrTimeoutDueToLeaderFail, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCUnhealthy, etcd.ErrUnreachable},
		{rpctypes.ErrLeaseNotFound, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCNotSupportedForLearner, etcd.ErrUnreachable},
		{status.Error(codes.Unavailable, "etcdserver: rpc not supported for learner"), etcd.ErrUnreachable}, // 3.4
		{clientv3.ErrKeepAliveHalted{Reason: errors.New("closed")}, etcd.ErrUnreachable},
		{rpctypes.ErrGRPCAuthOldRevision, etcd.ErrDenied},
		{rpctypes.ErrRequestTooLarge, nil},
		{rpctypes.ErrTooManyOps, nil},
		{rpctypes.ErrDuplicateKey, nil},
		{rpctypes.ErrCompacted, nil},
		{context.Canceled, nil},
		{errors.New("other"), nil},
	} {
		for _, err := range []error{test.err, fmt.Errorf("do something: %w", test.err)} {
			have := etcd.Classify(err)
			for _, kind := range kinds {
				if errors.Is(have, kind) != same(kind, test.kind) {
					t.Errorf("%v: is %q: %t", err, kind, errors.Is(have, kind))
				}
			}
			if !errors.Is(have, test.err) {
				t.Errorf("%v is lost in %v", test.err, have)
			}
			if test.kind == nil && !same(have, err) {
				t.Errorf("%v became %v", err, have)
			}
			if test.kind != nil && fault.RemedyOf(have) == "" {
				t.Errorf("%v has no remedy", have)
			}
			if again := etcd.Classify(have); !same(again, have) {
				t.Errorf("%v classified twice: %v", have, again)
			}
		}
	}
	if etcd.Classify(nil) != nil {
		t.Error("nil became an error")
	}
}

// TestClassifySaysItOnce: also of an error that an etcd inside another server has handed on.
func TestClassifySaysItOnce(t *testing.T) {
	const words = "etcd unreachable: the server's etcd cannot go on"
	for _, err := range []error{
		status.Error(codes.Unavailable, words), status.Error(codes.Unavailable, "the server's etcd cannot go on"),
	} {
		if got := etcd.Classify(err).Error(); got != words {
			t.Errorf("%v: got %q, want %q", err, got, words)
		}
	}
}
