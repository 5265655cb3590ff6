package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
)

// arena is where pushers meet: servers, each with its own data directory, and their etcd.
type arena struct {
	*testing.T
	dir     string
	servers []*arenaServer
	etcd    *fixture.Process // nil: embedded in the only server
	repos   []string
	history *history

	deployed chan struct{} // has one if a push was published since the last look

	mu     sync.Mutex
	counts map[string]int
}

// arenaServer is a server that may be killed and started again.
type arenaServer struct {
	*world
	name    string
	address atomic.Pointer[string] // of the latest start
}

func (s *arenaServer) start() {
	s.Helper()
	s.serve("")
	address := strings.TrimSuffix(s.world.url, "/config")
	s.address.Store(&address)
}

func (s *arenaServer) url(repo string) string { return *s.address.Load() + "/" + repo }

func (s *arenaServer) gitDir(repo string) string { return s.in("data/repos/" + repo + ".git") }

// newArena starts servers, on an etcd of their own where there are several.
func newArena(t *testing.T, servers int, repos []string, users ...string) *arena {
	a := &arena{T: t, repos: repos, history: newHistory(), counts: map[string]int{}, deployed: make(chan struct{}, 1)}
	for i := range servers {
		s := &arenaServer{world: newWorld(t), name: fmt.Sprintf("server%d", i+1)}
		a.servers = append(a.servers, s)
	}
	a.dir = a.servers[0].dir
	for _, user := range users {
		a.servers[0].must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", a.key(user))
	}
	if servers > 1 {
		// a member alone need not wait for others
		a.etcd = fixture.StartProcess(t, "--heartbeat-interval=10", "--election-timeout=100")
	}
	for _, s := range a.servers {
		if a.etcd != nil {
			s.env = append(s.env, "REFSHIP_ENDPOINTS="+a.etcd.URL())
		}
		for _, user := range users {
			s.must("refship", "key", "add", user, "--key", a.key(user)+".pub", "--allow", "deploy:*")
		}
		for _, repo := range repos {
			if repo != "config" { // the world has that one
				s.must("refship", "repo", "create", repo)
			}
		}
		s.start()
	}
	if a.etcd != nil {
		var worlds []*world
		for _, s := range a.servers {
			worlds = append(worlds, s.world)
		}
		trustEachOther(worlds...)
	}
	return a
}

func (a *arena) key(user string) string { return filepath.Join(a.dir, "key-"+user) }

// env is that of a user's git.
func (a *arena) env(user string) []string {
	return append(slices.Clone(a.servers[0].env),
		fixture.SSHCommand(a.key(user), ""))
}

func (a *arena) newPusher(client int, name, repo string, random *rand.Rand) *pusher {
	p := &pusher{arena: a, client: client, name: name, repo: repo, random: random,
		clone: filepath.Join(a.dir, name+".git")}
	a.servers[0].must("git", "init", "-q", "--bare", p.clone)
	return p
}

// dial gives a client of the etcd that holds the chains.
func (a *arena) dial(ctx context.Context) (*clientv3.Client, error) {
	endpoint := etcd.Socket(a.servers[0].in("data/etcd"))
	if a.etcd != nil {
		endpoint = a.etcd.URL()
	}
	return etcd.Dial(ctx, etcd.Config{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)})
}

func (a *arena) count(repo string, facts ...observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, fact := range facts {
		what := fact.What
		if what == "" {
			what = "nothing"
		}
		kind := "ref"
		if isChain(fact.Object) {
			kind = "chain"
		}
		a.counts[kind+" "+what]++
		if what == factPublished {
			select {
			case a.deployed <- struct{}{}:
			default:
			}
		}
	}
	a.counts["pushes to "+repo]++
}

// meaningful tells whether enough has happened for a history to say something.
func (a *arena) meaningful() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts["chain "+factPublished] >= 5 && a.counts["chain "+factConflict] >= 2
}

// outcomes says how often pushes were told what.
func (a *arena) outcomes() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(a.counts)) {
		parts = append(parts, fmt.Sprintf("%s: %d", what, a.counts[what]))
	}
	return strings.Join(parts, ", ")
}

