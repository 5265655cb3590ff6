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
	store.ReasonNoPath: fixed("a path goes from the deploy's root, without a slash at its start, " +
		"as refship ls --recursive prints it"),
	target.ReasonNone: fixed("it has no target yet: refship repo target add REPO NAME makes one"),
	tree.ReasonUnfit: func(about []string) string {
		return strings.Join(about, "; ") + " (--exclude PATTERN leaves files out)"
	},
	hooks.ReasonDeployedRef: func(about []string) string {
		return "to deploy it no more, the server's operator removes the target: refship repo target remove " +
			about[0] + " " + about[1]
	},
	hooks.ReasonForceElsewhere: fixed("the git server's operator can force it: " +
		"refship deploy --repo DIR --rev REV --force --reason TEXT"),
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

// deployRemedies words what to do about a deploy that was refused: to users of refship's own server, or else of an
// installed hook or a command on the machine of the repository. Sorted by reason.
func deployRemedies(server bool) map[fault.Reason]func(about []string) string {
	override := func(kind string) string { return "override it, " + overrideRemedy(server, kind) }
	return map[fault.Reason]func(about []string) string{
		deploy.ReasonCommitOlder: func(about []string) string {
			return "to go back, git revert what came after it and " + pushWords(about[0]) + " that; or " + override(about[0])
		},
		deploy.ReasonFileLarge: fixed("take it out of the commit and push again, " +
			"or ask the server's operator to raise its limit, --max-file-size"),
		deploy.ReasonHeadCommit: func(about []string) string {
			return "a chain of commits goes on with commits: deploy one that contains it, " +
				"refship deploy --repo DIR --rev REV, or give the directory a namespace of its own; or " + override(about[0])
		},
		deploy.ReasonHeadDirectory: func(about []string) string {
			return "a chain of plain directories goes on with plain directories, refship deploy --dir DIR: " +
				"give the repository a namespace of its own; or " + override(about[0])
		},
		deploy.ReasonHeadUnhashed: func(about []string) string {
			return "deploy once with the tool that made it, with a hash; or " + override(about[0])
		},
		deploy.ReasonHeadUnknown: func(about []string) string {
			return "bring it in from where it was deployed (see refship show " + about[1] + "), merge or rebase, then " +
				pushWords(about[0]) + " again; or " + override(about[0])
		},
		deploy.ReasonNamespaceMixed: func(about []string) string {
			if about[1] == "" {
				return "deploy into a namespace of its own: --namespace NS"
			}
			return "give the target a namespace of its own: " + targetCommand(server, about) + " --namespace NS"
		},
		deploy.ReasonPathMissing: func(about []string) string {
			if about[1] == "" {
				return "commit that directory, or name another with --path"
			}
			return "commit that directory and push again, or push to a ref that is not deployed; " +
				"the server's operator gives the target another path with: " + targetCommand(server, about) + " --path PATH"
		},
	}
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
		return "by hand: " + byCommand + ", or " + byPush
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
func remedyOf(err error) string { return wordRemedy(err, deployRemedies(false)) }

// serverRemedyOf is remedyOf for users of refship's own server.
func serverRemedyOf(err error) string { return wordRemedy(err, deployRemedies(true)) }

func wordRemedy(err error, deploys map[fault.Reason]func(about []string) string) string {
	reason, about := fault.ReasonOf(err)
	for _, words := range []func([]string) string{remedies[reason], deploys[reason]} {
		if words != nil {
			return words(about)
		}
	}
	return fault.RemedyOf(err)
}
