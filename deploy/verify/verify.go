package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/deploy/witness"
	"refship/keys"
)

// Config says what to verify.
type Config struct {
	Chain   *store.Chain
	Allowed *keys.AllowedSigners // whose signatures count; nil: that is not known, and none is judged
	IDs     []record.ID          // of the deploys to verify; none: all, and what else is in the namespace
	Since   time.Time            // without IDs: leave out those before; zero: none
	// Witnesses are those whose names mean something: what is stored under one must be signed by it.
	Witnesses []witness.Witness
	// OpenPGP says of an OpenPGP signature of git's whether it Holds, and whose it is, Fails, is by an UnknownKey, and by
	// which, or cannot be checked. It may be called by several goroutines. nil: none is checked.
	OpenPGP  func(ctx context.Context, signed, signature []byte) (Answer, string, error)
	Deploy   func(*Deploy) error // is told of each deploy, newest first; its error ends Run; may be nil
	Progress func(text.Progress) // may be nil
}

// Check is one thing that can be proved of a deploy.
type Check string

// The checks, as the package documentation has them.
const (
	Record          Check = "record"
	Chain           Check = "chain"
	Signature       Check = "signature"
	Commit          Check = "commit"
	Ancestry        Check = "ancestry"
	Tree            Check = "tree"
	Contents        Check = "contents"
	Mgmt            Check = "mgmt"
	CommitSignature Check = "commit_signature"
	Tag             Check = "tag"
	Certificate     Check = "push_certificate"
	Log             Check = "log"
)

// Checks are all of them, in their order.
func Checks() []Check {
	return []Check{Record, Chain, Signature, Commit, Ancestry, Tree, Contents, Mgmt, CommitSignature, Tag, Certificate, Log}
}

// Answer says whether a check holds.
type Answer string

// The answers. Only Fails is a Finding.
const (
	Holds      Answer = "holds"
	Fails      Answer = "fails"
	None       Answer = "none"        // there is nothing to check
	NotStored  Answer = "not stored"  // etcd has not what would prove it
	NotChecked Answer = "not checked" // it is not known whose signature counts, or how to check it; or another check fails
	Expired    Answer = "expired"     // gc has taken something of it; what is there holds
	UnknownKey Answer = "unknown key" // what git signed: it is covered, and nobody vouches for the key
)

// State is what all answers make of a deploy.
type State string

// The states.
const (
	Sound      State = "sound"
	Unsigned   State = "unsigned" // sound, and nothing proves who made it
	Foreign    State = "foreign"
	Gone       State = "expired"
	NotTrusted State = "not trusted" // only its signature does not count
	Damaged    State = "damaged"     // something else does not hold
)

// States are all of them.
func States() []State { return []State{Sound, Unsigned, Foreign, Gone, NotTrusted, Damaged} }

// Finding is something that does not hold.
type Finding struct {
	Deploy record.ID // 0: it is no deploy's
	Check  Check     // "" where Deploy is 0
	Key    string    // raw bytes; of a value in chunks the key without a number, unless it is known which is wrong
	What   string    // for people; it has the key
	Cause  error     // fault.Corrupt, with what to do
}

// Deploy is what was found of a deploy.
type Deploy struct {
	*record.Deploy
	Signer  string // the allowed signer who signed it; "" if none did, or that is not known
	Answers map[Check]Answer
	// By says of commit, tag and push certificate who signed it, where that Holds; which key did, with UnknownKey; and
	// why that is NotChecked.
	By       map[Check]string
	Findings []Finding // some of them, if there are many

	lacks bool // something is missing
}

// State is what the answers make of it.
func (d *Deploy) State() State {
	for _, f := range d.Findings {
		if f.Check != Signature {
			return Damaged
		}
	}
	switch {
	case len(d.Findings) > 0:
		return NotTrusted
	case d.Record == nil:
		return Foreign
	case d.lacks:
		return Gone
	case d.Record.Signer == "":
		return Unsigned
	}
	return Sound
}

