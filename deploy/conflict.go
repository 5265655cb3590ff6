package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// Reasons of refusals. A job's kind is "push" or "deploy".
const (
	ReasonCommitOlder fault.Reason = "commit-older" // the head's commit contains the job's; About kind, head's id
	// and the job has a directory; About kind, head's id, namespace
	ReasonHeadCommit  fault.Reason = "head-is-commit"
	ReasonHeadDamaged fault.Reason = "head-damaged" // About kind, head's id
	// and the job has a commit; About kind, head's id, namespace
	ReasonHeadDirectory fault.Reason = "head-is-directory"
	// mgmt's, it seems, and the job's is not; About kind, head's id, namespace
	ReasonHeadForeign fault.Reason = "head-foreign"
	// names its objects by another format than the job; About kind, head's id, namespace, the head's format, and "dir" if
	// the job is a plain directory
	ReasonHeadFormat    fault.Reason = "head-of-other-format"
	ReasonHeadNewer     fault.Reason = "head-newer"         // a later refship's; About kind, head's id
	ReasonHeadUnhashed  fault.Reason = "head-without-hash"  // About kind, head's id, namespace
	ReasonHeadUntrusted fault.Reason = "head-untrusted"     // About kind, head's id and signer, or ""
	ReasonHeadUnknown   fault.Reason = "head-unknown"       // to the job's repository; About kind, head's id
	ReasonLogDamaged    fault.Reason = "log-damaged"        // About kind, head's id
	ReasonNotAllowed    fault.Reason = "signer-not-allowed" // the job's; About kind, and its fingerprint, or ""
	// one is mgmt's, job or head; About repository, target or "", namespace
	ReasonNamespaceMixed fault.Reason = "namespace-mixed"
	ReasonPathMissing    fault.Reason = "path-missing" // in the job's commit; About repository, target or ""
)

// ErrLockLost: the chain's lock or head is not what it was when the deploy was prepared. Prepare again.
var ErrLockLost = errors.New("chain lock lost")

// ConflictError says that the job may not replace the chain's head.
type ConflictError struct {
	Kind      fault.Kind // Corrupt: the head cannot be believed; 0 is Conflict
	Namespace record.Namespace
	Head      *record.Deploy
	Why       string       // a sentence about the job and the head
	Remedy    string       // "": Reason's
	Reason    fault.Reason // "": there is a Remedy
	About     []string     // of Reason
	Rewinds   bool         // the job's ref would lose commits: git wants its own force, too
	NoForce   string       // the repository that the job's pusher may not force; "": it may, or nobody knows
}

func (e *ConflictError) Error() string { return e.At() + "; " + e.Why }

// Unwrap gives kind, remedy and reason.
func (e *ConflictError) Unwrap() error {
	return &fault.Error{Kind: cmp.Or(e.Kind, fault.Conflict), What: e.Error(), Remedy: e.Remedy, Reason: e.Reason,
		About: e.About}
}

// At says where the chain is: its head, who deployed it and when.
func (e *ConflictError) At() string {
	if e.Head.ID == 0 {
		return e.Namespace.Undeployed()
	}
	subject, when := "", ""
	if r := e.Head.Record; r != nil {
		subject = ` "` + text.Printable(r.Subject) + `"`
		when = ", " + text.Age(time.Since(r.Time))
	}
	return fmt.Sprintf("%s is at deploy %d, %s%s, by %s%s", e.Namespace, e.Head.ID, e.Head.ShortHash(), subject,
		e.Head.By(), when)
}

// conflict says that the job may not replace the head.
func (c *Chain) conflict(job *Job, head *record.Deploy, why, remedy string, reason fault.Reason) error {
	e := &ConflictError{Namespace: c.ns, Head: head, Why: why, Remedy: remedy, Reason: reason}
	if reason != "" {
		e.About = []string{string(job.Kind), head.ID.String(), string(c.ns)}
	}
	return e
}

// formatConflict says that the job's objects have names of another format than the head's.
func (c *Chain) formatConflict(job *Job, head *record.Deploy) error {
	is, what := head.Hash.OID().Format().String(), ""
	if job.Dir != nil {
		what = "dir"
	}
	return &ConflictError{
		Namespace: c.ns, Head: head, Reason: ReasonHeadFormat,
		Why: fmt.Sprintf("it has %s object names, and your %s has %s: that is another line of history", is,
			job.Hash().Short(), job.Hash().OID().Format()),
		About: []string{string(job.Kind), head.ID.String(), string(c.ns), is, what},
	}
}

// distrust says that the job may not replace the head, since that cannot be believed.
func (c *Chain) distrust(job *Job, head *record.Deploy, why string, reason fault.Reason) error {
	about := []string{string(job.Kind), head.ID.String()}
	if head.Record != nil {
		about = append(about, head.Record.Signer)
	}
	kind := fault.Corrupt
	if reason == ReasonHeadNewer {
		kind = fault.Failed
	}
	return &ConflictError{
		Kind: kind, Namespace: c.ns, Head: head, Why: why, Reason: reason, About: about,
	}
}

// catchUp says why the job's commit cannot follow the head's, and where to get what it lacks.
func catchUp(job *Job, head *record.Deploy, unknown bool) (why, remedy string, reason fault.Reason) {
	branch := ""
	if job.Ref != "" {
		branch = git.RefArg(job.Ref)
	}
	why = "your " + job.Hash().Short() + " does not contain it"
	if unknown {
		why = "this repository does not have that commit"
	}
	if job.Repo.IsShallow() {
		return why + ", and is a shallow clone", "fetch what it lacks: git fetch --unshallow; then " + job.pushAgain(), ""
	}
	if from := elsewhere(job, head.Record); from != "" {
		if head.Record.Ref != "" {
			branch = text.Printable(git.RefArg(head.Record.Ref))
		}
		how := "--rebase"
		if job.Moved { // what it has would not be in a rebased branch
			how = "--no-rebase"
		}
		pull := "git pull " + how + " URL " + branch + ", with the URL of " + from
		return "it came from " + from + ", and " + why, "catch up from there: " + pull + "; then " + job.pushAgain(), ""
	}
	if unknown {
		return why, "", ReasonHeadUnknown
	}
	if job.Moved {
		return why, "merge " + head.Hash.Short() + ", which its repository has, then " + job.pushAgain(), ""
	}
	return why, strings.TrimSpace("git pull --rebase REMOTE "+branch) + ", then " + job.pushAgain(), ""
}

// elsewhere names the repository and the server that a record is from, if they are not the job's own. Servers of one
// host name are told apart by their signing keys.
func elsewhere(job *Job, r *record.Record) string {
	if r == nil {
		return ""
	}
	differ := func(theirs, ours string) bool { return theirs != "" && ours != "" && theirs != ours }
	signer := ""
	if job.Signer != nil {
		signer = ssh.FingerprintSHA256(job.Signer.PublicKey())
	}
	var where []string
	if r.Repository != "" {
		where = append(where, "repository "+text.Printable(r.Repository))
	}
	switch {
	case r.Kind == record.KindDeploy && r.Pusher.Via != "ssh" && !differ(r.Repository, job.Repository):
		return "" // a manual deploy: the server is where that was made, and not where the repository is
	case differ(r.Server, job.Server):
		where = append(where, "server "+text.Printable(r.Server))
	case differ(r.Signer, signer):
		server := strings.TrimSpace("server " + text.Printable(r.Server))
		where = append(where, server+" with the signing key "+text.Printable(r.Signer))
	case !differ(r.Repository, job.Repository):
		return ""
	}
	return strings.Join(where, " on ")
}
