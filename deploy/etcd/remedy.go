package etcd

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"refship/deploy/fault"
)

// Reasons of errors whose remedy is a setting of [Config]. Their own remedies name no flag.
const (
	ReasonCA                 fault.Reason = "etcd-ca"                  // the CA of etcd's certificate is not known
	ReasonCertificateHalf    fault.Reason = "etcd-certificate-half"    // Cert without Key, or Key without Cert
	ReasonCertificateMissing fault.Reason = "etcd-certificate-missing" // etcd wants a client certificate
	ReasonCertificateRefused fault.Reason = "etcd-certificate-refused" // etcd does not know its CA
	ReasonEndpointUser       fault.Reason = "etcd-endpoint-user"
	ReasonEndpointsMissing   fault.Reason = "etcd-endpoints-missing"
	ReasonLogin              fault.Reason = "etcd-login" // etcd refuses user and password
	ReasonNotPlain           fault.Reason = "etcd-not-plain"
	ReasonPasswordMissing    fault.Reason = "etcd-password-missing"
	// ReasonQuota: the quota is used up, or has no room for a push; about how many bytes are missing, where that is known.
	ReasonQuota          fault.Reason = "etcd-quota"
	ReasonTLSFiles       fault.Reason = "etcd-tls-files"        // any other trouble with TLS
	ReasonTLSFilesUnused fault.Reason = "etcd-tls-files-unused" // they are given, and the endpoint is plain HTTP
	ReasonUserEmpty      fault.Reason = "etcd-user-empty"       // etcd has authentication on
	ReasonUserMissing    fault.Reason = "etcd-user-missing"     // a password without a user
)

// advice is what to do about an error. Both parts may be empty.
type advice struct {
	remedy string
	reason fault.Reason
}

// tlsAdvice has the TLS errors as gRPC passes them on, in words only (crypto/tls, crypto/x509). The first that occurs
// in an error counts.
var tlsAdvice = [...]struct {
	words string
	advice
}{
	{"first record does not look like a TLS handshake",
		advice{remedy: "the endpoint speaks plain HTTP: use http:// and no TLS files"}},
	{"signed by unknown authority", advice{"name the CA that signed etcd's certificate", ReasonCA}},
	{"certificate required", advice{"etcd wants a client certificate and its key", ReasonCertificateMissing}},
	{"bad certificate", certificateRefused},
	{"unknown certificate authority", certificateRefused},
	{"certificate is valid for",
		advice{remedy: "the certificate names other hosts: use one of those names as endpoint"}},
	{"doesn't contain any IP SANs",
		advice{remedy: "the certificate names no IP address: use its host name as endpoint"}},
	{"certificate is not valid for any names",
		advice{remedy: "the certificate names no host: give etcd one with the endpoint's name"}},
	{"has expired or is not yet valid", advice{remedy: "renew the certificate, or set this machine's clock"}},
	{"x509: ", tlsFiles},
	{"tls: ", tlsFiles},
}

var (
	certificateRefused = advice{
		"etcd refuses the client certificate: use one that its trusted CA signed", ReasonCertificateRefused,
	}
	tlsFiles = advice{"check the TLS files and etcd's certificate", ReasonTLSFiles}
)

func isTLS(err error) bool { return adviceForTLS(err.Error()) != advice{} }

func adviceForTLS(text string) advice {
	for _, known := range tlsAdvice {
		if strings.Contains(text, known.words) {
			return known.advice
		}
	}
	return advice{}
}

// adviceFor gives the advice for an error of one of the three sorts.
func adviceFor(sort, err error) advice {
	switch {
	case errors.Is(sort, ErrDenied):
		return adviceForDenied(err)
	case errors.Is(sort, ErrFull):
		return advice{"free space: compact, defragment and disarm the alarm " +
			"(etcdctl compact, defrag, alarm disarm); where that frees too little, raise etcd's quota first", ReasonQuota}
	}
	return adviceForUnreachable(err)
}

func adviceForDenied(err error) advice {
	named := asEtcd(err)
	switch {
	case errors.Is(named, rpctypes.ErrUserEmpty):
		return advice{"etcd has authentication on, and needs a user", ReasonUserEmpty}
	case errors.Is(named, rpctypes.ErrPermissionDenied):
		return adviceForPermission("NAMESPACE/")
	case errors.Is(named, rpctypes.ErrAuthOldRevision):
		return advice{remedy: "etcd's users or roles are being changed: try again"}
	case codeOf(named) == codes.PermissionDenied:
		return advice{} // a gate says why
	}
	if a := adviceForTLS(err.Error()); a != (advice{}) {
		return a
	}
	return advice{"check etcd's user and password", ReasonLogin}
}

func adviceForPermission(prefix string) advice {
	return advice{remedy: GrantRemedy(prefix) + " (read is enough for reading)"}
}

// GrantRemedy says how the user gets permission to read and write below a prefix.
func GrantRemedy(prefix string) string {
	return "grant the user's role permission on the namespace: " +
		"etcdctl role grant-permission ROLE --prefix=true readwrite " + prefix
}

var unknownTrouble = advice{remedy: "check that etcd runs and answers (etcdctl endpoint health)"}

func adviceForUnreachable(err error) advice {
	switch named := asEtcd(err); {
	case errors.Is(named, rpctypes.ErrTooManyRequests):
		return advice{remedy: "etcd is overloaded: try again when it has caught up, and look at its disk"}
	case errors.Is(named, rpctypes.ErrLeaseNotFound):
		return advice{remedy: "etcd was away, or stood still, for longer than a lock lives: try again"}
	case errors.Is(named, rpctypes.ErrNoLeader), errors.Is(named, rpctypes.ErrNotLeader),
		errors.Is(named, rpctypes.ErrLeaderChanged), errors.Is(named, rpctypes.ErrTimeoutDueToLeaderFail),
		errors.Is(named, rpctypes.ErrTimeoutDueToConnectionLost):
		return advice{remedy: "most of etcd's members must run and reach each other (etcdctl endpoint status --cluster)"}
	case isLearner(err):
		return advice{remedy: "learners answer nothing: give the endpoints of members that vote, too (etcdctl member list)"}
	case errors.Is(named, rpctypes.ErrStopped):
		return advice{remedy: "etcd is being stopped: try again when it is back"}
	}
	text := err.Error()
	has := func(words string) bool { return strings.Contains(text, words) }
	preface := has("error reading server preface")
	switch {
	case has("handshake failed: read CA file"), has("handshake failed: read client certificate"):
		return tlsFiles
	case has("handshake failed: EOF"), has("handshake failed: read tcp"):
		return advice{remedy: "the endpoint ends the TLS handshake: if it speaks plain HTTP use http:// and no TLS files"}
	case preface && has("use of closed network connection"): // closed by us, after waiting
		return advice{remedy: "the endpoint takes connections and says nothing: is etcd stopped, or overloaded?"}
	case preface:
		return advice{
			"something other than etcd's plain port answers: if etcd wants TLS use https:// and its CA", ReasonNotPlain,
		}
	case has("connection refused"):
		return advice{remedy: "nothing listens there: is etcd running, and the port right?"}
	case has("no such file or directory"):
		return advice{remedy: "there is no such socket: is the server running?"}
	case has("connect: permission denied"):
		return advice{remedy: "the socket belongs to another user: run as the user of the server"}
	case has("no such host"):
		return advice{remedy: "check the host name of the endpoint"}
	}
	return unknownTrouble
}
