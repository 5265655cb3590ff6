package hooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"refship/deploy"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Config is what a Deployer needs, and a Server.
type Config struct {
	Store      *deploy.Store
	Signer     ssh.Signer                 // signs records; nil: they stay unsigned
	Host       string                     // host name, for records and locks
	Dir        string                     // where checks run; of a Server also for the socket and the hooks, made 0700
	HookBinary string                     // path of refship-hook; only a Server needs it
	MaxFile    int64                      // the largest file that is deployed, in bytes; 0: any
	CheckLimit time.Duration              // how long a target's check may take; 0: 5 minutes
	Observe    func(Report)               // told of each push and ssh deploy at its end; nil: nobody is
	Remedy     func(error) string         // what to do about an error, in the program's words; nil: as the error itself says
	Redeploy   func(target.Target) string // the command that deploys what a target's ref has, for hints; nil: ssh HOST deploy
	Log        *slog.Logger
}

// Deployer brings what repositories have into their chains. Safe for concurrent use.
type Deployer struct {
	cfg        Config
	signer     string              // fingerprint, or ""
	process    string              // this one, for other processes on the machine
	every      time.Duration       // how often long work shows progress
	lockWait   time.Duration       // how long a push waits for all its chain locks together
	turns      turns               // of those who read and store
	checks     *semaphore.Weighted // of the checks that run at a time
	checkGrace time.Duration       // how long a check may take to end when it is told to
	alone      bool                // no other process takes pushes to the repositories

	mu      sync.Mutex
	running map[string]string // push ids, and their repositories' directories
}

// NewDeployer makes a Deployer. It asks etcd nothing yet.
func NewDeployer(cfg Config) *Deployer {
	d := &Deployer{
		cfg:        cfg,
		process:    intent.ThisProcess(),
		every:      time.Second,
		lockWait:   30 * time.Second,
		turns:      newTurns(),
		checks:     semaphore.NewWeighted(maxChecks),
		checkGrace: checkGrace,
		running:    make(map[string]string),
	}
	if cfg.Remedy == nil {
		d.cfg.Remedy = hintOf
	}
	if cfg.CheckLimit == 0 {
		d.cfg.CheckLimit = defaultCheckLimit
	}
	if cfg.Signer != nil {
		d.signer = ssh.FingerprintSHA256(cfg.Signer.PublicKey())
	}
	return d
}

// newSession makes what a push's hooks share.
func (s *Deployer) newSession(p Push) *Session {
	id := make([]byte, 16)
	rand.Read(id)
	x := &Session{server: s, push: p, id: hex.EncodeToString(id), began: time.Now()}
	x.preparing, x.cancel = context.WithCancelCause(context.Background())
	x.publishing, x.abort = context.WithCancelCause(context.Background())
	return x
}

// redeploy is the command that deploys what a target's ref has, for hints.
func (s *Deployer) redeploy(repository string, t target.Target) string {
	if s.cfg.Redeploy != nil {
		return s.cfg.Redeploy(t)
	}
	return "ssh HOST deploy " + repository
}

// step marks a failure point.
func (s *Deployer) step(ctx context.Context, name string) {
	s.cfg.Log.DebugContext(ctx, "step", "at", name)
}

// start registers a push: until its end nobody else touches its intent.
func (s *Deployer) start(x *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[x.id] = x.push.Dir
}

func (s *Deployer) end(x *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, x.id)
}

func (s *Deployer) isRunning(push string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, running := s.running[push]
	return running
}

// isPushing tells whether a push to the repository at gitDir runs.
func (s *Deployer) isPushing(gitDir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range s.running {
		if dir == gitDir {
			return true
		}
	}
	return false
}

// holder is who a lock for this plan belongs to.
func (s *Deployer) holder(user, repository, ref string) record.Holder {
	return record.Holder{
		User: user, Repository: repository, Ref: ref,
		Host: s.cfg.Host, Server: s.signer, Process: s.process, Since: time.Now().UTC(),
	}
}

// job makes the wish to publish what repository's target has got.
func (s *Deployer) job(repository string, t target.Target, commit plumbing.Hash, who record.Pusher) *deploy.Job {
	return &deploy.Job{
		Kind: record.KindPush, Commit: commit, Path: t.Path, Frontend: t.Frontend, Settings: t.Settings,
		Repository: repository, Target: t.Name, Ref: t.Ref, Pusher: who,
		Server: s.cfg.Host, Signer: s.cfg.Signer, MaxFile: s.cfg.MaxFile,
	}
}
