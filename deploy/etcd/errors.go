package etcd

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/fault"
)

// The sorts of trouble that a caller tells apart, with errors.Is. An error that wraps one is of its kind.
var (
	// ErrUnreachable: etcd does not answer in time, has no leader, is overloaded or stopping, or a lease ran out.
	ErrUnreachable error = fault.New(fault.Unavailable, "etcd unreachable", "")
	// ErrFull: the quota is used up, or the alarm NOSPACE is on.
	ErrFull error = fault.New(fault.Unavailable, "etcd full", "")
	// ErrDenied: authentication, permission or TLS.
	ErrDenied error = fault.New(fault.Refused, "etcd denied", "")
)

// Classify wraps an error of the client in ErrUnreachable, ErrFull or ErrDenied, with a remedy, if it is one of them.
// It gives any other error back as it is. A write that failed with ErrFull or ErrUnreachable may have been applied:
// read again before you rely on either.
func Classify(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrFull) || errors.Is(err, ErrDenied) {
		return err
	}
	if sort := sortOf(err); sort != nil {
		return classified(sort, err, adviceFor(sort, err))
	}
	return err
}

func classified(sort, err error, a advice) error {
	what := message(err)
	if !strings.HasPrefix(what, sort.Error()) { // another refship may have said so already, and etcd handed it on
		what = sort.Error() + ": " + what
	}
	return &fault.Error{
		What:   what,
		Remedy: a.remedy,
		Reason: a.reason,
		Cause:  errors.Join(sort, err),
	}
}

// message is err's text without gRPC's wrapping ("rpc error: code = … desc = …").
func message(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	text = strings.TrimPrefix(text, "connection error: desc = ")
	text = strings.Trim(text, `"`)
	text = strings.TrimPrefix(text, "transport: ")
	return strings.TrimPrefix(text, "Error while dialing: ")
}

// sortOf goes by etcd's named errors first. The gRPC code alone does not tell a full etcd from a message that is too
// large (both ResourceExhausted), nor a refused TLS handshake from a closed port (both Unavailable).
func sortOf(err error) error {
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
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clientv3.ErrNoAvailableEndpoints) ||
		errors.As(err, &halted) || isLate(err) || isLearner(err) {
		return ErrUnreachable
	}
	switch codeOf(named) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return ErrUnreachable
	case codes.PermissionDenied: // of a gate
		return ErrDenied
	}
	return nil
}

// asEtcd finds the gRPC status in err's chain and gives etcd's named error for it. It gives the status itself if etcd
// has no name for it, and err if there is no status.
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
