package main

import (
	"fmt"
	"strings"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/gitserver"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/check"
	"refship/hooks/install"
	"refship/hooks/target"
)

// remedies words what to do about an error in flags and commands of refship, which no package below knows. $1 is the
// first of what the reason is about, '$1' the same quoted for a shell, $* all of it. Sorted by package and name.
var remedies = map[fault.Reason]string{
	check.ReasonTooSlow: "make it faster, or ask the server's operator to raise --check-limit",
	embedded.ReasonListenPlain: "give --etcd-cert-file, --etcd-key-file and --etcd-trusted-ca-file, " +
		"or listen on a loopback address such as 127.0.0.1:2379",
	embedded.ReasonListenTaken:    "another program listens there: give another --etcd-listen",
	embedded.ReasonPathLong:       "give a --data-dir whose path is at least $1 bytes shorter",
	etcd.ReasonCA:                 "give the CA that signed etcd's certificate with --cacert",
	etcd.ReasonCertificateHalf:    "give both --cert and --key, or none of them",
	etcd.ReasonCertificateMissing: "etcd wants a client certificate: give --cert and --key",
	etcd.ReasonCertificateRefused: "etcd refuses the client certificate: give --cert and --key signed by its trusted CA",
	etcd.ReasonEndpointsMissing:   "give --endpoints HOST:PORT",
	etcd.ReasonLogin:              "check --user and --password",
	etcd.ReasonNotPlain: "something other than etcd's plain port answers: " +
		"if etcd wants TLS use https:// with --cacert",
	etcd.ReasonPasswordMissing: "give --user NAME:PASSWORD, or --password; " +
		"better --password-file, or REFSHIP_PASSWORD in the environment",
	etcd.ReasonTLSFiles:                   "check --cacert, --cert and --key, and etcd's certificate",
	etcd.ReasonTLSFilesUnused:             "use https://, or leave out --cacert, --cert and --key",
	etcd.ReasonUserEmpty:                  "etcd has authentication on: give --user NAME:PASSWORD",
	etcd.ReasonUserMissing:                "give --user NAME, too",
	gitserver.ReasonConnections:           "raise --max-connections",
	gitserver.ReasonConnectionsPerAddress: "raise --max-connections-per-address",
	gitserver.ReasonKeyUnknown:            "echo '$1' | refship key add NAME --key - --allow RULE",
	gitserver.ReasonLoginGrace:            "raise --login-grace",
	gitserver.ReasonPackSize:              "raise --max-pack-size",
	hooks.ReasonDeployedRef: "to deploy it no more, the server's operator removes the target: " +
		"refship repo target remove $1 $2",
	hooks.ReasonForceElsewhere: "the git server's operator can force it: " +
		"refship deploy --repo DIR --rev REV --force --reason TEXT",
	hooks.ReasonHeadSince: "force overrides only the deploy that it was told of, and deploy $1 came after that: " +
		"look at it (refship show $1), then try again",
	hooks.ReasonNotPrepared: "the git server's operator checks the hooks (refship hook status), and deploys it with: $1",
	hooks.ReasonOutsideRef: "bring it into $1 first; or give it a chain of its own, with --namespace NS; " +
		"or --force --reason TEXT",
	install.ReasonEarlierGone: "put it back, or take the hooks out and install them again: refship hook uninstall '$1'",
	install.ReasonOwner:       "sudo -u '$1' refship hook $2 '$3'",
	install.ReasonReinstall:   "refship hook uninstall '$1'; then install again",
	install.ReasonUndeployed: "deploy it, then try again: " +
		"refship deploy --repo '$1' --rev '$2' --target $3",
	mgmt.ReasonSettings: "$1 (--frontend, --entry)",
	repos.ReasonExists:  "refship repo show $1 tells what it is",
	repos.ReasonOverlap: "give this target a namespace of its own with --namespace",
	repos.ReasonUnknown: "refship repo list shows those that exist, refship repo create $1 makes this one",
	store.ReasonNoPath: "a path goes from the deploy's root, without a slash at its start, " +
		"as refship ls --recursive prints it",
	target.ReasonNone: "it has no target yet: refship repo target add REPO NAME makes one",
	tree.ReasonUnfit:  "$* (--exclude GLOB leaves files out)",
}