// Result is what came of it.
type Result struct {
	Head     *record.Deploy // nil: there is none
	Newest   *record.Deploy // the newest one with a record that is sound; nil: there is none among those verified
	Deploys  map[State]int
	Findings int      // in all
	First    *Finding // the first of them; nil: there is none
	Strays   []Finding
	Orphans  int // keys
	Keys     int // of contents and nodes that were read
	Bytes    int64
}

// maxFindings is how many findings of a deploy, and how many strays, are kept.
const maxFindings = 20

// run is one Run.
type run struct {
	cfg    Config
	chain  *store.Chain
	result *Result
	whole  bool // all deploys, and what else is in the namespace

	head    record.ID
	expired record.ID // as of the start
	pins    map[record.ID]bool
	trust   *record.Trust
	allowed *keys.AllowedSigners // what trust says, as far as the deploys so far need it
	signed  map[string]record.ID // trusted signers, and the lowest deploy of each so far
	vouched record.ID            // the id of the record that the last one names which is trusted; 0: none
	named   record.Ref           // what the last sound record names as the one below
	records record.ID            // the highest id that has a record
	isMgmt  bool                 // mgmt reads the chain

	things  things
	commits *store.Commits
	trees   map[inTree]tree.OID // what was found on the way to a path
	objects map[tree.OID]bool   // other git objects that deploys name
	blocks  map[string]bool     // keys of superblocks that payloads name, and whether they are there
	ownKeys int                 // how many the deploys have below NS/deploy/
	log     chainLog
	nodes   *store.Nodes // of mgmt's deploys
	held    int64        // bytes of memory that nodes takes

	telling  sync.Mutex
	progress text.Progress
}

// blockSize is how many deploys are looked at together.
const blockSize = 128

// Run verifies a chain. What does not hold is no error, and is in the Result: errors are trouble with the Reader, the
// end of ctx, and those of Config's functions. The Result is what was found before an error.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	r := &run{
		cfg: cfg, chain: cfg.Chain, result: &Result{Deploys: map[State]int{}},
		whole: len(cfg.IDs) == 0 && cfg.Since.IsZero(), pins: map[record.ID]bool{}, things: newThings(),
		trust: record.NewTrust(cfg.Allowed, cfg.Chain.Down), signed: map[string]record.ID{},
		commits: cfg.Chain.NewTolerantCommits(), trees: map[inTree]tree.OID{}, objects: map[tree.OID]bool{},
		blocks: map[string]bool{}, isMgmt: cfg.Chain.Namespace().IsMgmt(), progress: text.Progress{Step: "verifying"},
	}
	if err := r.run(ctx); err != nil {
		return r.result, fmt.Errorf("verify %s: %w", cfg.Chain.Namespace(), err)
	}
	return r.result, nil
}

func (r *run) run(ctx context.Context) error {
	if err := r.readMarks(ctx); err != nil || r.head == 0 && !r.whole {
		return err
	}
	if len(r.cfg.IDs) == 0 {
		if err := r.walk(ctx, r.head, r.cfg.Since); err != nil {
			return err
		}
	}
	for _, id := range r.cfg.IDs {
		if err := r.one(ctx, id); err != nil {
			return err
		}
	}
	if !r.whole {
		return nil
	}
	return r.rest(ctx)
}

// readMarks reads the head, and what may be expired.
func (r *run) readMarks(ctx context.Context) error {
	read := r.chain.State
	if r.whole {
		read = r.readHead
	}
	state, err := read(ctx)
	if err != nil {
		return err
	}
	if r.result.Head = state.Head; state.Head != nil {
		r.head = state.Head.ID
	}
	if r.whole {
		if err := r.readLog(ctx); err != nil {
			return err
		}
	}
	if state.Stored != nil {
		r.progress.BytesTotal = state.Stored.Bytes
	}
	if r.expired, err = r.chain.Expired(ctx); err != nil {
		return err
	}
	return r.chain.Scan(ctx, "/refship/"+record.PinPrefix, true, func(kv store.KeyValue) {
		if id, ok := record.PinnedID(strings.TrimPrefix(kv.Key, r.chain.Key(""))); ok {
			r.pins[id] = true
		}
	})
}

