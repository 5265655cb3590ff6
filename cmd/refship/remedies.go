package main

import (
	"errors"
	"fmt"
	"strings"

	"refship/deploy"
	"refship/deploy/agent"
	"refship/deploy/agent/secret"
	"refship/deploy/bundle"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/gc"
	"refship/deploy/mgmt"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/deploy/witness"
	"refship/gitserver"
	"refship/gitserver/conns"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/await"
	"refship/hooks/check"
	"refship/hooks/install"
	"refship/hooks/permit"
	"refship/hooks/signed"
	"refship/hooks/target"
)

// remedies words what to do about an error in flags and commands of refship, which no package below knows. $1 is the
// first of what the reason is about, '$1' the same quoted for a shell, $* all of it. Sorted by package and name.
var remedies = map[fault.Reason]string{
	agent.ReasonDrifted: "see what else writes there; --repair puts it right",
	agent.ReasonNameTaken: "give one of the two a name of its own: --name; a node that was killed, and has lost its root, " +
		"counts as alive for half a minute more",
	agent.ReasonPrepare: "its own words are in the log; the release that ran before goes on, and " +
		"so does the next deploy",
	agent.ReasonRewritten: "look at both (refship log); " +
		"if what is there now is right: refship agent accept --root '$1'",
	agent.ReasonSlow:                  "see what took so long, or raise --sync-timeout",
	await.ReasonNoVersion:             "refship repo target set $1 $2 --version-file files/version, and let the code write what is there",
	bundle.ReasonNotEmpty:             "if what is there may go: etcdctl del --prefix $1/ (look first: etcdctl get --prefix --keys-only $1/)",
	check.ReasonTooSlow:               "make it faster, or ask the server's operator to raise --check-limit",
	conns.ReasonConnections:           "raise --max-connections",
	conns.ReasonConnectionsPerAddress: "raise --max-connections-per-address",
	embedded.ReasonBroken: "restore $1 from a backup; or move it away, start refship again with an empty etcd, " +
		"and deploy each repository anew: ssh HOST deploy REPO",
	embedded.ReasonListenPlain: "give --etcd-cert-file, --etcd-key-file and --etcd-trusted-ca-file, " +
		"or listen on a loopback address such as 127.0.0.1:2379",
	embedded.ReasonListenTaken:    "another program listens there: give another --etcd-listen",
	embedded.ReasonPathLong:       "give a --data-dir whose path is at least $1 bytes shorter",
	etcd.ReasonCA:                 "give the CA that signed etcd's certificate with --cacert",
	etcd.ReasonCertificateHalf:    "give both --cert and --key, or none of them",
	etcd.ReasonCertificateMissing: "etcd wants a client certificate: give --cert and --key",
	etcd.ReasonCertificateRefused: "etcd refuses the client certificate: give --cert and --key signed by its trusted CA",
	etcd.ReasonEndpointUser:       "give the address alone, and --user NAME with --password-file FILE",
	etcd.ReasonEndpointsMissing:   "give --endpoints HOST:PORT",
	etcd.ReasonLogin:              "check --user and --password",
	etcd.ReasonNotPlain: "something other than etcd's plain port answers: " +
		"if etcd wants TLS use https:// with --cacert",
	etcd.ReasonNotRoot: "give --user root with --password-file FILE; or run it on etcd's own machine: " + etcdctlRoom,
	etcd.ReasonPasswordMissing: "give --user NAME:PASSWORD, or --password; " +
		"better --password-file, or REFSHIP_PASSWORD in the environment",
	etcd.ReasonQuota: "make room: refship gc with the same flags, and --compact unless it is a refship server's own " +
		"etcd; or raise etcd's quota, which alone does not disarm its alarm: etcdctl alarm disarm",
	etcd.ReasonTLSFiles:       "check --cacert, --cert and --key, and etcd's certificate",
	etcd.ReasonTLSFilesUnused: "use https://, or leave out --cacert, --cert and --key",
	etcd.ReasonUserEmpty:      "etcd has authentication on: give --user NAME:PASSWORD",
	etcd.ReasonUserMissing:    "give --user NAME, too",
	gitserver.ReasonFlaw: "git fsck --strict in your repository names all such objects; where they are in old history " +
		"that cannot be changed, the server's operator lets them in: refship repo set $1 --fsck $2=ignore",
	gitserver.ReasonFormat: "git rev-parse --show-object-format says which one a repository has; the server's operator " +
		"makes another one for yours: refship repo create NAME --object-format $2",
	gitserver.ReasonGitMemory:  "raise --git-memory",
	gitserver.ReasonKeyUnknown: "echo '$1' | refship key add NAME --key - --allow RULE",
	gitserver.ReasonLFS: "commit the files themselves (git lfs migrate export); or, to deploy pointers as they are: " +
		"git push --no-verify, when the server's operator has set refship repo target set $1 TARGET --lfs deploy-pointers",
	gitserver.ReasonLoginGrace: "raise --login-grace",
	gitserver.ReasonPackSize:   "raise --max-pack-size",
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
	mgmt.ReasonSettings: "$1 (--frontend, --entry, --puppet-conf, --module-path, --version-file)",
	permit.ReasonDeployedRef: "to deploy it no more, the server's operator removes the target: " +
		"refship repo target remove $1 $2",
	permit.ReasonForceElsewhere: "the git server's operator can force it: " +
		"refship deploy --repo DIR --rev REV --force --reason TEXT",
	record.ReasonDamaged: "etcd was changed by something other than refship, or restored in part: " +
		"refship repair REPO puts right what the newest deploy needs; over a damaged record a push can be forced; " +
		"else restore etcd from a backup",
	repos.ReasonExists:  "refship repo show $1 tells what it is",
	repos.ReasonOverlap: "give this target a namespace of its own with --namespace",
	repos.ReasonUnknown: "refship repo list shows those that exist, refship repo create $1 makes this one",
	secret.ReasonDecrypt: "encrypt it for this node, too (refship nodes --recipients), or let the node leave it out: " +
		"--age optional",
	signed.ReasonCommits: "sign it, git commit --amend --no-edit -S or a signed tag, and push again; who may sign is for " +
		"the server's operator to say: a key's line in keys/allowed_signers, of another git server's hooks in " +
		"refship.allowed-signers",
	signed.ReasonPush: "git push --signed, with an SSH key: git config gpg.format ssh; " +
		"git config user.signingKey ~/.ssh/KEY.pub; where the ref has it already, commit once more",
	store.ReasonNoCommit: "of a first or forced deploy and of a rollback only its own commit is stored; " +
		"in a repository, this tells whether a deploy has a commit: git merge-base --is-ancestor $2 COMMIT-OF-THE-DEPLOY",
	store.ReasonNoPath: "a path goes from the deploy's root, without a slash at its start, " +
		"as refship ls --recursive prints it",
	store.ReasonPathLong:  "refship ls ID PATH and refship cat ID PATH show a part of it",
	store.ReasonTreeLarge: "refship ls ID PATH and refship cat ID PATH show a part of it",
	target.ReasonNone:     "it has no target yet: refship repo target add REPO NAME makes one",
	tree.ReasonUnfit:      "$* (--exclude GLOB leaves files out)",
	witness.ReasonForked: "the history was written anew, or etcd was restored from an older backup: find out which, and " +
		"by whom",
	witness.ReasonNoCheckpoint: "one is signed with each deploy by a server's own key, or by an ed25519 key with " +
		"--signing-key",
	witness.ReasonUncovered: "have the witnesses cosign the head (refship witness), or take an older deploy",
}

