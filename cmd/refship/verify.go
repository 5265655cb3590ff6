package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/verify"
	"refship/hooks/signed"
)

type verifyCmd struct {
	chainFlags
	witnessFlags
	Since      moment       `placeholder:"TIME" help:"Leave out deploys before TIME, as log --since does, and what else is in the namespace."`
	Repo       string       `placeholder:"DIR" help:"Also compare the head with the ref that it was deployed from, as it is in this repository."`
	Remember   string       `placeholder:"FILE" help:"Also prove that the head extends the one that FILE remembers, then remember this one there. Keep it where who writes to etcd cannot write."`
	Checkpoint string       `placeholder:"FILE" help:"Only prove that the chain's log extends this checkpoint, which refship head has printed. That reads no deploy but the one of the head."`
	JSON       bool         `help:"Print one line of JSON per deploy, and one about all: see the manual for their fields."`
	Deploys    []deployName `arg:"" optional:"" complete:"deploy" name:"chain" help:"CHAIN, for all of it, or [CHAIN@]ID, for some of its deploys. CHAIN is REPO or REPO:TARGET of the data directory."`
}

func (*verifyCmd) Help() string {
	return "Proves a chain from what etcd holds: that no deploy is missing or was changed, who signed each, that every " +
		"byte of every file is what was deployed, and that each commit leads back to the one before. What does not hold " +
		"is named, key by key, and the exit code is 5."
}

// verifiedJSON is what verify says of a deploy, for programs.
type verifiedJSON struct {
	ID       record.ID                      `json:"id"`
	Hash     record.Hash                    `json:"hash"`
	State    verify.State                   `json:"state"`
	Signer   string                         `json:"signer"` // the allowed signer; "" if none signed, or that is not known
	Checks   map[verify.Check]verify.Answer `json:"checks"`
	By       map[verify.Check]string        `json:"by"`       // who made git's signatures, or why they are not checked
	Findings []findingJSON                  `json:"findings"` // the first 20
}

type findingJSON struct {
	Check verify.Check `json:"check,omitempty"` // "" where it is no deploy's
	Key   string       `json:"key"`             // bytes that are not printable are escaped
	What  string       `json:"what"`
}

// allVerifiedJSON is what verify says of all, for programs.
type allVerifiedJSON struct {
	Namespace record.Namespace     `json:"namespace"`
	Head      record.ID            `json:"head"` // 0: none
	Deploys   map[verify.State]int `json:"deploys"`
	Findings  int                  `json:"findings"` // in all
	// GitSignatures are how many of commits, tags and push certificates have each answer.
	GitSignatures map[verify.Answer]int `json:"git_signatures"`

	Strays  []findingJSON `json:"strays"`  // of those, what is no deploy's: the first 20
	Orphans int           `json:"orphans"` // keys that no deploy needs
	Keys    int           `json:"keys"`    // of directories and contents, that were read
	Bytes   int64         `json:"bytes"`   // in them
}

func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	name, selected, err := c.which(a)
	if err != nil {
		return err
	}
	partly := len(selected) > 0 || c.Since.isSet
	if partly && (c.Remember != "" || c.Repo != "" || c.Witnesses != "") {
		return usagef("--remember, --repo and --witnesses are about all of a chain: leave out --since and IDs")
	}
	if c.Checkpoint != "" {
		if partly || c.Remember != "" || c.Repo != "" || c.JSON {
			return usagef("--checkpoint is by itself: leave out --since, --remember, --repo, --json and IDs")
		}
		return c.extends(ctx, a, name)
	}
	seen, err := c.readSeen()
	if err != nil {
		return err
	}
	return c.read(ctx, a, name, func(chain *store.Chain, _ io.Writer) error {
		bar := newProgressBar(a.stderr, a.now)
		v := newVerifyPrinter(c, a, bar)
		cfg := verify.Config{Chain: chain, Deploy: v.deploy}
		if cfg.Allowed, err = c.allowed(a); err != nil {
			return err
		}
		cfg.OpenPGP = c.openPGP(a, cfg.Allowed != nil)
		if c.Since.isSet {
			cfg.Since = c.Since.begin(a.now())
		}
		for _, id := range selected {
			d, err := c.find(ctx, a, chain, id)
			if err != nil {
				return err
			}
			cfg.IDs = append(cfg.IDs, d.ID)
		}
		policy, err := c.policy()
		if err != nil {
			return err
		}
		if cfg.Progress = bar.update; policy != nil {
			cfg.Witnesses = policy.Witnesses
		}
		result, err := verify.Run(ctx, cfg)
		bar.clear()
		if err != nil {
			return errors.Join(err, v.out.Flush())
		}
		if result.Head == nil {
			if err := c.checkKnown(a, chain.Namespace()); err != nil {
				return err
			}
		}
		if err := v.all(chain.Namespace(), result); err != nil {
			return err
		}
		v.signatures.tell(a, cfg.Allowed)
		return c.prove(ctx, a, chain, result, seen)
	})
}

