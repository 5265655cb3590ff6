package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
	"refship/keys"
)

type repoCmd struct {
	Create repoCreateCmd `cmd:"" help:"Make a bare repository, and the target that deploys it."`
	List   repoListCmd   `cmd:"" help:"List the repositories and what they deploy."`
	Show   repoShowCmd   `cmd:"" help:"Show one repository, its targets, and what their namespaces hold."`
	Set    repoSetCmd    `cmd:"" help:"Change settings of a repository. Its targets have their own: repo target set."`
	Rename repoRenameCmd `cmd:"" help:"Give a repository another name."`
	Remove repoRemoveCmd `cmd:"" help:"Remove a repository, and keep or delete what it has deployed."`
	Target repoTargetCmd `cmd:"" help:"Add, change, remove and list what of a repository is deployed."`
}

type repoCreateCmd struct {
	storeFlags
	targetFlags
	notifyFlag
	Name     string `arg:"" help:"The repository's name, such as config or team/config."`
	NoTarget bool   `help:"Deploy nothing: only store what is pushed."`

	ObjectFormat *objectFormat `placeholder:"FORMAT" help:"Which hash names objects in it: sha1 or sha256. What is pushed to it must have the same. Default: that of serve --object-format."`
}

func (*repoCreateCmd) Help() string {
	return "The repository is made in the data directory. A target whose namespace has a chain already is warned of: " +
		"the etcd of the server on the data directory is asked, or that of --endpoints."
}

// defaultTarget is the name of the target that `repo create` makes.
const defaultTarget = "default"

// Run makes the repository, and says how to push to it.
func (c *repoCreateCmd) Run(ctx context.Context, a *app) (err error) {
	if err := repos.CheckName(c.Name); err != nil {
		return asUsage("", err)
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	ref := "refs/heads/main"
	if c.Ref != nil {
		if ref, err = fullRef(*c.Ref); err != nil {
			return err
		}
	}
	targets, err := c.targets(a)
	if err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.prepare(a); err != nil {
		return err
	}
	f := dir.objectFormat()
	if c.ObjectFormat != nil {
		f = c.ObjectFormat.Format
	}
	repo, err := dir.repos().Create(ctx, c.Name, f, headFor(ref), targets)
	if err != nil {
		return err
	}
	a.say("repository %s made in %s%s", repo.Name, repo.Dir, formatWords(f))
	dir.note(ctx, a, "repo create: repository %s: %s", repo.Name, describeTargets(repo.Targets))
	for _, t := range repo.Targets {
		a.say("target %s: %s", t.Name, describeTarget(t))
		warnOfNamespace(a, t)
		c.warnOfChain(ctx, a, dir, t)
		if err := beginNotify(a, repo, target.Target{}, t); err != nil {
			return err
		}
	}
	if len(repo.Targets) == 0 {
		a.say("no target: pushes are stored and not deployed")
	}
	a.say("to push to it, run in your repository:")
	fmt.Fprintf(a.stderr, "    git remote add deploy ssh://git@HOST:%s/%s\n", dir.port(), repo.Name)
	fmt.Fprintf(a.stderr, "    git push deploy %s\n", pushSpec(ref))
	return sayKeys(a, dir, repo.Name)
}

// warnOfChain warns of a chain that was there before its target, if etcd tells: that of --endpoints, or else of a
// server that runs on the data directory.
func (f *storeFlags) warnOfChain(ctx context.Context, a *app, dir dataDir, t target.Target) {
	const patience = 3 * time.Second
	if len(f.Endpoints) == 0 && !dir.servesEtcd() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	head, err := f.headOf(ctx, a, t.Namespace)
	switch {
	case err != nil && len(f.Endpoints) > 0:
		a.sayLines("warning", fmt.Sprintf("whether %s has a chain already is not known: %v", t.Namespace, err))
	case err != nil || head == nil: // it is not known, as without a server; or there is none
	default:
		a.sayLines("warning", fmt.Sprintf("%s has a chain already, and is at deploy %d, %s: a push must contain that, "+
			"or be forced over it", t.Namespace, head.ID, head.ShortHash()))
	}
}

// headOf reads the head of a namespace.
func (f *storeFlags) headOf(ctx context.Context, a *app, ns record.Namespace) (head *record.Deploy, err error) {
	client, err := f.connect(ctx, a, quietLog(a))
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, client)
	state, err := store.Open(client, ns).State(ctx)
	if err != nil {
		return nil, err
	}
	return state.Head, nil
}

// sayKeys says how to let a key push, if none may.
func sayKeys(a *app, dir dataDir, name string) error {
	all, _, err := dir.keys().List()
	if err != nil {
		return err
	}
	for _, key := range all {
		if key.May(keys.Push, name) {
			return nil
		}
	}
	a.say("no key may push to it yet; to add one:")
	fmt.Fprintf(a.stderr, "    refship key add NAME --key ~/.ssh/id_ed25519.pub --allow deploy:%s%s\n", name, dir.flag())
	return nil
}