// deployRemedy words what to do about a deploy that was refused, "" for other reasons: to users of refship's own
// server, or else of an installed hook or a command on the machine of the repository. conflict is the error as one, or
// nil. Sorted by reason.
func deployRemedy(server bool, reason fault.Reason, about []string, conflict *deploy.ConflictError) string {
	override := func() string { return "or " + overrideRemedy(server, about[0], conflict) }
	switch reason {
	case deploy.ReasonCommitOlder:
		back := "refship rollback ID --reason TEXT"
		if server {
			back = "ssh HOST rollback REPO ID REASON"
		}
		return "to go back: " + back + "; or git revert what came after it, and " + pushWords(about[0]) + " that; " +
			override()
	case plan.ReasonFileLarge:
		return "take it out of the commit and push again, " +
			"or ask the server's operator to raise its limit, --max-file-size"
	case deploy.ReasonHeadCommit:
		return "a chain of commits goes on with commits: deploy one that contains it, " +
			"refship deploy --repo DIR --rev REV" + ownNamespace(about[2], ", or give the directory") + "; " + override()
	case deploy.ReasonHeadDamaged, deploy.ReasonLogDamaged:
		return "restore etcd from a backup; " + override() + damagedForced(reason)
	case deploy.ReasonHeadDirectory:
		return "a chain of plain directories goes on with plain directories, refship deploy --dir DIR" +
			ownNamespace(about[2], ": give the repository") + "; " + override()
	case deploy.ReasonHeadForeign:
		return foreignRemedy(about[2], strings.TrimPrefix(override(), "or "))
	case deploy.ReasonHeadFormat:
		return formatRemedy(about, override())
	case deploy.ReasonHeadNewer:
		return "a newer refship has written it: use that"
	case deploy.ReasonHeadUnhashed:
		return unhashedRemedy(about[2], strings.TrimPrefix(override(), "or "))
	case deploy.ReasonHeadUnknown:
		return "bring it in from where it was deployed (see refship show " + about[1] + "), merge or rebase, then " +
			pushWords(about[0]) + " again; " + override()
	case deploy.ReasonHeadUntrusted:
		return untrustedRemedy(server, about[2]) + "; " + override() + ": that publishes all of it anew"
	case deploy.ReasonMaxStored:
		raise := "raises the limit: git config refship.max-stored SIZE"
		if server {
			raise = "raises the limit: refship repo set " + about[0] + " --max-stored SIZE"
		}
		return "take large files out of the commit and push again; or the server's operator deletes old deploys' files " +
			"(refship gc), or " + raise
	case deploy.ReasonNamespaceMixed:
		return mixedRemedy(server, about)
	case deploy.ReasonNotAllowed:
		return unsignedRemedy(about[0], about[1])
	case plan.ReasonPointers:
		as := "give --lfs deploy-pointers"
		if about[1] != "" {
			as = "the server's operator: " + targetCommand(server, about) + " --lfs deploy-pointers"
		}
		return "refship has no LFS: commit the files themselves (git lfs migrate export, or a .gitattributes without " +
			"them and git add --renormalize); or, to deploy the pointers as they are, " + as
	case deploy.ReasonPathMissing:
		if about[1] == "" {
			return "commit that directory, or name another with --path"
		}
		return "commit that directory and push again, or push to a ref that is not deployed; " +
			"the server's operator gives the target another path with: " + targetCommand(server, about) + " --path PATH"
	}
	return chainRemedy(server, reason, about)
}

