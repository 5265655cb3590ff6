package main

import (
	"fmt"
	"strings"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/gitserver"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/check"
	"refship/hooks/install"
	"refship/hooks/target"
)

// remedies words what to do about an error in flags and commands of refship, which no package below knows. It has a
// function for each reason, which gets what the reason is about. Sorted by package and name.
var remedies = map[fault.Reason]func(about []string) string{
	etcd.ReasonCA:                 fixed("give the CA that signed etcd's certificate with --cacert"),
	etcd.ReasonCertificateHalf:    fixed("give both --cert and --key, or none of them"),
	etcd.ReasonCertificateMissing: fixed("etcd wants a client certificate: give --cert and --key"),
	etcd.ReasonCertificateRefused: fixed("etcd refuses the client certificate: " +
		"give --cert and --key signed by its trusted CA"),
	etcd.ReasonEndpointsMissing: fixed("give --endpoints HOST:PORT"),
	embedded.ReasonListenTaken:  fixed("another program listens there: give another --etcd-listen"),
	etcd.ReasonLogin:            fixed("check --user and --password"),
	etcd.ReasonNotPlain: fixed("something else than etcd's plain port answers: " +
		"if etcd wants TLS use https:// with --cacert"),
	etcd.ReasonPasswordMissing: fixed("give --user NAME:PASSWORD, or --password; " +
		"better --password-file, or REFSHIP_PASSWORD in the environment"),
	embedded.ReasonPathLong: func(about []string) string {
		return "give a --data-dir whose path is at least " + about[0] + " bytes shorter"
	},
	etcd.ReasonTLSFiles:                   fixed("check --cacert, --cert and --key, and etcd's certificate"),
	etcd.ReasonTLSFilesUnused:             fixed("use https://, or leave out --cacert, --cert and --key"),
	etcd.ReasonUserEmpty:                  fixed("etcd has authentication on: give --user NAME:PASSWORD"),
	etcd.ReasonUserMissing:                fixed("give --user NAME, too"),
	gitserver.ReasonConnections:           fixed("raise --max-connections"),
	gitserver.ReasonConnectionsPerAddress: fixed("raise --max-connections-per-address"),
	gitserver.ReasonKeyUnknown: func(about []string) string {
		return "echo " + text.Quote(about[0]) + " | refship key add NAME --key - --allow RULE"
	},
	gitserver.ReasonLoginGrace: fixed("raise --login-grace"),
	gitserver.ReasonPackSize:   fixed("raise --max-pack-size"),
	install.ReasonEarlierGone: func(about []string) string {
		return "put it back, or take the hooks out and install them again: refship hook uninstall " + text.Quote(about[0])
	},
	install.ReasonOwner: func(about []string) string {
		return fmt.Sprintf("sudo -u %s refship hook %s %s", text.Quote(about[0]), about[1], text.Quote(about[2]))
	},
	install.ReasonReinstall: func(about []string) string {
		return fmt.Sprintf("refship hook uninstall %s; then install again", text.Quote(about[0]))
	},
	install.ReasonUndeployed: func(about []string) string {
		return fmt.Sprintf("deploy it, then try again: refship deploy --repo %s --rev %s --target %s",
			text.Quote(about[0]), text.Quote(about[1]), about[2])
	},
	mgmt.ReasonSettings: func(about []string) string { return about[0] + " (--frontend, --entry)" },
	repos.ReasonExists:  func(about []string) string { return "refship repo show " + about[0] + " tells what it is" },
	repos.ReasonOverlap: fixed("give this target a namespace of its own with --namespace"),
	repos.ReasonUnknown: func(about []string) string {
		return "refship repo list shows those that exist, refship repo create " + about[0] + " makes this one"
	},
	target.ReasonNone: fixed("it has no target yet: refship repo target add REPO NAME makes one"),
	tree.ReasonUnfit: func(about []string) string {
		return strings.Join(about, "; ") + " (--exclude PATTERN leaves files out)"
	},
	hooks.ReasonNotPrepared: func(about []string) string {
		return "the git server's operator checks the hooks (refship hook status), and deploys it with: " + about[0]
	},
	hooks.ReasonOutsideRef: func(about []string) string {
		return "bring it into " + about[0] + " first; or give it a chain of its own, with --namespace NS; " +
			"or --force --reason TEXT"
	},
	check.ReasonTooSlow: fixed("make it faster, or ask the server's operator to raise --check-limit"),
}

// fixed is a remedy that is about nothing in particular.
func fixed(remedy string) func([]string) string { return func([]string) string { return remedy } }

// remedyOf is what to do about an error, "" if that is not known.
func remedyOf(err error) string {
	if reason, about := fault.ReasonOf(err); remedies[reason] != nil {
		return remedies[reason](about)
	}
	return fault.RemedyOf(err)
}