// errEnough ends a walk.
var errEnough = errors.New("no more is asked for")

// walk verifies all deploys from an id down.
func (r *run) walk(ctx context.Context, id record.ID, since time.Time) error {
	var block []*Deploy
	err := r.chain.Down(ctx, id, func(d *record.Deploy) error {
		if n := len(block); n > 0 {
			r.fits(block[n-1], d)
		}
		if d.Record != nil && d.Record.Time.Before(since) {
			return errEnough
		}
		if len(block) == blockSize {
			if err := r.block(ctx, block); err != nil {
				return err
			}
			block = nil
		}
		if err := r.follow(ctx, d); err != nil {
			return err
		}
		block = append(block, r.judge(d))
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
	case fault.Is(err, fault.Corrupt): // too many in a row are missing
		r.stray(err)
		r.log.isCut = true
	case err != nil:
		return err
	}
	return r.block(ctx, block)
}

// one verifies one deploy.
func (r *run) one(ctx context.Context, id record.ID) error {
	var found *Deploy
	err := r.chain.Down(ctx, id, func(d *record.Deploy) error {
		if found != nil {
			r.fits(found, d)
			return errEnough
		}
		r.vouched = 0
		if err := r.follow(ctx, d); err != nil {
			return err
		}
		found = r.judge(d)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || found == nil {
		return err
	}
	return r.block(ctx, []*Deploy{found})
}

// block verifies what deploys hold, and tells of them.
func (r *run) block(ctx context.Context, block []*Deploy) error {
	for _, verify := range []func(context.Context, []*Deploy) error{r.gitObjects, r.content, r.mgmtParts, r.logged} {
		if err := verify(ctx, block); err != nil {
			return err
		}
	}
	for _, d := range block {
		r.result.Deploys[d.State()]++
		if r.result.Newest == nil && d.Record != nil {
			r.result.Newest = d.Deploy
		}
		if r.cfg.Deploy == nil {
			continue
		}
		if err := r.cfg.Deploy(d); err != nil {
			return err
		}
	}
	return nil
}

// fail adds a finding to a deploy. An error that is no fault.Corrupt is given back.
func (r *run) fail(d *Deploy, check Check, err error) error {
	if err == nil {
		return nil
	}
	if !fault.Is(err, fault.Corrupt) {
		return err
	}
	r.add(d, check, newFinding(err))
	return nil
}

// add adds a finding to a deploy.
func (r *run) add(d *Deploy, check Check, f Finding) {
	f.Deploy, f.Check = d.ID, check
	d.Answers[check] = Fails
	if len(d.Findings) < maxFindings {
		d.Findings = append(d.Findings, f)
	}
	r.found(&f)
}

// newFinding makes a finding of what package record says of a key.
func newFinding(err error) Finding {
	f := Finding{What: strings.TrimPrefix(err.Error(), "verify "), Cause: err}
	if e := (*fault.Error)(nil); errors.As(err, &e) && e.Reason == record.ReasonDamaged {
		f.Key = e.About[0]
	}
	return f
}

func (r *run) found(f *Finding) {
	if r.result.Findings++; r.result.First == nil {
		first := *f
		r.result.First = &first
	}
}

// stray adds a finding that is no deploy's.
func (r *run) stray(err error) {
	f := newFinding(err)
	if len(r.result.Strays) < maxFindings {
		r.result.Strays = append(r.result.Strays, f)
	}
	r.found(&f)
}

// tell says how far it is.
func (r *run) tell(files int, bytes int64) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.progress.Files += files
	r.progress.Bytes += bytes
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.progress)
	}
}
