package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks/intent"
	"refship/hooks/target"
)

type repoRemoveCmd struct {
	storeFlags
	Name        string `arg:"" complete:"repo" help:"The repository's name."`
	KeepChain   bool   `help:"What was deployed stays in etcd, and nodes go on with it."`
	DeleteChain bool   `help:"Delete what was deployed, too, out of the etcd of the server on the data directory, or of --endpoints. It asks for the repository's name again, on standard input."`
}

func (*repoRemoveCmd) Help() string {
	return "Removes a repository with all that was pushed to it. One of --keep-chain and --delete-chain says what " +
		"becomes of its deploys. It waits up to 5 seconds for pushes and deploys that run in the repository. " +
		"Rules of keys are not changed: those that point nowhere afterwards are named."
}

// Run removes the repository. A chain is deleted before it, so that a failure leaves a repository with which to try
// again, and no chain that no repository has.
func (c *repoRemoveCmd) Run(ctx context.Context, a *app) (err error) {
	if c.KeepChain == c.DeleteChain {
		return fault.New(fault.Usage, "give one of --keep-chain and --delete-chain",
			"with --keep-chain what was deployed stays in etcd; with --delete-chain it goes, too")
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	repo, dir, err := findRepo(a, c.dataFlag, c.Name)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	check, what := refuseLeft(repo.Name), "its deploys stay in "
	if c.DeleteChain {
		what = "its deploys are deleted from "
		client, err := c.openForDelete(ctx, a, repo)
		if err != nil {
			return err
		}
		defer closeInto(&err, client)
		if err := askName(ctx, a, repo); err != nil {
			return err
		}
		check = func(gitDir string) error { return deleteChains(ctx, a, client, repo, gitDir) }
	}
	if err := dir.repos().Remove(ctx, repo.Name, check); err != nil {
		return err
	}
	said := "repository " + repo.Name + " removed"
	if len(repo.Targets) > 0 {
		said += "; " + what + namespacesOf(repo)
	}
	dir.note(ctx, a, "repo remove: %s", said)
	a.say("%s", said)
	return sayRules(a, dir, repo.Name, "")
}

// openForDelete opens the etcd that has the chains. It refuses those that are not refship's alone.
func (c *repoRemoveCmd) openForDelete(ctx context.Context, a *app, repo *repos.Repository) (*etcd.Client, error) {
	for _, t := range repo.Targets {
		if t.Frontend.IsMgmt() {
			return nil, fault.New(fault.Refused, fmt.Sprintf("%s is mgmt's, too, and is not deleted", t.Namespace),
				"remove the repository with --keep-chain")
		}
	}
	return c.connect(ctx, a, quietLog(a))
}

// askName wants the repository's name once more.
func askName(ctx context.Context, a *app, repo *repos.Repository) error {
	fmt.Fprintf(a.stderr, "refship: this deletes %s and all deploys in %s; type the repository's name to go on: ",
		repo.Name, namespacesOf(repo))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(a.stdin, 1000)).ReadString('\n') // what cannot be read is no name
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case said := <-answer:
		if !isTerminal(a.stdin) {
			fmt.Fprintln(a.stderr)
		}
		if said != repo.Name {
			return fault.New(fault.Failed, fmt.Sprintf("nothing was removed: %q is not %q", said, repo.Name), "")
		}
	}
	return nil
}

// chainWait is how long a push may keep a chain from being deleted.
const chainWait = 10 * time.Second

// deleteChains deletes the chains of a repository that nothing uses, if its targets are still those that were asked
// about.
func deleteChains(ctx context.Context, a *app, client *etcd.Client, repo *repos.Repository, gitDir string) error {
	now, err := target.ReadTargets(gitDir)
	if err != nil {
		return err
	}
	if !slices.Equal(now, repo.Targets) {
		return fault.New(fault.Conflict, "the targets of "+repo.Name+" have changed meanwhile", "look at them, and try again")
	}
	store := newStore(client, nil, quietLog(a))
	defer func() { _ = releaseLocks(store) }()
	var chains []*deploy.Chain
	for _, ns := range target.Namespaces(repo.Targets) { // sorted, as pushes take their locks
		chains = append(chains, store.Chain(ns))
	}
	who, err := holderOf(a, repo.Name, "")
	if err != nil {
		return err
	}
	return deleteAll(ctx, chains, who)
}

// deleteAll deletes chains, each in a txn of its own. Nothing is deleted before all of their locks are held and none of
// them is found on hold. What fails after that leaves chains whole or gone, and the next try deletes the others.
func deleteAll(ctx context.Context, chains []*deploy.Chain, who record.Holder) (err error) {
	var locks []*deploy.Lock
	defer func() {
		for _, lock := range locks {
			_ = lock.Unlock(ctx) // a txn has taken it, or the error is the other one
		}
	}()
	for _, chain := range chains {
		lock, err := chain.Lock(ctx, who, chainWait, func(h record.Holder, _ time.Duration) {
			if intent.ProcessLife(h.Process) == intent.Ended { // such as an earlier try
				_, _ = chain.BreakDeadLock(ctx, func(is record.Holder) bool { return is.Process == h.Process })
			}
		})
		if err != nil {
			return err
		}
		locks = append(locks, lock)
		state, err := chain.State(ctx)
		if err != nil {
			return err
		}
		if state.Hold != nil {
			return deploy.HeldError(chain.Namespace(), state.Hold)
		}
	}
	for i, chain := range chains {
		if err := chain.Delete(ctx, locks[i]); err != nil {
			return err
		}
	}
	return nil
}
