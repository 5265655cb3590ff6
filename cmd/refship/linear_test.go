package main

// What a user gains from these tests: however pushes meet, and whatever dies or stands still meanwhile, everybody was
// told the truth: there is one order of all deploys in which each answer that anybody got was right at a moment between
// question and answer.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
)

var (
	linearFor  = flag.Duration("linear.for", 4*time.Second, "how long each linearizability test pushes")
	linearSeed = flag.Uint64("linear.seed", 0, "seed of the linearizability tests; 0: a new one")
)

// TestLinearizableOneServer: pushers to one server with an embedded etcd, which is killed and started again.
func TestLinearizableOneServer(t *testing.T) {
	t.Parallel()
	testLinearizable(t, 1, []string{"config", "site"}, 5)
}

// TestLinearizableTwoServers: two servers on one etcd, and all three of them are killed, paused and started again.
func TestLinearizableTwoServers(t *testing.T) {
	t.Parallel()
	fixture.Need(t, fixture.Program)
	testLinearizable(t, 2, []string{"config"}, 4)
}

func testLinearizable(t *testing.T, servers int, repos []string, pushers int) {
	seed := *linearSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	users := []string{"closer"}
	for i := range pushers {
		users = append(users, fmt.Sprintf("user%d", i+1))
	}
	a := newArena(t, servers, repos, users...)

	// soft ends new pushes, hard those that hang.
	soft, stopPushing := context.WithTimeout(t.Context(), *linearFor+2*patience)
	defer stopPushing()
	hard, cancel := context.WithTimeout(t.Context(), *linearFor+6*patience)
	defer cancel()
	reading, stopReading := context.WithCancel(hard)
	defer stopReading()
	var clients, readers errgroup.Group
	for i, user := range users[1:] {
		p := a.newPusher(i+1, user, repos[i%len(repos)], rand.New(rand.NewPCG(seed, uint64(i+1))))
		clients.Go(func() error { return p.run(soft, hard) })
	}
	readers.Go(func() error { a.readHeads(reading, pushers+1); return nil })
	readers.Go(func() error { a.readHeads(reading, pushers+2); return nil })
	readers.Go(func() error { a.readRefs(reading, pushers+3); return nil })
	stolen := 0
	readers.Go(func() error { stolen = a.steal(soft, rand.New(rand.NewPCG(seed, 1000))); return nil })
	faults := a.disturb(soft, rand.New(rand.NewPCG(seed, 0)))
	stopPushing()
	err := clients.Wait()
	closer := a.newPusher(0, "closer", "", nil)
	for _, repo := range repos {
		closer.repo = repo
		a.finish(hard, closer)
	}
	stopReading()
	_ = readers.Wait() // always nil
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d faults, %d locks taken away; pushes were told: %s", faults, stolen, a.outcomes())
	if !a.meaningful() {
		t.Error("too few pushes were published or refused: the history says little")
	}
	for _, repo := range repos {
		a.checkChain(repo)
	}
	a.history.check(t)
	if !t.Failed() {
		a.history.checkCorrupted(t)
	}
}