// formatRemedy is what to do about a chain of another object format; about is that of deploy.ReasonHeadFormat.
func formatRemedy(about []string, override string) string {
	goOn := "a chain goes on in its object format: push from a repository with " + about[3] +
		" (git rev-parse --show-object-format tells)"
	if about[4] != "" {
		goOn = "a chain goes on in its object format: --object-format " + about[3]
	}
	return goOn + ownNamespace(about[2], ", or give this one") + "; " + override
}

// damagedForced says what force does about damage.
func damagedForced(reason fault.Reason) string {
	if reason == deploy.ReasonLogDamaged {
		return ": that makes the log anew, and who has seen the old one will notice"
	}
	return ": that publishes all of it anew"
}

// chainRemedy is deployRemedy for rollbacks, holds and what was undone.
func chainRemedy(server bool, reason fault.Reason, about []string) string {
	switch reason {
	case deploy.ReasonContentGone, deploy.ReasonPinIncomplete, store.ReasonExpired:
		return goneRemedy(server, about)
	case deploy.ReasonHeadMoved:
		return "look at it, then ask again"
	case deploy.ReasonHeld:
		return heldRemedy(server, about)
	case deploy.ReasonImporting:
		return "if no import runs, import the same bundle again: refship import FILE; that takes the hold away"
	case deploy.ReasonHeldByOther:
		if server {
			return askWords(about[0]) + "the rule force would allow it"
		}
		return askWords(about[0]) + "--force resumes it all the same"
	case deploy.ReasonNoRecord:
		return "take a deploy that refship made: refship log shows them"
	case deploy.ReasonUndone:
		return undoneRemedy(server, about)
	case gc.ReasonUnsure:
		return unsureRemedy(about)
	}
	return ""
}