// readHeads reads the chains as a node does, until ctx ends. What etcd does not answer is no observation.
func (a *arena) readHeads(ctx context.Context, client int) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	var conn *clientv3.Client
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
			return
		case <-tick.C:
		}
		if conn == nil {
			fresh, err := a.dial(ctx)
			if err != nil {
				continue
			}
			conn = fresh
		}
		repo := a.repos[i%len(a.repos)]
		call := a.history.now()
		head, err := store.Open(conn, record.Namespace(namespaceOf(repo))).Head(ctx)
		if err != nil {
			continue
		}
		fact := observation{Object: namespaceOf(repo), What: factHead}
		if head != nil {
			fact.ID, fact.Hash = int(head.ID), string(head.Hash)
		}
		a.history.add(client, "read the head of "+repo, call, "", fact)
	}
}

// readRefs reads the servers' refs, and a chain as refship log has it, until ctx ends.
func (a *arena) readRefs(ctx context.Context, client int) {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s, repo := a.servers[i%len(a.servers)], a.repos[i/len(a.servers)%len(a.repos)]
		call := a.history.now()
		told, err := s.run("git", "--git-dir", s.gitDir(repo), "rev-parse", "--verify", "--quiet", "refs/heads/main")
		if err == nil {
			a.history.add(client, "git rev-parse "+refOf(s, repo), call, told, observation{Object: refOf(s, repo), What: factRef,
				Hash: told})
		}
		if i%3 != 0 {
			continue
		}
		call = a.history.now()
		told, err = s.run("refship", "log", "--json", "-n", "1", "--namespace", namespaceOf(repo))
		if err == nil && told != "" && ctx.Err() == nil {
			fact := observation{Object: namespaceOf(repo), What: factHead, ID: atoi(field(a.T, told, "id")),
				Hash: field(a.T, told, "hash")}
			a.history.add(client, "refship log "+repo, call, told, fact)
		}
	}
}

// sshDeploy asks a server to bring a repository's chain to where its ref is, and takes down what it said.
func (a *arena) sshDeploy(client int, s *arenaServer, repo string) error {
	call := a.history.now()
	address, _ := strings.CutPrefix(*s.address.Load(), "ssh://git@127.0.0.1:")
	cmd := exec.Command("ssh", "-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-i", a.key("closer"), "-p", address, "git@127.0.0.1", "deploy", repo)
	out, err := cmd.CombinedOutput()
	told := string(out)
	a.history.add(client, "ssh "+s.name+" deploy "+repo, call, told,
		readDeploy(told, a.history.commits, namespaceOf(repo))...)
	if err != nil {
		return fmt.Errorf("ssh %s deploy %s: %w\n%s", s.name, repo, err, told)
	}
	return nil
}

// What `ssh HOST deploy REPO` says.
var (
	deployPublished = regexp.MustCompile(
		`deploy (\d+) published in .*: ([0-9a-f]{7})(?: replaces ([0-9a-f]{7})| is the first)`)
	// What a push left, and is deployed already, need not be the head.
	deployAlready  = regexp.MustCompile(`(?m)^(?:\S+: )?([0-9a-f]{7}) is already deployed as (\d+) of`)
	deployConflict = regexp.MustCompile(`/\S+ is at deploy (\d+), ([0-9a-f]{7}) `)
)

func readDeploy(told string, commits *lineage, namespace string) []observation {
	var facts []observation
	for _, m := range deployPublished.FindAllStringSubmatch(told, -1) {
		facts = append(facts, observation{Object: namespace, What: factPublished, ID: atoi(m[1]), Commit: commits.full(m[2]),
			Hash: fullOrNone(commits, m[3])})
	}
	for _, m := range deployAlready.FindAllStringSubmatch(told, -1) {
		facts = append(facts, observation{Object: namespace, What: factHead, ID: atoi(m[2]), Hash: commits.full(m[1])})
	}
	for _, m := range deployConflict.FindAllStringSubmatch(told, -1) {
		facts = append(facts, observation{Object: namespace, What: factHead, ID: atoi(m[1]), Hash: commits.full(m[2])})
	}
	return facts
}
