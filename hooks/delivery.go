package hooks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/signed"
	"refship/hooks/target"
)

// delivery is one target's commit, or a plain directory, on its way into one chain.
type delivery struct {
	number uint64
	target target.Target // its check is run; without a name only the namespace counts
	chain  *deploy.Chain
	job    *deploy.Job   // a run opens its Repo
	update git.RefUpdate // of a push; else zero
	label  string        // starts each line about it

	certificate *signed.Certificate // of its push; nil: none
	vouched     bool                // an earlier run found signed what has to be
	signedOver  record.ID           // the head above which what it brings was found signed, and 1

	checked    bool      // its check has passed, or it has none
	judged     bool      // the verdict was told; before that, forcedHead says nothing
	seenHead   record.ID // the head of the first verdict; 0: none
	forcedHead record.ID // the one head that the job's Force may override: that which its user was told of; 0: none

	verdict     *deploy.Verdict
	lock        *deploy.Lock     // nil: not held
	prepared    *deploy.Prepared // nil: not prepared, or published
	frontend    record.Frontend  // what the job's auto has picked, for the check
	finished    bool             // published or not, its user was told
	deploy      *record.Deploy   // what was published, or the head where there was nothing to do
	published   bool
	read        *deploy.Prepared // what was read last, for what tells of it afterwards
	amountsTold bool
	uploadTold  bool
}

// newDelivery makes the delivery of a job.
func (e *Engine) newDelivery(t target.Target, job *deploy.Job) *delivery {
	return &delivery{
		number: e.count.Add(1), target: t, chain: e.cfg.Store.Chain(t.Namespace), job: job, checked: t.Check == "",
	}
}

// sortDeliveries puts them into the order in which locks are taken, so that two pushes never wait for each other. Each
// line about one of several names its chain.
func sortDeliveries(all []*delivery) {
	slices.SortFunc(all, func(a, b *delivery) int { return cmp.Compare(a.target.Namespace, b.target.Namespace) })
	if len(all) > 1 {
		for _, d := range all {
			d.label = labelOf(d.target)
		}
	}
}

// labelOf starts a line about one of several deliveries.
func labelOf(t target.Target) string { return string(t.Namespace) + ": " }

// ReasonHeadSince: a head has come after the one that force was told of. About: its id.
const ReasonHeadSince fault.Reason = "head-since"

// idle tells whether there is nothing to deploy.
func (d *delivery) idle() bool { return d.verdict != nil && d.verdict.Idle() }

// takeVerdict takes a new verdict in. Force overrides nothing but the head that its user was told of.
func (d *delivery) takeVerdict(v *deploy.Verdict) error {
	head := record.ID(0)
	if v.Forced != nil {
		head = v.Forced.Head.ID
	}
	if d.judged && v.Forced != nil && head != d.forcedHead {
		conflict := *v.Forced
		conflict.Reason, conflict.About, conflict.Remedy = ReasonHeadSince, []string{fmt.Sprint(head)}, ""
		return &conflict
	}
	if d.judged && v.Again != 0 && !slices.Contains(d.job.Again, v.Again) && v.Again != d.seenHead {
		return &deploy.ConflictError{
			Namespace: d.target.Namespace, Head: v.Head, Reason: ReasonHeadSince, About: []string{fmt.Sprint(v.Again)},
			Why: "that took back what comes back with this " + string(d.job.Kind),
		}
	}
	if !d.judged && v.Head != nil {
		d.seenHead = v.Head.ID
	}
	d.verdict, d.judged, d.forcedHead = v, true, head
	return nil
}

// isNewer tells whether a verdict has another head than the one before.
func isNewer(v, before *deploy.Verdict) bool {
	return v.Head != nil && (before.Head == nil || v.Head.ID != before.Head.ID)
}

// isRefusal tells a refusal of one delivery from trouble that concerns all.
func isRefusal(err error) bool {
	var conflict *deploy.ConflictError
	return errors.As(err, &conflict) ||
		!deploy.IsEtcd(err) && (fault.Is(err, fault.Conflict) || fault.Is(err, fault.Refused))
}

// concernsAll tells trouble with etcd, the repository or the server from what is wrong with one delivery.
func concernsAll(err error) bool {
	var left *leftError
	return !isRefusal(err) && !errors.As(err, &left) && !errors.Is(err, deploy.ErrLockLost)
}
