package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/install"
	"refship/hooks/status"
	"refship/hooks/target"
	"refship/hooks/words"
)

type hookStatusCmd struct {
	placeFlags
	JSON bool `help:"Print one JSON object a line and repository."`
}

func (*hookStatusCmd) Help() string {
	return "It reads the hooks and the git config of the repository, and asks the etcd that this names. " +
		"Exit code 0: hooks are installed and current, etcd answers, and every target's ref is what its chain has. " +
		"1: hooks are missing, edited or outdated, or a ref is ahead of its chain, or does not exist yet. " +
		"3: a ref and its chain have diverged, or the chain is ahead. " +
		"4: not a repository, or etcd does not let its user in. 6: etcd is unreachable."
}

func (c *hookStatusCmd) Run(ctx context.Context, a *app) error {
	program, err := thisProgram(a)
	if err != nil {
		return err
	}
	first := true
	return c.each(ctx, a, func(repo *install.Repository, name string) error {
		r := &repositoryStatus{repo: repo, name: name}
		if r.installed, err = install.Inspect(repo, program); err != nil {
			return err
		}
		if s := r.installed.Config.Settings; s.Repository != "" {
			r.name = s.Repository
		}
		r.ask(ctx, a)
		if c.JSON {
			err = writeJSON(a.stdout, r.describe())
		} else {
			if !first {
				fmt.Fprintln(a.stdout)
			}
			err = r.write(a.stdout)
		}
		first = false
		if err != nil {
			return err
		}
		if code := r.code(); code != exitDone {
			return exitError(code)
		}
		return nil
	})
}

// repositoryStatus is the status of one repository.
type repositoryStatus struct {
	repo      *install.Repository
	name      string
	installed *install.Status
	targets   []status.Status
	text      strings.Builder // of the targets
	err       error           // why the targets' chains could not be asked
	asked     bool
}

// ask compares the targets' refs with their chains.
func (r *repositoryStatus) ask(ctx context.Context, a *app) {
	if len(r.installed.Config.Targets) == 0 || r.installed.ConfigErr != nil {
		return
	}
	r.asked = true
	d, err := openHook(ctx, r.repo.GitDir, r.installed.Config.Settings, false, quietLog(a))
	if r.err = err; err != nil {
		return
	}
	defer d.Close()
	if r.targets, r.err = d.Status(ctx, r.name, r.repo.GitDir); r.err == nil {
		r.err = status.Write(&r.text, r.name, r.targets)
	}
}

// code is the exit status. The most urgent problem decides.
func (r *repositoryStatus) code() int {
	switch {
	case r.err != nil:
		return exitCode(r.err)
	case !r.installed.Complete():
		return exitFailed
	}
	code := exitDone
	for _, st := range r.targets {
		if st.Ref.IsZero() && st.State != nil && st.State.Head != nil { // a chain without its ref
			return exitConflict
		}
		if st.Ref.IsZero() {
			code = exitFailed
		}
		switch st.Relation {
		case deploy.RelationBehind, deploy.RelationDiverged, deploy.RelationUnknown:
			return exitConflict
		case deploy.RelationEmpty, deploy.RelationAhead:
			code = exitFailed
		}
	}
	return code
}

// write prints it for people.
func (r *repositoryStatus) write(w io.Writer) error {
	var b strings.Builder
	add := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-7s %s\n", label, text.Printable(fmt.Sprintf(format, args...)))
	}
	i := r.installed
	add(r.name, "%s", r.repo.Place())
	problem := false
	for _, h := range i.Hooks {
		state := h.Name + " " + string(h.State) + ": " + h.Path
		if h.Earlier != "" {
			state += ", after " + h.Earlier
		}
		add("hook", "%s", state)
		if h.Problem != nil {
			problem = true
			for _, line := range words.Explain(remedyOf, "problem", h.Problem) {
				add("", "%s", line)
			}
		}
	}
	if !i.Effective {
		add("hook", "git looks for hooks in %s now, not there", r.repo.HooksDir)
	}
	if len(i.Shared) > 0 {
		add("shared", "with %s", strings.Join(i.Shared, ", "))
	}
	if i.Program != "" {
		add("runs", "%s", i.Program)
	}
	if !i.Complete() && i.ConfigErr == nil && !problem {
		add("hint", "refship hook install %s", text.Quote(r.repo.GitDir))
	}
	if i.ConfigErr != nil {
		for _, line := range words.Explain(remedyOf, "config", i.ConfigErr) {
			add("", "%s", line)
		}
	}
	if r.asked {
		endpoints := text.Endpoints(i.Config.Settings.Endpoints...)
		add("etcd", "%s: %s", endpoints, strings.TrimPrefix(r.reached(), "dial "+endpoints+": "))
		if hint := remedyOf(r.err); hint != "" {
			add("hint", "%s", hint)
		}
		add("signed", "%s", signedWith(i.Config.Settings))
	}
	if r.err != nil && r.text.Len() == 0 {
		for _, t := range i.Config.Targets {
			fmt.Fprintf(&b, "%s: %s\n", t.Name, describeTarget(t))
		}
	}
	b.WriteString(r.text.String())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *repositoryStatus) reached() string {
	if r.err != nil {
		return r.err.Error()
	}
	return "reachable"
}

func signedWith(s target.Settings) string {
	if s.SigningKey == "" {
		return "no, no signing key is configured"
	}
	return "with " + s.SigningKey
}

// repositoryStatusJSON is a repository's status for programs.
type repositoryStatusJSON struct {
	Repository string             `json:"repository"`
	Dir        string             `json:"dir"`
	Complete   bool               `json:"complete"` // hooks are installed and current
	Hooks      []hookStatusJSON   `json:"hooks"`
	Etcd       string             `json:"etcd"` // "reachable", why it is not, or "" where there is nothing to ask
	Targets    []targetStatusJSON `json:"targets"`
}

type hookStatusJSON struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`
	State   install.HookState `json:"state"`
	Earlier string            `json:"earlier"` // the hook that runs before; "": none
}

type targetStatusJSON struct {
	target.Target
	Oid      string          `json:"oid"`      // of the ref; "": it does not exist
	Relation deploy.Relation `json:"relation"` // of the ref against the head; "": unknown, also if mgmt deployed it
	Ahead    int             `json:"ahead"`    // commits
	Head     record.ID       `json:"head"`     // 0: no deploy yet
	Pending  bool            `json:"pending"`  // a push that was broken off waits to be deployed
	Error    string          `json:"error"`    // why it is not known
}

func (r *repositoryStatus) describe() repositoryStatusJSON {
	j := repositoryStatusJSON{
		Repository: r.name, Dir: r.repo.GitDir, Complete: r.installed.Complete(),
		Hooks: []hookStatusJSON{}, Targets: []targetStatusJSON{},
	}
	for _, h := range r.installed.Hooks {
		j.Hooks = append(j.Hooks, hookStatusJSON{Name: h.Name, Path: h.Path, State: h.State, Earlier: h.Earlier})
	}
	if r.asked {
		j.Etcd = r.reached()
	}
	for _, st := range r.targets {
		t := targetStatusJSON{Target: st.Target, Relation: st.Relation, Ahead: st.Ahead, Pending: st.Pending}
		if !st.Ref.IsZero() {
			t.Oid = st.Ref.String()
		}
		if st.State != nil && st.State.Head != nil {
			t.Head = st.State.Head.ID
		}
		if st.Uncompared() {
			t.Relation = ""
		}
		if st.Err != nil {
			t.Error = st.Err.Error()
		}
		j.Targets = append(j.Targets, t)
	}
	return j
}
