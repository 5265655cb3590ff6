package main

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/etcd"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

type repoShowCmd struct {
	storeFlags
	Name string `arg:"" complete:"repo" help:"The repository's name."`
	JSON bool   `help:"Print one JSON object."`
}

func (*repoShowCmd) Help() string {
	return "What each target's namespace holds is asked of etcd: of that of the server on the data directory, " +
		"or of --endpoints. Where it does not answer, the rest is shown."
}

func (c *repoShowCmd) Run(ctx context.Context, a *app) error {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	repo, _, err := findRepo(a, c.dataFlag, c.Name)
	if err != nil {
		return err
	}
	flaws, err := git.ReadFsck(ctx, repo.Dir)
	if err != nil {
		return err
	}
	use := c.use(ctx, a, repo)
	if c.JSON {
		described := use.describe(repo)
		described.Fsck = append(described.Fsck, flaws...)
		return writeJSON(a.stdout, described)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ndir: %s\nmax-stored: %s\nfsck: %s\n", repo.Name, repo.Dir,
		use.limit(repo.Settings.MaxStored), fsckWords(flaws))
	for i, target := range repo.Targets {
		path := target.Path
		if path == "" {
			path = "the whole tree"
		}
		check := target.Check
		if check == "" {
			check = "none"
		}
		frontend := strings.Join(append([]string{string(target.Frontend)}, settingsOf(target)...), ", ")
		fmt.Fprintf(&b,
			"target: %s\n  ref: %s\n  path: %s\n  namespace: %s\n  frontend: %s\n  check: %s\n  stored: %s\n",
			target.Name, target.Ref, text.Printable(path), target.Namespace, text.Printable(frontend),
			text.Printable(check), use.stored(i))
		if target.Wait != 0 {
			fmt.Fprintf(&b, "  wait: %s\n", target.Wait)
		}
		if target.Rings.Names != "" {
			fmt.Fprintf(&b, "  rings: %s\n", ringWords(target.Rings))
		}
		if required := describeRequired(target); len(required) > 0 {
			fmt.Fprintf(&b, "  takes: %s\n", strings.Join(required, ", "))
		}
		if target.LFS != "" {
			fmt.Fprintf(&b, "  lfs: %s\n", target.LFS)
		}
		if target.Notify != "" {
			fmt.Fprintf(&b, "  notify: %s\n", target.Notify)
		}
	}
	if len(repo.Targets) == 0 {
		b.WriteString("target: none, pushes are stored and not deployed\n")
	}
	_, err = fmt.Fprint(a.stdout, b.String())
	return err
}

// use is what the namespaces of a repository's targets hold, as far as etcd tells.
type use struct {
	err     error // why etcd tells nothing
	quota   int64 // 0: etcd does not tell it
	targets []targetUse
}

type targetUse struct {
	stored *record.Stored // nil: not counted, or err
	err    error
}

// use asks etcd.
func (c *repoShowCmd) use(ctx context.Context, a *app, repo *repos.Repository) *use {
	if len(repo.Targets) == 0 {
		return &use{}
	}
	log := quietLog(a)
	client, err := c.connect(ctx, a, log)
	if err != nil {
		return &use{err: err}
	}
	defer client.Close()
	space, err := etcd.ReadSpace(ctx, client)
	if err != nil {
		return &use{err: err}
	}
	u := &use{quota: space.Quota}
	for _, t := range repo.Targets {
		var one targetUse
		state, err := store.Open(client, t.Namespace).State(ctx)
		switch {
		case err != nil:
			one.err = err
		case state.Stored == nil && state.Head == nil:
			one.stored = new(record.Stored)
		default:
			one.stored = state.Stored
		}
		u.targets = append(u.targets, one)
	}
	return u
}

// limit says what a limit is.
func (u *use) limit(l record.Limit) string {
	if u.targets == nil && l == record.DefaultLimit {
		return "a quarter of etcd's quota"
	}
	return l.Words(u.quota)
}

// stored says what the namespace of a target holds.
func (u *use) stored(target int) string {
	if u.err != nil {
		return "unknown: " + text.Printable(u.err.Error())
	}
	switch one := u.targets[target]; {
	case one.err != nil:
		return "unknown: " + text.Printable(one.err.Error())
	case one.stored == nil:
		return "not counted yet: the next push with a limit counts it"
	case one.stored.Unsure > 0:
		return "at most " + text.Size(one.stored.Bytes)
	default:
		return text.Size(one.stored.Bytes)
	}
}

// repoUseJSON is a repository with what it holds, for programs.
type repoUseJSON struct {
	Name      string          `json:"name"`
	Dir       string          `json:"dir"`
	MaxStored string          `json:"max_stored"` // bytes, "none", or "" for a quarter of etcd's quota
	Limit     *int64          `json:"limit"`      // what that is, in bytes; 0: none; null: unknown
	Targets   []targetUseJSON `json:"targets"`
	Fsck      []string        `json:"fsck"` // "bademail=warn": what git makes of flaws in what is pushed
}

type targetUseJSON struct {
	target.Target
	Notify string `json:"notify"` // as for people; ""
	Stored *int64 `json:"stored"` // bytes; null: unknown
	Error  string `json:"error"`  // why it is unknown, or ""
}

func (u *use) describe(repo *repos.Repository) repoUseJSON {
	max := repo.Settings.MaxStored
	j := repoUseJSON{Name: repo.Name, Dir: repo.Dir, MaxStored: max.String(), Fsck: []string{},
		Targets: []targetUseJSON{}}
	if u.targets != nil || max != record.DefaultLimit {
		limit := max.In(u.quota)
		j.Limit = &limit
	}
	for i, t := range repo.Targets {
		one := targetUse{err: u.err}
		if u.err == nil {
			one = u.targets[i]
		}
		described := targetUseJSON{Target: t, Notify: t.Notify.String()}
		if one.stored != nil {
			described.Stored = &one.stored.Bytes
		}
		if one.err != nil {
			described.Error = one.err.Error()
		}
		j.Targets = append(j.Targets, described)
	}
	return j
}
