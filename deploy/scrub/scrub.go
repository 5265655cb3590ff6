package scrub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Config says how to scrub.
type Config struct {
	Store    *deploy.Store
	Gentle   bool                // rest after each read
	Found    func(Finding)       // is told of each damaged key; may be nil
	Progress func(text.Progress) // may be nil
}

// Target is a chain, and the repository that is deployed into it.
type Target struct {
	Repository string // its name
	GitDir     string
	Namespace  record.Namespace
	Mgmt       bool // other writers may deploy there, too
}

// Finding is a key that was damaged.
type Finding struct {
	Namespace record.Namespace
	Deploy    record.ID // the head that needs it; 0: not known
	Key       string
	Path      string // of a directory or file of the tree that the key is about, raw bytes; "" is none, or the root
	Damage    string // what is wrong with it
	Failed    error  // why it was not repaired; nil: it was
}

// String says it in a line.
func (f Finding) String() string {
	words := f.Key
	if f.Path != "" {
		words += fmt.Sprintf(" (%q)", f.Path)
	}
	words += ": " + f.Damage
	if f.Failed == nil {
		return words + ": repaired"
	}
	return words + ": not repaired: " + f.Failed.Error()
}

// Result is what came of it.
type Result struct {
	Deploy     record.ID // the head that was read; 0: the chain has no deploy, or no head can be found
	Foreign    bool      // the head is another writer's, and was not looked into
	Keys       int       // read
	Bytes      int64
	Repaired   int
	Failed     int
	Strays     []Stray
	MoreStrays int // that are not in Strays
}

// Damaged is how many keys were damaged.
func (r *Result) Damaged() int { return r.Repaired + r.Failed }

// maxMoves is how often a scrub begins again because there is a new head: only after damage, and then it looks at
// little more than that.
const maxMoves = 20

// Run scrubs one target. The Result holds what was done before an error. Damage is no error, and told as it is found:
// errors are trouble with etcd, and the end of ctx.
func Run(ctx context.Context, cfg Config, t Target) (*Result, error) {
	s := &scrub{
		cfg: cfg, target: t, chain: cfg.Store.Chain(t.Namespace), pace: pace{gentle: cfg.Gentle},
		sound: map[named]bool{}, told: map[string]bool{}, result: new(Result), progress: text.Progress{Step: "reading"},
	}
	err := s.run(ctx)
	if s.source != nil {
		_ = s.source.repo.Close() // it was only read
	}
	if err != nil {
		err = fmt.Errorf("scrub %s: %w", t.Namespace, err)
	}
	return s.result, err
}

// named is a directory or content as the directory above names it. Equal sums do not make equal oids: a node may have
// been signed with the sha256 of another file.
type named struct {
	oid tree.OID
	sum tree.SHA256
}

// scrub is one Run.
type scrub struct {
	cfg    Config
	target Target
	chain  *deploy.Chain
	pace   pace
	head   *record.Deploy
	source *source // nil: not opened yet
	unfit  error   // why the repository cannot repair this head; nil: it can, or was not asked

	sound    map[named]bool  // and all that is below
	told     map[string]bool // keys that were told to be beyond repair
	result   *Result
	progress text.Progress
}

func (s *scrub) run(ctx context.Context) error {
	for move := 0; ; move++ {
		err := s.readHead(ctx)
		if err == nil && s.head != nil {
			err = s.all(ctx)
		}
		switch {
		case errors.Is(err, deploy.ErrHeadMoved) && move < maxMoves:
			continue
		case err != nil:
			return err
		}
		return s.findStrays(ctx)
	}
}

