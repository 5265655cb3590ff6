package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a caller branches on. Classify and Dial wrap errors in them.
var (
	ErrUnreachable = errors.New("etcd unreachable") // also: no leader, overloaded, stopping, no answer in time, a lease that ran out
	ErrFull        = errors.New("etcd full")        // quota or NOSPACE alarm
	ErrDenied      = errors.New("etcd denied")      // authentication, permission, TLS
)

// hinted is an error with a remedy.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Hint says what to do about it.
func (e *hinted) Hint() string { return e.hint }

// classified is an error of the client under one of the sentinels.
type classified struct {
	kind, err error
}

func (e *classified) Error() string   { return e.kind.Error() + ": " + message(e.err) }
func (e *classified) Unwrap() []error { return []error{e.kind, e.err} }

// Hint says what to do about it.
func (e *classified) Hint() string { return hint(e.kind, e.err) }

// belowError is a missing permission for keys below a prefix.
type belowError struct {
	prefix string
	err    error
}

func (e *belowError) Error() string { return e.err.Error() }
func (e *belowError) Unwrap() error { return e.err }

// Classify wraps an error of the client in ErrUnreachable, ErrFull or ErrDenied
// where it is one; else returns it as is. What it returns has a method Hint.
// A write that failed with ErrFull or ErrUnreachable may have been applied all
// the same: read again before relying on either.
func Classify(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrFull) || errors.Is(err, ErrDenied) {
		return err
	}
	if kind := kindOf(err); kind != nil {
		return &classified{kind: kind, err: err}
	}
	return err
}

// kindOf goes by etcd's named errors first: the gRPC code alone does not tell
// a full etcd from a message that is too large (both ResourceExhausted), nor
// a refused TLS handshake from a closed port (both Unavailable).
func kindOf(err error) error {
	named := asEtcd(err)
	if errors.Is(named, rpctypes.ErrNoSpace) {
		return ErrFull
	}
	for _, denied := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty,
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrInvalidAuthMgmt, rpctypes.ErrAuthOldRevision,
	} {
		if errors.Is(named, denied) {
			return ErrDenied
		}
	}
	if isTLS(named) {
		return ErrDenied
	}
	for _, gone := range []error{rpctypes.ErrTooManyRequests, rpctypes.ErrNotLeader, rpctypes.ErrLeaseNotFound} {
		if errors.Is(named, gone) {
			return ErrUnreachable
		}
	}
	var halted clientv3.ErrKeepAliveHalted
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clientv3.ErrNoAvailableEndpoints) || errors.As(err, &halted) || isLate(err) {
		return ErrUnreachable
	}
	switch codeOf(named) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return ErrUnreachable
	}
	return nil
}

// asEtcd finds the gRPC status in err's chain and gives etcd's named error for
// it, or the status itself, or err where there is none.
func asEtcd(err error) error {
	var named rpctypes.EtcdError
	if errors.As(err, &named) {
		return named
	}
	var grpcErr interface{ GRPCStatus() *status.Status }
	if errors.As(err, &grpcErr) {
		return rpctypes.Error(grpcErr.GRPCStatus().Err())
	}
	return err
}

func codeOf(err error) codes.Code {
	var named rpctypes.EtcdError
	if errors.As(err, &named) {
		return named.Code()
	}
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return codes.Unknown
}