// targets is the default target, or none.
func (c *repoCreateCmd) targets(a *app) ([]target.Target, error) {
	if c.NoTarget {
		if c.targetFlags != (targetFlags{Ref: c.Ref}) || c.Notify != nil {
			return nil, usagef("--no-target and the flags of a target can't be used together")
		}
		return nil, nil
	}
	one, err := c.make(c.Name, defaultTarget)
	if err == nil {
		one, err = c.notifyFlag.apply(a, one)
	}
	if err != nil {
		return nil, err
	}
	return []target.Target{one}, nil
}

// fullRef is a ref as a full name: main is refs/heads/main.
func fullRef(s string) (string, error) {
	if s == "" {
		return "", usagef("--ref is empty")
	}
	if s == "HEAD" || s == "@" || s == "refs/heads/HEAD" { // git makes no branch of these names (git-branch(1))
		return "", fault.New(fault.Usage, fmt.Sprintf("--ref: %s names no ref of its own, but the one that is current",
			strings.TrimPrefix(s, "refs/heads/")), "a target needs a ref's own name, such as main or refs/heads/main")
	}
	if !strings.HasPrefix(s, "refs/") {
		s = "refs/heads/" + s
	}
	if git.CheckRef(s) != nil {
		return "", usagef("--ref: %q is not the name of one ref", s)
	}
	return s, nil
}

// headFor is what a clone checks out: the deployed branch, or main if no branch is deployed.
func headFor(ref string) string {
	if strings.HasPrefix(ref, "refs/heads/") {
		return ref
	}
	return "refs/heads/main"
}

// pushSpec is the argument of git push that updates ref.
func pushSpec(ref string) string {
	if strings.HasPrefix(ref, "refs/heads/") {
		return git.RefArg(ref)
	}
	return "HEAD:" + git.RefArg(ref)
}

// describeTarget is "main → /refship/config", and every setting that is not the default.
func describeTarget(t target.Target) string {
	words := t.Source() + " → " + string(t.Namespace)
	if t.Frontend != record.Files {
		words += ", " + string(t.Frontend)
	}
	for _, setting := range settingsOf(t) {
		words += ", " + setting
	}
	if t.Check != "" {
		words += ", checked"
	}
	if t.Wait != 0 {
		words += ", pushes wait " + t.Wait.String() + " for nodes"
	}
	if t.Rings.Names != "" {
		words += ", rings " + ringWords(t.Rings)
	}
	for _, required := range describeRequired(t) {
		words += ", " + required
	}
	if t.LFS != "" {
		words += ", LFS pointers as they are"
	}
	if t.Notify != "" {
		words += ", told to " + t.Notify.String()
	}
	return text.Printable(words)
}

// ringWords are "canary, rest (pause 10m0s, on failure rollback)".
func ringWords(r record.Rings) string {
	words := strings.Join(r.Names.List(), ", ")
	return fmt.Sprintf("%s (pause %s, on failure %s)", words, r.Pause, cmp.Or(r.OnFailure, record.Stop))
}

// settingsOf are a target's settings that are not mgmt's defaults: "entry=site.mcl", "noop".
func settingsOf(t target.Target) []string {
	var all []string
	values := t.Settings.Text()
	for _, name := range record.SettingNames() {
		switch value := values[name]; value {
		case "":
		case "true":
			all = append(all, name)
		default:
			all = append(all, name+"="+value)
		}
	}
	return all
}

// describeTargets names each target, unless the default one is the only one.
func describeTargets(targets []target.Target) string {
	if len(targets) == 0 {
		return "not deployed"
	}
	if len(targets) == 1 && targets[0].Name == defaultTarget {
		return describeTarget(targets[0])
	}
	var all []string
	for _, target := range targets {
		all = append(all, target.Name+": "+describeTarget(target))
	}
	return strings.Join(all, "; ")
}

// repoJSON is a repository for programs.
type repoJSON struct {
	Name    string          `json:"name"`
	Dir     string          `json:"dir"`
	Targets []target.Target `json:"targets"`
}

func newRepoJSON(r *repos.Repository) any {
	return repoJSON{Name: r.Name, Dir: r.Dir, Targets: append([]target.Target{}, r.Targets...)}
}

type repoListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON per repository."`
}

func (c *repoListCmd) Run(_ context.Context, a *app) error {
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	listed, err := dir.repos().List()
	if err != nil {
		return err
	}
	if len(listed) == 0 {
		a.say("no repositories in %s; to make one: refship repo create NAME%s", dir.path, dir.flag())
	}
	return writeList(a.stdout, c.JSON, listed, newRepoJSON, func(r *repos.Repository) string {
		return r.Name + "\t" + describeTargets(r.Targets)
	})
}
