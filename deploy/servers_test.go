package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// server is one of several that publish into one chain: it has a connection, a lease, a repository and a name of its
// own.
type server struct {
	*setup
	name string
}

func newServer(t *testing.T, endpoint, name string) *server {
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &server{newSetupOn(t, client), name}
}

// push deploys a commit as a server does that has just got it.
func (s *server) push(commit tree.OID) (*record.Deploy, error) {
	repo, err := git.OpenRepository(s.Context(), s.repo.Dir, nil)
	if err != nil {
		return nil, err
	}
	defer repo.Close()
	job := &deploy.Job{
		Kind: record.KindPush, Repo: repo, Commit: commit, Frontend: record.Files, Repository: "config", Target: "default",
		Ref: "refs/heads/main", Pusher: record.Pusher{Name: s.name, Via: "ssh"}, Server: s.name, Signer: s.signer,
	}
	who := holder
	who.Host = s.name
	d, already, err := s.chain.Do(s.Context(), who, job, time.Minute, quiet)
	if already {
		return nil, fmt.Errorf("deploy %d is there already", d.ID)
	}
	return d, err
}

// Two servers with a repository each and one etcd: the slower user is told who was faster, catches up as the hint
// says, and goes on. Each deploy that was accepted follows the one before, none is lost, none is there twice.
func TestTwoServersOnOneEtcd(t *testing.T) {
	endpoint := fixture.ServeEtcd(t)
	servers := []*server{newServer(t, endpoint, "a.example.org"), newServer(t, endpoint, "b.example.org")}
	root := servers[0].repo.commit("root", files{"f": regular("0")})
	if _, err := servers[0].push(root); err != nil {
		t.Fatal(err)
	}
	const each = 12
	var mu sync.Mutex
	accepted := map[record.ID]string{1: root.String()}
	parents := map[string]string{root.String(): ""}
	conflicts := 0
	var group errgroup.Group
	for i, s := range servers {
		other := servers[1-i]
		group.Go(func() error {
			base := root
			s.repo.Git("fetch", "-q", servers[0].repo.Dir, root.String())
			for n := 0; n < each; {
				name := fmt.Sprintf("%s %d", s.name, n)
				commit := s.repo.commitTree(s.repo.mktree("100644 blob "+s.repo.Blob(name).String()+"\tf\x00"), base)
				d, err := s.push(commit)
				var conflict *deploy.ConflictError
				switch {
				case errors.As(err, &conflict):
					from := "repository config on server " + other.name
					if !strings.Contains(err.Error(), "by "+other.name) || !strings.Contains(err.Error(), "it came from "+from) ||
						!strings.Contains(conflict.Remedy, "with the URL of "+from) {
						return fmt.Errorf("%w; %s", err, conflict.Remedy)
					}
					s.repo.Git("fetch", "-q", other.repo.Dir, string(conflict.Head.Hash))
					base = conflict.Head.Hash.OID()
					mu.Lock()
					conflicts++
					mu.Unlock()
					continue
				case err != nil:
					return err
				}
				mu.Lock()
				if was, twice := accepted[d.ID]; twice {
					t.Errorf("deploy %d is both %s and %s", d.ID, was, d.Hash)
				}
				accepted[d.ID], parents[commit.String()] = commit.String(), base.String()
				mu.Unlock()
				base = commit
				n++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	f := servers[0].setup
	const all = 1 + 2*each
	if head := f.head(); head != all || len(accepted) != all || conflicts == 0 {
		t.Errorf("head %d, %d accepted, %d conflicts", head, len(accepted), conflicts)
	}
	for id := record.ID(1); id <= all; id++ {
		d := f.get(id)
		if string(d.Hash) != accepted[id] || string(d.Record.PreviousHash) != parents[accepted[id]] || d.Record.Forced {
			t.Errorf("deploy %d of %s, accepted was %s on %s: %s", id, d.Hash, accepted[id], parents[accepted[id]],
				d.RecordBytes)
		}
	}
	f.provenChain(all)
	if f.dump()[own+"lock"] != "" {
		t.Error("the lock is left")
	}
}

// A server that loses its connection while it holds the lock, and comes back after another has deployed, publishes
// nothing.
func TestAServerThatWasCutOffPublishesNothing(t *testing.T) {
	endpoint := fixture.ServeEtcd(t)
	a, b := newServer(t, endpoint, "a"), newServer(t, endpoint, "b")
	root := a.repo.commit("root", files{"f": regular("0")})
	if _, err := a.push(root); err != nil {
		t.Fatal(err)
	}
	stale := a.repo.commit("stale", files{"f": regular("a")}, root)
	p, _ := a.uploaded(stale)
	a.revokeAll() // what etcd does with a server that is cut off for long
	b.repo.Git("fetch", "-q", a.repo.Dir, root.String())
	fresh := b.repo.commitTree(b.repo.mktree(""), root)
	if _, err := b.push(fresh); err != nil {
		t.Fatal(err)
	}
	before := a.dump()
	if d, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("deploy %+v, %v", d, err)
	}
	_, err := a.push(stale)
	wantError[*deploy.ConflictError](t, err, `/refship/config is at deploy 2, `+fresh.String()[:7]+
		` "a commit", by b, just now; it came from repository config on server b`, "with the URL of")
	if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("again: %v", err)
	}
	a.unchanged(before)
}