// openPGP gives what judges OpenPGP signatures, by the keyring beside the allowed signers; nil where these are not known.
func (c *verifyCmd) openPGP(
	a *app, known bool,
) func(ctx context.Context, text, signature []byte) (verify.Answer, string, error) {
	path := c.AllowedSigners
	if dir, err := c.dir(a); path == "" && err == nil {
		path = dir.allowedSigners()
	}
	if !known || path == "" {
		return nil
	}
	trust := &signed.Trust{Keyring: openPGPKeys(path)}
	return func(ctx context.Context, text, signature []byte) (verify.Answer, string, error) {
		is, err := trust.OpenPGP(ctx, text, signature)
		switch is.Status {
		case signed.Good:
			return verify.Holds, is.By, err
		case signed.Unknown:
			return verify.UnknownKey, is.Key, err
		case signed.Bad:
			return verify.Fails, "", err
		}
		return verify.NotChecked, "", err
	}
}

// which tells the chain that is named, and which of its deploys; none: all.
func (c *verifyCmd) which(a *app) (chain string, ids []record.Selector, err error) {
	for i, name := range c.Deploys {
		of, id, err := c.resolve(a, name)
		if err != nil {
			return "", nil, err
		}
		if i > 0 && of != chain {
			return "", nil, usagef("the deploys are of several chains: verify one after the other")
		}
		if chain = of; name.bare || name.id == "" && of == name.alone {
			if len(c.Deploys) > 1 {
				return "", nil, usagef("%s is all of its chain: name it alone, or deploys of it", text.Mention(of))
			}
			return chain, nil, nil
		}
		ids = append(ids, id)
	}
	return chain, ids, nil
}

// extends proves that the chain's log extends a checkpoint.
func (c *verifyCmd) extends(ctx context.Context, a *app, name string) error {
	earlier, err := parseCheckpoint(c.Checkpoint)
	if err != nil {
		return err
	}
	return c.read(ctx, a, name, func(chain *store.Chain, _ io.Writer) error {
		head, err := c.readHead(ctx, a, chain)
		if err != nil {
			return err
		}
		if err := head.Extends(ctx, chain, earlier); err != nil {
			return err
		}
		if err := c.tellCovered(ctx, a, chain); err != nil {
			return err
		}
		a.say("%s: the log of %s extends that of %s, which %s has", chain.Namespace(), text.Count(int(head.Size), "deploy"),
			text.Count(int(earlier.Size), "deploy"), text.Printable(c.Checkpoint))
		return nil
	})
}

// readSeen reads what --remember names; nil where there is none yet.
func (c *verifyCmd) readSeen() (*verify.Seen, error) {
	if c.Remember == "" {
		return nil, nil //nolint:nilnil // nothing was seen, which is no error
	}
	encoded, err := disk.ReadFile(c.Remember, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, err
	}
	seen, err := verify.ParseSeen(encoded)
	if err != nil {
		return nil, fault.Newf(fault.Failed, "read what %q remembers: %w", c.Remember, err)
	}
	return seen, nil
}

// prove gives the error of what does not hold. What holds is remembered.
func (c *verifyCmd) prove(
	ctx context.Context, a *app, chain *store.Chain, result *verify.Result, seen *verify.Seen,
) error {
	var forked, other error
	if seen != nil {
		if forked = seen.Check(ctx, chain, result.Head); forked != nil && !fault.Is(forked, fault.Corrupt) {
			return forked
		}
	}
	if c.Repo != "" {
		if other = c.compareRef(ctx, result.Head); other != nil && !fault.Is(other, fault.Corrupt) {
			return other
		}
	}
	uncovered := c.tellCovered(ctx, a, chain)
	if uncovered != nil && !fault.Is(uncovered, fault.Corrupt) {
		return uncovered
	}
	if err := errors.Join(damage(chain.Namespace(), result), forked, other, uncovered); err != nil {
		return err
	}
	if c.Remember == "" {
		return nil
	}
	now := verify.See(chain.Namespace(), result)
	if another, err := c.readSeen(); err != nil || another != nil && another.Head > now.Head {
		return err // a run beside this one has seen more
	}
	encoded, err := now.Encode()
	if err != nil {
		return err
	}
	if err := disk.WriteFile(c.Remember, encoded, 0o644); err != nil {
		return fmt.Errorf("remember the head: %w", err)
	}
	switch {
	case result.Head == nil:
	case seen == nil:
		a.say("%s remembers deploy %d from now on", text.Printable(c.Remember), result.Head.ID)
	default:
		a.say("deploy %d extends deploy %d, which %s remembered", result.Head.ID, seen.Head, text.Printable(c.Remember))
	}
	return nil
}

