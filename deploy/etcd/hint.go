package etcd

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/status"
)

// tlsRemedies are the TLS errors as gRPC passes them on, in words only
// (crypto/tls, crypto/x509), and what to do about each; the first that occurs
// in an error counts.
var tlsRemedies = [...][2]string{
	{"first record does not look like a TLS handshake", "the endpoint speaks plain HTTP: use http:// and no TLS files"},
	{"signed by unknown authority", "give the CA that signed etcd's certificate with --cacert"},
	{"certificate required", "etcd wants a client certificate: give --cert and --key"},
	{"bad certificate", "etcd refuses the client certificate: give --cert and --key signed by its trusted CA"},
	{"unknown certificate authority", "etcd does not know the CA of the client certificate: give --cert and --key signed by its trusted CA"},
	{"certificate is valid for", "the certificate names other hosts: use one of those names as endpoint"},
	{"doesn't contain any IP SANs", "the certificate names no IP address: use its host name as endpoint"},
	{"certificate is not valid for any names", "the certificate names no host: give etcd one with the endpoint's name"},
	{"has expired or is not yet valid", "renew the certificate, or set this machine's clock"},
	{"x509: ", "check --cacert and etcd's certificate"},
	{"tls: ", "check --cacert, --cert and --key"},
}

func isTLS(err error) bool {
	return tlsHint(err.Error()) != ""
}

func tlsHint(text string) string {
	for _, remedy := range tlsRemedies {
		if strings.Contains(text, remedy[0]) {
			return remedy[1]
		}
	}
	return ""
}

func hint(kind, err error) string {
	named := asEtcd(err)
	text := err.Error()
	var silence *silenceError
	switch {
	case errors.Is(kind, ErrFull):
		return "free space: compact, defragment and disarm the alarm (etcdctl compact, defrag, alarm disarm); where that frees too little, raise etcd's quota first"
	case errors.Is(named, rpctypes.ErrUserEmpty):
		return "etcd has authentication on: give --user NAME:PASSWORD"
	case errors.Is(named, rpctypes.ErrAuthFailed):
		return "check --user and --password"
	case errors.Is(named, rpctypes.ErrPermissionDenied):
		prefix := "NAMESPACE/"
		if below := (*belowError)(nil); errors.As(err, &below) {
			prefix = below.prefix
		}
		return GrantHint(prefix) + " (read is enough for reading)"
	case errors.Is(named, rpctypes.ErrAuthOldRevision):
		return "etcd's users or roles are being changed: try again"
	case errors.Is(kind, ErrDenied) && tlsHint(text) != "":
		return tlsHint(text)
	case errors.Is(kind, ErrDenied):
		return "log in again: check --user and --password"
	case errors.Is(kind, ErrUnreachable) && goneHint(named) != "":
		return goneHint(named)
	case errors.As(err, &silence) && silence.slow:
		return "etcd is there and too slow: look at its disk and its load (etcdctl check perf)"
	case strings.Contains(text, "handshake failed: EOF"), strings.Contains(text, "handshake failed: read "):
		return "the endpoint ends the TLS handshake: if it speaks plain HTTP use http:// and no TLS files"
	case strings.Contains(text, "error reading server preface") && strings.Contains(text, "use of closed network connection"):
		return "the endpoint takes connections and says nothing: is etcd stopped, or overloaded?" // we gave up, not the other side
	case strings.Contains(text, "error reading server preface"):
		return "something else than etcd's plain port answers: if etcd wants TLS use https:// with --cacert"
	case strings.Contains(text, "connection refused"):
		return "nothing listens there: is etcd running, and the port right?"
	case strings.Contains(text, "no such file or directory"):
		return "there is no such socket: is the server running?"
	case strings.Contains(text, "connect: permission denied"):
		return "the socket belongs to another user: run as the user of the server"
	case strings.Contains(text, "no such host"):
		return "check the host name of --endpoints"
	}
	return "check that etcd runs and answers (etcdctl endpoint health)"
}

// GrantHint says how the user gets permission to read and write below a prefix.
func GrantHint(prefix string) string {
	return "grant the user's role permission on the namespace: etcdctl role grant-permission ROLE --prefix=true readwrite " + prefix
}

// goneHint is for etcd's own errors; "" if it is none of them.
func goneHint(named error) string {
	switch {
	case errors.Is(named, rpctypes.ErrTooManyRequests):
		return "etcd is overloaded: try again when it has caught up, and look at its disk"
	case errors.Is(named, rpctypes.ErrLeaseNotFound):
		return "etcd was away, or stood still, for longer than a lock lives: try again"
	case errors.Is(named, rpctypes.ErrNoLeader), errors.Is(named, rpctypes.ErrNotLeader), errors.Is(named, rpctypes.ErrLeaderChanged),
		errors.Is(named, rpctypes.ErrTimeoutDueToLeaderFail), errors.Is(named, rpctypes.ErrTimeoutDueToConnectionLost):
		return "most of etcd's members must run and reach each other (etcdctl endpoint status --cluster)"
	case errors.Is(named, rpctypes.ErrStopped):
		return "etcd is being stopped: try again when it is back"
	}
	return ""
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