// unsureRemedy is what to do about a kept deploy that is damaged; about is that of gc.ReasonUnsure.
func unsureRemedy(about []string) string {
	ns, id, newer, isPinned := about[0], about[1], about[2], about[3] != ""
	switch {
	case isPinned:
		return "to give it up: refship keep " + id + " --remove --namespace " + ns
	case newer == "0":
		return "refship repair REPO repairs a head; if its record is damaged, deploy over it with force"
	}
	return "to give it up, and all that are older: refship gc --namespace " + ns + " --keep-last " + newer +
		" --keep-within 0"
}

// goneRemedy is what to do about a deploy that is not whole in etcd; about is that of deploy.ReasonContentGone. A user
// of the server is not told where its data directory is.
func goneRemedy(server bool, about []string) string {
	hash, ns, repository, target, dir := record.Hash(about[1]), about[2], about[3], about[4], about[5]
	to := " --namespace " + ns
	if target != "" {
		to = " --target " + target
	}
	to += " --force --reason TEXT"
	rev := " --rev " + string(hash)
	switch {
	case hash == "":
		return "take another deploy; or let mgmt deploy it anew"
	case hash.IsTree():
		return "take another deploy; or deploy that directory anew: refship deploy --dir DIR" + to
	case dir == "":
		return "take another deploy; or deploy that commit anew, from a clone that has it: refship deploy --repo DIR" +
			rev + to
	case server:
		return "take another deploy; or the server's operator deploys that commit anew, in the data directory: " +
			"refship deploy --data-dir . --repo " + text.Quote("repos/"+repository+".git") + rev + to
	}
	if of, found := servedFrom(dir); found {
		to += of.flag()
	}
	return "take another deploy; or deploy that commit anew: refship deploy --repo " + text.Quote(dir) + rev + to
}

// undoneRemedy is what to do about a deploy that brings back what was undone: kind, the head's id, and the id of the
// deploy that a rollback goes to.
func undoneRemedy(server bool, about []string) string {
	switch {
	case about[0] == string(record.KindRollback) && server:
		return "look at it; if it shall come back, name it by its number: ssh HOST rollback REPO " + about[2] + " REASON"
	case about[0] == string(record.KindRollback):
		return "look at it; if it shall come back, name it by its number: refship rollback " + about[2] + " --reason TEXT"
	case about[0] == string(record.KindPush):
		return "look at it; if it shall come back: git push -o deploy.again=" + about[1]
	case server:
		return "look at it; if it shall come back: ssh HOST rollback REPO ID REASON, " +
			"or push a commit on top with -o deploy.again=" + about[1]
	}
	return "look at it; if it shall come back: --again " + about[1]
}

// heldRemedy is what to do about a chain on hold: namespace, and who holds it.
func heldRemedy(server bool, about []string) string {
	if server {
		return askWords(about[1]) + "ssh HOST resume REPO lets it go on, and rollbacks go through"
	}
	return askWords(about[1]) + "refship resume --repo DIR, or --namespace " + about[0] +
		", lets it go on, and rollbacks go through"
}