// tellCovered says up to where enough witnesses have cosigned the log, if that is asked for.
func (c *verifyCmd) tellCovered(ctx context.Context, a *app, chain *store.Chain) error {
	covered, err := c.covered(ctx, chain)
	if covered != nil && err == nil {
		a.say("the log up to deploy %d is cosigned by %s", covered.Size, strings.Join(covered.Names, ", "))
	}
	return err
}

// damage is the error of what was found: the first, with what to do about it.
func damage(ns record.Namespace, result *verify.Result) error {
	if result.First == nil {
		return nil
	}
	where := ""
	if id := result.First.Deploy; id != 0 {
		where = fmt.Sprintf("deploy %d: ", id)
	}
	more := ""
	if n := result.Findings - 1; n > 0 {
		more = fmt.Sprintf(" (and %s)", text.Plural(n, "more finding", "more findings"))
	}
	return &fault.Error{
		Kind:  fault.Corrupt,
		What:  fmt.Sprintf("verify %s: %s%s%s", ns, where, text.Printable(result.First.What), more),
		Cause: result.First.Cause,
	}
}

// compareRef compares the head with its ref in a repository.
func (c *verifyCmd) compareRef(ctx context.Context, head *record.Deploy) error {
	if head == nil || head.Record == nil || head.Record.Ref == "" {
		return fault.Newf(fault.Failed, "--repo: no ref of a repository was deployed last, so that there is none to compare")
	}
	r := head.Record
	repo, err := git.OpenRepository(ctx, c.Repo, nil)
	if err != nil {
		return err
	}
	defer repo.Close()
	oid, err := git.ReadRef(ctx, repo.Dir(), r.Ref)
	if err != nil {
		return err
	}
	differs := func(is string) error {
		return fault.New(fault.Corrupt, fmt.Sprintf("verify deploy %d: it is %s, and %s of %q %s", head.ID, head.Hash, r.Ref,
			c.Repo, is), "after a rollback, or where deploying failed, that is right: refship log tells")
	}
	if oid.IsZero() {
		return differs("does not exist")
	}
	_, at, err := repo.Peel(ctx, oid)
	if err != nil {
		return err
	}
	if record.CommitHash(at) == head.Hash {
		return nil
	}
	if r.Path != "" { // commits that change nothing below the path make no deploy
		commit, err := repo.Commit(at)
		if err != nil {
			return err
		}
		is, _, err := repo.TreeAt(commit, r.Path)
		if err != nil || is == r.Tree {
			return err
		}
	}
	return differs("is at " + at.String())
}

// verifyPrinter prints what is found.
type verifyPrinter struct {
	cmd        *verifyCmd
	a          *app
	out        *bufio.Writer // flushed before what is said of all
	bar        *progressBar
	digits     int // of the first deploy's id, which is the highest
	signatures unjudged
	git        map[verify.Answer]int // signatures of git's
}

func newVerifyPrinter(c *verifyCmd, a *app, bar *progressBar) *verifyPrinter {
	return &verifyPrinter{
		cmd: c, a: a, out: bufio.NewWriterSize(a.stdout, 64<<10), bar: bar, git: map[verify.Answer]int{},
	}
}

func (v *verifyPrinter) deploy(d *verify.Deploy) error {
	v.signatures.add(d.Deploy)
	v.countGit(d)
	if v.cmd.JSON {
		return writeJSON(v.out, verifiedJSON{
			ID: d.ID, Hash: d.Hash, State: d.State(), Signer: d.Signer, Checks: d.Answers,
			By: d.By, Findings: describeFindings(d.Findings),
		})
	}
	hash := d.Hash.Short()
	if hash == "" {
		hash = "-"
	}
	v.digits = max(v.digits, len(d.ID.String()))
	v.bar.clear()
	line := fmt.Sprintf("%-*d  %-7s  %-11s  %s\n", v.digits, d.ID, hash, d.State(), verifiedWords(d))
	for _, f := range d.Findings {
		line += fmt.Sprintf("    %s\n", text.Printable(f.What))
	}
	_, err := io.WriteString(v.out, line)
	return err
}