// readHead finds the head and judges it. There is none to scrub if nothing vouches for it.
func (s *scrub) readHead(ctx context.Context) error {
	s.head, s.unfit = nil, nil
	state, err := s.chain.State(ctx)
	if fault.Is(err, fault.Corrupt) {
		s.fail(string(s.target.Namespace), "", err.Error(), errNoHead)
		return nil
	}
	if err != nil || state.Head == nil {
		return err
	}
	d := state.Head
	s.result.Deploy = d.ID
	key := s.chain.DeployKey(d.ID, record.KeyRecord)
	if d.Record == nil && d.Damage == nil && s.target.Mgmt {
		s.result.Foreign = true
		return nil
	}
	if record.IsNewer(d.Damage) {
		return d.Damage // it is no damage
	}
	allowed, err := s.cfg.Store.Signers()
	if err == nil {
		allowed, err = record.NewTrust(allowed, s.chain.Down).Signers(ctx, d)
	}
	switch {
	case err != nil:
		return err
	case d.Damage == nil && allowed == nil:
		s.fail(key, "", "it is not known whose signatures count", errNoHead)
		return nil
	}
	if _, err := d.Judge(allowed); err != nil {
		s.fail(key, "", err.Error(), errNoHead)
		return nil
	}
	s.head = d
	s.progress.Files, s.progress.FilesTotal = 0, d.Record.Files
	return nil
}

var errNoHead = errors.New("nothing vouches for what this head needs")

// all reads what the head needs.
func (s *scrub) all(ctx context.Context) error {
	if err := s.objects(ctx); err != nil {
		return err
	}
	whole, err := s.dir(ctx, s.head.Record.Root(), "")
	if err != nil || !whole || !s.head.Record.Frontend.IsMgmt() {
		return err
	}
	return s.mgmtParts(ctx)
}

// mgmtParts reads what mgmt needs beside the tree, which is whole.
func (s *scrub) mgmtParts(ctx context.Context) error {
	parts, err := s.chain.MgmtParts(ctx, s.head)
	switch {
	case fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Refused) && !deploy.IsEtcd(err):
		s.fail(s.chain.DeployKey(s.head.ID, record.KeyPayload), "", err.Error(), errWrittenOnce)
		return nil
	case err != nil:
		return err
	}
	for _, part := range parts {
		if part.Value == nil {
			_, err = s.files(ctx, slices.Values([]file{{entry: part.File, path: part.Path, key: part.Key, uncut: true}}))
		} else {
			err = s.mgmtValue(ctx, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mgmtValue reads one that is made of the tree.
func (s *scrub) mgmtValue(ctx context.Context, part *store.MgmtPart) error {
	values, err := s.read(ctx, part.Key)
	if err != nil {
		return err
	}
	if values[0].Revision != 0 && part.Holds(values[0].Value) {
		return nil
	}
	if _, err := s.repository(ctx); err != nil { // the tree has vouched for it; the rule is one for all
		s.fail(part.Key, "", damageOf(values[0]), err)
		return nil
	}
	return s.put(ctx, part.Key, "", part.Value)
}

var errWrittenOnce = errors.New("what is below deploy/ is written once: publish it anew, with force")

// fail tells, once, of a key that is not repaired.
func (s *scrub) fail(key, path, damage string, why error) {
	if s.told[key] {
		return
	}
	s.told[key] = true
	s.result.Failed++
	s.found(Finding{Key: key, Path: path, Damage: damage, Failed: why})
}

func (s *scrub) found(f Finding) {
	f.Namespace, f.Deploy = s.target.Namespace, s.result.Deploy
	if s.cfg.Found != nil {
		s.cfg.Found(f)
	}
}

// repository gives the source of repairs, or says why the repository cannot repair this head.
func (s *scrub) repository(ctx context.Context) (*source, error) {
	if s.source == nil && s.unfit == nil {
		repo, err := git.OpenRepository(ctx, s.target.GitDir, nil)
		if err != nil {
			s.unfit = err
		} else {
			s.source = &source{repo: repo, known: map[tree.OID]tree.Entry{}}
		}
	}
	if s.unfit == nil && s.source.fits != s.head {
		if s.unfit = s.source.check(s.head, s.target.Repository); s.unfit == nil {
			s.source.fits = s.head
		}
	}
	return s.source, s.unfit
}
