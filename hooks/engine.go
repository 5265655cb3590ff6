package hooks

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/witness"
	"refship/hooks/check"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/report"
	"refship/hooks/signed"
	"refship/hooks/status"
	"refship/hooks/target"
	"refship/hooks/turns"
	"refship/hooks/words"
	"refship/keys"
)

// Config is what an Engine needs, and a Server.
type Config struct {
	Store  *deploy.Store
	Signer ssh.Signer // signs records; nil: they stay unsigned
	// Rotation reads Signer, and the key that is to follow it, anew; nil: Signer stays.
	Rotation   func() (keys.Signers, error)
	Trust      signed.Trust        // whose signatures over pushes, commits and tags count
	Host       string              // host name, for records and locks
	Dir        string              // where checks run; of a Server also for the socket and the hooks, made 0700
	HookBinary string              // path of refship-hook; only a Server needs it
	MaxFile    int64               // the largest file that is deployed, in bytes; 0: any
	GitMemory  int64               // what git may take to read for all deploys together, in bytes; 0: any
	CheckLimit time.Duration       // how long a target's check may take; 0: 5 minutes
	Observe    func(report.Report) // is told of each push and requested deploy at its end; may be nil
	// Refused is told of each push and requested deploy that is not deployed, at its end; may be nil.
	Refused   func(context.Context, *report.Refusal)
	Published func()             // is called at once when a deploy was published; may be nil
	Step      func(report.Step)  // is told how far each delivery is; it must not wait; may be nil
	Remedy    func(error) string // words a remedy; nil: fault.RemedyOf
	// Redeploy is words.Commands.Own.
	Redeploy func(t target.Target, force bool) string
	Log      *slog.Logger
}

// Engine takes deliveries into their chains. Safe for concurrent use.
type Engine struct {
	cfg      Config
	process  string        // this one, for other processes on the machine
	every    time.Duration // how often long work shows progress
	lockWait time.Duration // how long a push waits for all its chain locks together
	loading  *turns.Turns  // of deliveries that are read and stored
	quiet    turns.Quiet   // of pushes and deploys
	checks   *check.Runner
	count    atomic.Uint64 // of deliveries so far
	alone    bool          // no other process takes pushes to the repositories
	running  sync.Map      // push ids → their repositories' directories
	looks    chan struct{} // a token for each push that looks at its refs: its git takes memory
	commands words.Commands
}

// looksAtOnce is how many pushes look at their refs at once.
const looksAtOnce = 2

// NewEngine makes an Engine for a process that shares its repositories with others. It asks etcd nothing yet.
func NewEngine(cfg Config) *Engine { return newEngine(cfg, false) }

func newEngine(cfg Config, alone bool) *Engine {
	e := &Engine{
		cfg:      cfg,
		process:  intent.ThisProcess(),
		every:    time.Second,
		lockWait: 30 * time.Second,
		loading:  turns.New(cfg.GitMemory),
		alone:    alone,
		looks:    make(chan struct{}, looksAtOnce),
	}
	e.commands.Own = cfg.Redeploy
	if cfg.Remedy == nil {
		e.cfg.Remedy = fault.RemedyOf
	}
	checks := check.Config{
		Dir: filepath.Join(cfg.Dir, "checks"), Limit: cfg.CheckLimit,
		Every: e.every, Log: cfg.Log,
	}
	if !alone { // Dir is <GIT_DIR>/refship
		checks.Shared = func() (fs.FileMode, error) { return git.SharedMode(filepath.Dir(cfg.Dir)) }
	}
	e.checks = check.NewRunner(checks)
	return e
}

// ListensOn tells on which port the SSH server takes commands, for hints.
func (e *Engine) ListensOn(port int) { e.commands.ListensOn(port) }

// SSH is how a user of the SSH server begins a command.
func (e *Engine) SSH() string { return e.commands.SSH() }

func (e *Engine) statusReader() *status.Reader {
	return &status.Reader{
		Store: e.cfg.Store, Redeploy: e.commands.RedeployTarget, Override: e.commands.Override,
		IsRunning: e.isRunning, Memory: e.loading.Memory(0),
	}
}

// Status compares every target's ref of a repository with its chain.
func (e *Engine) Status(ctx context.Context, name, gitDir string) ([]status.Status, error) {
	return e.statusReader().Read(ctx, name, gitDir)
}