// deployRemedy words what to do about a deploy that was refused, "" for other reasons: to users of refship's own
// server, or else of an installed hook or a command on the machine of the repository. Sorted by reason.
func deployRemedy(server bool, reason fault.Reason, about []string) string {
	override := func() string { return "or override it, " + overrideRemedy(server, about[0]) }
	switch reason {
	case deploy.ReasonCommitOlder:
		return "to go back, git revert what came after it and " + pushWords(about[0]) + " that; " + override()
	case deploy.ReasonFileLarge:
		return "take it out of the commit and push again, " +
			"or ask the server's operator to raise its limit, --max-file-size"
	case deploy.ReasonHeadCommit:
		return "a chain of commits goes on with commits: deploy one that contains it, " +
			"refship deploy --repo DIR --rev REV, or give the directory a namespace of its own; " + override()
	case deploy.ReasonHeadDirectory:
		return "a chain of plain directories goes on with plain directories, refship deploy --dir DIR: " +
			"give the repository a namespace of its own; " + override()
	case deploy.ReasonHeadUnhashed:
		return "deploy once with the tool that made it, with a hash; " + override()
	case deploy.ReasonHeadUnknown:
		return "bring it in from where it was deployed (see refship show " + about[1] + "), merge or rebase, then " +
			pushWords(about[0]) + " again; " + override()
	case deploy.ReasonNamespaceMixed:
		if about[1] == "" {
			return "deploy into a namespace of its own: --namespace NS"
		}
		return "give the target a namespace of its own: " + targetCommand(server, about) + " --namespace NS"
	case deploy.ReasonPathMissing:
		if about[1] == "" {
			return "commit that directory, or name another with --path"
		}
		return "commit that directory and push again, or push to a ref that is not deployed; " +
			"the server's operator gives the target another path with: " + targetCommand(server, about) + " --path PATH"
	}
	return ""
}

// overrideRemedy is how a deploy of a kind overrides the chain's head.
func overrideRemedy(server bool, kind string) string {
	const byPush = "with the force permission: git push -o deploy.force -o deploy.reason=TEXT"
	const byCommand = "refship deploy --repo DIR --rev REV --force --reason TEXT"
	isPush := kind == string(record.KindPush)
	switch {
	case server && isPush:
		return byPush
	case server:
		return "on the server: " + byCommand + ", or " + byPush
	case isPush:
		return "on the git server: " + byCommand
	}
	return "with --force --reason TEXT"
}

// pushWords are what a user does with a new commit, to deploy it as before.
func pushWords(kind string) string {
	if kind == string(record.KindPush) {
		return "push"
	}
	return "push or deploy"
}

// targetCommand is the command that changes a target, {repository, name}.
func targetCommand(server bool, about []string) string {
	if server {
		return "refship repo target set " + about[0] + " " + about[1]
	}
	return "refship hook install DIR --target " + about[1]
}

// remedyOf is what to do about an error, "" if that is not known.
func remedyOf(err error) string { return wordRemedy(err, false) }

// serverRemedyOf is remedyOf for users of refship's own server.
func serverRemedyOf(err error) string { return wordRemedy(err, true) }

func wordRemedy(err error, server bool) string {
	reason, about := fault.ReasonOf(err)
	if words, ok := remedies[reason]; ok {
		replace := []string{"$*", strings.Join(about, "; ")}
		for i, word := range about {
			name := fmt.Sprintf("$%d", i+1)
			replace = append(replace, "'"+name+"'", text.Quote(word), name, word)
		}
		return strings.NewReplacer(replace...).Replace(words)
	}
	if words := deployRemedy(server, reason, about); words != "" {
		return words
	}
	return fault.RemedyOf(err)
}