// askWords begin a remedy that a user can tell more about, "" for an unknown one.
func askWords(user string) string {
	if user == "" {
		return ""
	}
	return "ask " + user + "; "
}

// ownNamespace is who to give a namespace of its own; "" in mgmt's: mgmt reads no other.
func ownNamespace(ns, who string) string {
	if record.Namespace(ns).IsMgmt() {
		return ""
	}
	return who + " a namespace of its own"
}

// mixedRemedy is what to do about a chain that would be refship's own and mgmt's: repository, target, namespace.
func mixedRemedy(server bool, about []string) string {
	switch {
	case record.Namespace(about[2]).IsMgmt():
		return "mgmt reads no other namespace: deploy for one of its frontends, --frontend F"
	case about[1] == "":
		return "deploy into a namespace of its own: --namespace NS"
	}
	return "give the target a namespace of its own: " + targetCommand(server, about) + " --namespace NS"
}

// foreignRemedy is what to do where a chain seems to be mgmt's and the deploy is not, or the reverse.
func foreignRemedy(ns, override string) string {
	if record.Namespace(ns).IsMgmt() {
		return override
	}
	return "if that is so, give the target a namespace of its own; if it is not, " + override
}

// unhashedRemedy is what to do about a head without a hash. mgmt's own command refuses to follow one, too.
func unhashedRemedy(ns, override string) string {
	if !record.Namespace(ns).IsMgmt() {
		return override + "; or deploy once with the tool that made it, with a hash"
	}
	return override + "; or deploy once with mgmt itself: in a clone, with a hash, and with mgmt's own --force; " +
		"then push again"
}

// unsignedRemedy is what to do where a deploy would count for nothing: no key signs it ("") or one that nobody trusts.
func unsignedRemedy(kind, key string) string {
	switch {
	case key != "":
		return "add that key's line to the allowed signers: refship keys signer prints a server's"
	case kind == string(record.KindPush): // through hooks: a server has a key
		return "the git server's operator gives the hooks a key: refship hook install DIR --signing-key FILE"
	}
	return "sign it: --signing-key FILE"
}

// untrustedRemedy is what to do about a head that is signed by a stranger, or not at all (signer is "").
func untrustedRemedy(server bool, signer string) string {
	switch {
	case signer == "":
		return "find out who wrote it into etcd"
	case server:
		return "if that deploy is right, the server's operator adds that key's line to keys/allowed_signers of the data " +
			"directory"
	}
	return "if that deploy is right, add that key's line to the allowed signers"
}

// overrideRemedy is how a deploy of a kind overrides the chain's head; conflict may be nil.
func overrideRemedy(server bool, kind string, conflict *deploy.ConflictError) string {
	const byCommand = "refship deploy --repo DIR --rev REV --force --reason TEXT"
	push, asked := "git push -o deploy.force -o deploy.reason=TEXT", ""
	if conflict != nil {
		asked = conflict.NoForce
		if conflict.Rewinds {
			push = "git push --force -o deploy.force -o deploy.reason=TEXT"
		}
	}
	isPush := kind == string(record.KindPush)
	switch {
	case kind == string(record.KindRollback):
		return "override it by a deploy or a push with force"
	case server && isPush && asked != "":
		return "ask a user with the rule force:" + asked + " to override it: " + push
	case server && isPush:
		return "override it, with the force permission: " + push
	case server:
		return "override it, on the server: " + byCommand + ", or with the force permission: " + push
	case isPush:
		return "override it, on the git server: " + byCommand
	}
	return "override it, with --force --reason TEXT"
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
	var conflict *deploy.ConflictError
	errors.As(err, &conflict)
	if words := deployRemedy(server, reason, about, conflict); words != "" {
		return words
	}
	return fault.RemedyOf(err)
}