// WriteStatus prints a repository's status for people.
func (e *Engine) WriteStatus(ctx context.Context, w io.Writer, name, gitDir string) error {
	return e.statusReader().Write(ctx, w, name, gitDir)
}

// WriteLog prints the chain of one target (by its name; "" if there is but one), at most limit deploys (0: all). It
// returns what is odd about the chain though it goes on.
func (e *Engine) WriteLog(ctx context.Context, w io.Writer, name, gitDir, only string, limit int) ([]string, error) {
	return status.WriteLog(ctx, w, e.cfg.Store, name, gitDir, only, limit)
}

// WriteNodes prints the nodes of a chain; see status.WriteNodes.
func (e *Engine) WriteNodes(ctx context.Context, w io.Writer, at Place) (where []string, behind bool, err error) {
	return status.WriteNodes(ctx, w, e.cfg.Store.Chain(at.Target.Namespace).Chain)
}

// Cosign stores a cosigned checkpoint; see deploy.Chain.Cosign.
func (e *Engine) Cosign(ctx context.Context, at Place, note []byte, by string) (*witness.Cosignature, error) {
	return e.cfg.Store.Chain(at.Target.Namespace).Cosign(ctx, note, by)
}

// Alone waits until no push and no deploy of this process is under way, and keeps new ones waiting until done is
// called. One that only waits for nodes is not under way; it does not ask etcd for them meanwhile.
func (e *Engine) Alone(ctx context.Context) (done func(), err error) { return e.quiet.Alone(ctx) }

// enter waits while work runs Alone, and tells the user so.
func (e *Engine) enter(ctx context.Context, out *output.Output) (leave func(), err error) {
	err = out.During("", "waiting for the upkeep of etcd", func(func(text.Progress)) (err error) {
		leave, err = e.quiet.Enter(ctx)
		return err
	})
	return leave, err
}

// step marks a failure point.
func (e *Engine) step(ctx context.Context, name string) {
	e.cfg.Log.DebugContext(ctx, "step", "at", name)
}

// begin registers a push: until its end it alone touches its intent.
func (e *Engine) begin(push, gitDir string) { e.running.Store(push, gitDir) }

func (e *Engine) end(push string) { e.running.Delete(push) }

func (e *Engine) isRunning(push string) bool {
	_, running := e.running.Load(push)
	return running
}

// isPushing tells whether a push to the repository at gitDir runs.
func (e *Engine) isPushing(gitDir string) (pushing bool) {
	e.running.Range(func(_, dir any) bool {
		pushing = dir == gitDir
		return !pushing
	})
	return pushing
}

// holder says who holds the lock for a job. The server is named by the key that signs now: that is how it knows the
// locks of its earlier run again.
func (e *Engine) holder(job *deploy.Job) record.Holder {
	h := record.Holder{
		User: job.Pusher.Name, Repository: job.Repository, Ref: job.Ref,
		Host: e.cfg.Host, Process: e.process, Since: time.Now().UTC(),
	}
	if signer := e.currentSigner(); signer != nil {
		h.Server = ssh.FingerprintSHA256(signer.PublicKey())
	}
	return h
}

// currentSigner is the key that signs now, as far as that can be read.
func (e *Engine) currentSigner() ssh.Signer {
	if e.cfg.Rotation != nil {
		if s, err := e.cfg.Rotation(); err == nil {
			return s.Now
		}
	}
	return e.cfg.Signer // the deploy tells what is wrong, when it is published
}

// NewJob makes the job to deploy a commit, or, with the zero oid and a Dir that the caller adds, a directory, with a
// target's settings.
func (e *Engine) NewJob(kind record.Kind, repository string, t target.Target, commit git.OID,
	who record.Pusher) *deploy.Job {
	signer := e.currentSigner()
	return &deploy.Job{
		Kind: kind, Commit: commit, Path: t.Path, Frontend: t.Frontend, Settings: t.Settings,
		Repository: repository, Target: t.Name, Ref: t.Ref, Pusher: who,
		Server: e.cfg.Host, Signer: signer, Rotation: e.cfg.Rotation, MaxFile: e.cfg.MaxFile,
		AllowPointers: t.LFS == target.DeployPointers, Rings: t.Rings,
	}
}