// disturb kills, pauses and starts again for the time that the flag names, and on, where the machine is slow, until the
// history says something or ctx ends; then everything runs. It gives how often.
func (a *arena) disturb(ctx context.Context, random *rand.Rand) (faults int) {
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for end := time.Now().Add(*linearFor); ctx.Err() == nil; faults++ {
		// Between two faults there has to be time for a push, however long one takes here.
		hold(ctx, 300*time.Millisecond+upTo(1500*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-a.deployed:
		case <-time.After(3 * time.Second):
		}
		if time.Now().After(end) && a.meaningful() {
			return faults
		}
		s := a.servers[random.IntN(len(a.servers))]
		if a.etcd == nil {
			s.kill()
			s.start()
			continue
		}
		switch random.IntN(5) {
		case 0:
			s.kill()
			s.start()
		case 1:
			a.fatal(a.etcd.Restart())
		case 2:
			a.fatal(a.etcd.Pause())
			hold(ctx, upTo(2*time.Second))
			a.fatal(a.etcd.Resume())
		case 3: // perhaps for longer than its lease lives
			_ = s.server.cmd.Process.Signal(syscall.SIGSTOP)
			hold(ctx, upTo(2*time.Second))
			_ = s.server.cmd.Process.Signal(syscall.SIGCONT)
		case 4: // both: what is on its way to etcd outlives who sent it
			a.fatal(a.etcd.Pause())
			hold(ctx, upTo(500*time.Millisecond))
			s.kill()
			a.fatal(a.etcd.Resume())
			s.start()
		}
	}
	return faults
}

// fatal ends the test where a fault could not be made.
func (a *arena) fatal(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// hold lasts d, or until ctx ends.
func hold(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// steal now and then ends the lease of a lock that was just taken, as when its server does not reach etcd for a minute,
// until ctx ends. It gives how often.
func (a *arena) steal(ctx context.Context, random *rand.Rand) (stolen int) {
	for ctx.Err() == nil {
		client, err := a.dial(ctx)
		if err != nil {
			continue // it is killed or paused just now; dialling takes its time
		}
		stolen += stealWith(ctx, client, random)
		_ = client.Close()
	}
	return stolen
}

func stealWith(ctx context.Context, client *clientv3.Client, random *rand.Rand) (stolen int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for answer := range client.Watch(ctx, namespaceOf(""), clientv3.WithPrefix()) {
		for _, event := range answer.Events {
			taken := event.IsCreate() && strings.HasSuffix(string(event.Kv.Key), "/refship/lock")
			if !taken || random.IntN(2) == 0 {
				continue
			}
			hold(ctx, time.Duration(random.Int64N(int64(10*time.Millisecond))))
			if _, err := client.Revoke(ctx, clientv3.LeaseID(event.Kv.Lease)); err != nil {
				return stolen
			}
			stolen++
		}
	}
	return stolen
}

// finish brings a repository of all servers and its chain to one commit, which contains all that any of them has.
func (a *arena) finish(ctx context.Context, p *pusher) {
	a.Helper()
	commit, err := p.commit(ctx, p.catchUp(ctx)...)
	if err != nil {
		a.Fatal(err)
	}
	for _, s := range a.servers {
		p.push(ctx, s, commit, true, 0)
		// A lock that a killed server left in etcd may have to run out first.
		for err := a.sshDeploy(p.client, s, p.repo); err != nil; err = a.sshDeploy(p.client, s, p.repo) {
			if ctx.Err() != nil {
				a.Fatal(err)
			}
			a.Log(err)
		}
		ref := s.must("git", "--git-dir", s.gitDir(p.repo), "rev-parse", "refs/heads/main")
		head := field(a.T, s.must("refship", "log", "--json", "-n", "1", "--namespace", namespaceOf(p.repo)), "hash")
		if ref != commit || head != commit {
			a.Errorf("%s: the ref is at %s, the chain at %s, want %s", refOf(s, p.repo), ref, head, commit)
		}
	}
}

// checkChain reads a whole chain: no gap, each deploy on top of the one before, every deploy that a client was told of
// there, once.
func (a *arena) checkChain(repo string) {
	a.Helper()
	client, err := a.dial(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	defer client.Close()
	var chain []*record.Deploy
	err = store.Open(client, record.Namespace(namespaceOf(repo))).Log(a.Context(), 0, func(d *record.Deploy) error {
		chain = append([]*record.Deploy{d}, chain...)
		return nil
	})
	if err != nil {
		a.Fatal(err)
	}
	at := map[string]int{}
	previous := &record.Deploy{}
	for i, d := range chain {
		r := d.Record
		if int(d.ID) != i+1 || r == nil {
			a.Fatalf("%s: deploy %d stands where %d should, record %v", repo, d.ID, i+1, r)
		}
		sum := sha256.Sum256(previous.RecordBytes)
		switch {
		case r.PreviousHash != previous.Hash, r.PreviousRecord.ID != previous.ID:
			a.Errorf("%s: deploy %d names deploy %d %s as the one before, which is %d %s", repo, d.ID, r.PreviousRecord.ID,
				r.PreviousHash, previous.ID, previous.Hash)
		case i > 0 && r.PreviousRecord.SHA256 != hex.EncodeToString(sum[:]):
			a.Errorf("%s: deploy %d has another sha256 of the record before", repo, d.ID)
		case !a.history.commits.contains(string(d.Hash), string(previous.Hash)):
			a.Errorf("%s: deploy %d, %s, does not contain %s", repo, d.ID, d.Hash, previous.Hash)
		case at[string(d.Hash)] != 0:
			a.Errorf("%s: %s is deployed as %d and as %d", repo, d.Hash, at[string(d.Hash)], d.ID)
		}
		at[string(d.Hash)], previous = i+1, d
	}
	told := 0
	for _, op := range a.history.operations {
		for _, fact := range op.Facts {
			if fact.Object != namespaceOf(repo) || fact.What != factPublished {
				continue
			}
			if told++; at[fact.Commit] != fact.ID {
				a.Errorf("%s: client %d was told that %s is deploy %d; the chain has it as %d", repo, op.Client, fact.Commit,
					fact.ID, at[fact.Commit])
			}
		}
	}
	a.history.resolve(namespaceOf(repo), at)
	a.Logf("%s: %d deploys, of %d a client was told at once", repo, len(chain), told)
}
