package main

import (
	"errors"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
)

// remedies words what to do about an error in flags and commands of refship, which no package below knows: a reason, and
// the words for what it is about. Sorted by reason.
var remedies = map[fault.Reason]func(about []string) string{
	etcd.ReasonCA:                 fixed("give the CA that signed etcd's certificate with --cacert"),
	etcd.ReasonCertificateHalf:    fixed("give both --cert and --key, or none of them"),
	etcd.ReasonCertificateMissing: fixed("etcd wants a client certificate: give --cert and --key"),
	etcd.ReasonCertificateRefused: fixed("etcd refuses the client certificate: give --cert and --key signed by its trusted CA"),
	etcd.ReasonEndpointsMissing:   fixed("give --endpoints HOST:PORT"),
	embedded.ReasonListenTaken:    fixed("another program listens there: give another --etcd-listen"),
	etcd.ReasonLogin:              fixed("check --user and --password"),
	etcd.ReasonNotPlain:           fixed("something else than etcd's plain port answers: if etcd wants TLS use https:// with --cacert"),
	etcd.ReasonPasswordMissing: fixed("give --user NAME:PASSWORD, or --password; " +
		"better --password-file, or REFSHIP_PASSWORD in the environment"),
	embedded.ReasonPathLong: func(about []string) string {
		return "give a --data-dir whose path is at least " + about[0] + " bytes shorter"
	},
	etcd.ReasonTLSFiles:       fixed("check --cacert, --cert and --key, and etcd's certificate"),
	etcd.ReasonTLSFilesUnused: fixed("use https://, or leave out --cacert, --cert and --key"),
	etcd.ReasonUserEmpty:      fixed("etcd has authentication on: give --user NAME:PASSWORD"),
	etcd.ReasonUserMissing:    fixed("give --user NAME, too"),
}

// fixed is a remedy that is about nothing in particular.
func fixed(remedy string) func([]string) string { return func([]string) string { return remedy } }

// remedyOf is what to do about an error, "" if that is not known.
func remedyOf(err error) string {
	var hinter interface{ Hint() string }
	if !errors.As(err, &hinter) {
		return ""
	}
	if _, ok := hinter.(*fault.Error); !ok { //nolint:errorlint // errors.As has found the outermost one
		return hinter.Hint()
	}
	if reason, about := fault.ReasonOf(err); remedies[reason] != nil {
		return remedies[reason](about)
	}
	return fault.RemedyOf(err)
}