// verifiedWords are what is told of a deploy beside its state.
func verifiedWords(d *verify.Deploy) string {
	var words []string
	switch r := d.Record; {
	case d.Damage != nil:
		return "its record cannot be believed"
	case r == nil:
		return "mgmt's own: nothing says who made it"
	case d.Signer != "":
		words = append(words, "signed by "+text.Printable(d.Signer))
	case r.Signer == "":
		words = append(words, "not signed")
	default:
		words = append(words, "signed by "+text.Printable(r.Signer))
	}
	if d.Restarts {
		words = append(words, "the chain restarts here")
	}
	if d.Answers[verify.Ancestry] == verify.NotStored {
		words = append(words, "ancestry not stored")
	}
	for _, of := range gitSigned {
		words = append(words, gitSignature(of.words, d.Answers[of.check], d.By[of.check])...)
	}
	return strings.Join(words, ", ")
}

// gitSigned are the checks of what git signed.
var gitSigned = []struct {
	check verify.Check
	words string
}{{verify.CommitSignature, "commit"}, {verify.Tag, "tag"}, {verify.Certificate, "push"}}

// countGit counts what git signed of a deploy.
func (v *verifyPrinter) countGit(d *verify.Deploy) {
	for _, of := range gitSigned {
		if is := d.Answers[of.check]; is != verify.None && d.Damage == nil {
			v.git[is]++
		}
	}
}

// gitWords say how many signatures of git's there are, and of whom; "" if there is none.
func (v *verifyPrinter) gitWords() string {
	n, words := 0, []string(nil)
	for _, is := range []struct {
		answer verify.Answer
		words  string
	}{
		{verify.Holds, "by those who may sign"}, {verify.UnknownKey, "by unknown keys"},
		{verify.NotChecked, "not checked"}, {verify.Fails, "that do not hold"},
	} {
		if of := v.git[is.answer]; of > 0 {
			n += of
			words = append(words, fmt.Sprintf("%d %s", of, is.words))
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s of commits, tags and pushes: %s", text.Count(n, "signature"), strings.Join(words, ", "))
}

// gitSignature tells of a signature that git made; by is who did, or why that is not checked.
func gitSignature(of string, is verify.Answer, by string) []string {
	by = text.Printable(by)
	switch {
	case is == verify.Holds:
		return []string{of + " signed by " + by}
	case is == verify.UnknownKey:
		return []string{of + " signed by an unknown key, " + by}
	case is == verify.NotChecked && by != "":
		return []string{fmt.Sprintf("%s signature not checked (%s)", of, by)}
	case is == verify.NotChecked:
		return []string{of + " signature not checked"}
	case is == verify.Fails:
		return []string{of + " signature does not hold"}
	}
	return nil
}

func describeFindings(list []verify.Finding) []findingJSON {
	all := []findingJSON{}
	for _, f := range list {
		all = append(all, findingJSON{f.Check, text.Printable(f.Key), text.Printable(f.What)})
	}
	return all
}

// all prints what was found of all together.
func (v *verifyPrinter) all(ns record.Namespace, result *verify.Result) error {
	if v.cmd.JSON {
		all := allVerifiedJSON{
			Namespace: ns, Deploys: result.Deploys, Findings: result.Findings, Strays: describeFindings(result.Strays),
			Orphans: result.Orphans, Keys: result.Keys, Bytes: result.Bytes, GitSignatures: v.git,
		}
		if result.Head != nil {
			all.Head = result.Head.ID
		}
		return errors.Join(writeJSON(v.out, all), v.out.Flush())
	}
	for _, f := range result.Strays {
		if _, err := fmt.Fprintf(v.out, "    %s\n", text.Printable(f.What)); err != nil {
			return err
		}
	}
	if err := v.out.Flush(); err != nil {
		return err
	}
	var counts []string
	deploys := 0
	for _, state := range verify.States() {
		if n := result.Deploys[state]; n > 0 {
			deploys += n
			counts = append(counts, fmt.Sprintf("%d %s", n, state))
		}
	}
	switch {
	case deploys == 0 && result.Head != nil:
		v.a.say("%s: no deploy since then, the head is deploy %d", ns, result.Head.ID)
		return nil
	case deploys == 0:
		v.a.say("%s", ns.Undeployed())
		return nil
	}
	v.a.say("%s: %s: %s; %s read", ns, text.Count(deploys, "deploy"), strings.Join(counts, ", "), text.Size(result.Bytes))
	if said := v.gitWords(); said != "" {
		v.a.say("%s", said)
	}
	if result.Orphans > 0 {
		v.a.say("%s of no deploy, which gc takes", text.Plural(result.Orphans, "key is", "keys are"))
	}
	return nil
}
