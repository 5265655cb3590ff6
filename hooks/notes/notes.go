package notes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// Result is what there was to note.
type Result struct {
	Deploys int // that are new, or all where the notes were made anew
	Commits int // whose notes were written
}

// Update notes what chains have and a repository's notes have not; with anew it makes all of them again.
func Update(ctx context.Context, gitDir string, chains []*deploy.Chain, anew bool) (Result, error) {
	const tries = 3
	for try := 1; ; try++ {
		u := &update{gitDir: gitDir, chains: chains, lines: map[git.OID][]line{}}
		result, err := u.run(ctx, anew)
		if err == nil || try == tries || ctx.Err() != nil {
			return result, err
		}
	}
}

// update is one try of an Update.
type update struct {
	gitDir string
	chains []*deploy.Chain
	now    *git.Notes
	noted  map[record.Namespace]record.ID // as the notes say
	heads  map[record.Namespace]record.ID
	lines  map[git.OID][]line // by commit
	newest time.Time          // of the deploys
	result Result
}

// line is one line of a note.
type line struct {
	namespace record.Namespace
	id        record.ID
	replaced  bool
	text      string
}

// errNoted ends the walk down a chain.
var errNoted = errors.New("the rest is noted")

func (u *update) run(ctx context.Context, anew bool) (_ Result, err error) {
	if u.now, err = git.ReadNotes(ctx, u.gitDir); err != nil {
		return Result{}, err
	}
	u.noted, u.heads = parseMessage(u.now.Message), map[record.Namespace]record.ID{}
	for _, chain := range u.chains {
		ns := chain.Namespace()
		if u.heads[ns], err = head(ctx, chain); err != nil {
			return Result{}, err
		}
		anew = anew || u.noted[ns] > u.heads[ns] // the chain was restored from a backup
	}
	if anew {
		u.noted = nil
	}
	for _, chain := range u.chains {
		if err := u.walk(ctx, chain); err != nil {
			return Result{}, err
		}
	}
	if !anew && u.result.Deploys == 0 {
		return Result{}, nil
	}
	return u.result, u.write(ctx, anew)
}

func head(ctx context.Context, chain *deploy.Chain) (record.ID, error) {
	state, err := chain.State(ctx)
	if err != nil || state.Head == nil {
		return 0, err
	}
	return state.Head.ID, nil
}

// walk collects the lines of the deploys that are not noted, and of the one below them, which they replace.
func (u *update) walk(ctx context.Context, chain *deploy.Chain) error {
	ns := chain.Namespace()
	noted := u.noted[ns]
	if u.heads[ns] == noted {
		return nil
	}
	var above *record.Deploy
	err := chain.Down(ctx, u.heads[ns], func(d *record.Deploy) error {
		if above != nil {
			u.add(d, line{ns, d.ID, true, fmt.Sprintf("deploy %d of %s: replaced %s", d.ID, ns, replacedBy(above))})
		}
		if d.ID <= noted {
			return errNoted
		}
		u.result.Deploys++
		if d.Record != nil && d.Record.Time.After(u.newest) {
			u.newest = d.Record.Time
		}
		u.add(d, line{ns, d.ID, false, fmt.Sprintf("deploy %d of %s: %s", d.ID, ns, made(d))})
		above = d
		return nil
	})
	if errors.Is(err, errNoted) {
		return nil
	}
	return err
}

func (u *update) add(d *record.Deploy, l line) {
	if d.Hash == "" || d.Hash.IsTree() {
		return
	}
	l.text = text.Printable(l.text)
	u.lines[d.Hash.OID()] = append(u.lines[d.Hash.OID()], l)
}

// made says who made a deploy, and when.
func made(d *record.Deploy) string {
	r := d.Record
	if r == nil {
		return "by " + d.By()
	}
	said := fmt.Sprintf("%s by %s, %s", r.Time.UTC().Format(time.RFC3339), r.Pusher.Name, r.Kind)
	if to, _ := record.ParseRollback(r); to != 0 {
		said += fmt.Sprintf(" to %d", to)
	}
	if r.Forced {
		said += ", forced"
	}
	if r.Reason != "" {
		said += ": " + text.Shorten(r.Reason, 200)
	}
	return said
}

// replacedBy says what replaced a deploy.
func replacedBy(d *record.Deploy) string {
	if d.Record == nil {
		return fmt.Sprintf("by deploy %d, %s, by %s", d.ID, d.ShortHash(), d.By())
	}
	at, said, _ := strings.Cut(made(d), " ")
	return fmt.Sprintf("%s by deploy %d, %s, %s", at, d.ID, d.ShortHash(), said)
}

// write writes the notes of commits that the repository has. Those that were there keep their lines.
func (u *update) write(ctx context.Context, anew bool) error {
	repo, err := git.OpenRepository(ctx, u.gitDir, nil)
	if err != nil {
		return err
	}
	defer func() { _ = repo.Close() }() // it was read
	var blobs map[git.OID]git.OID
	if !anew {
		if blobs, err = u.now.List(ctx); err != nil {
			return err
		}
	}
	change := &git.NotesChange{Message: u.message(anew), Time: u.newest, All: anew, Notes: map[git.OID]string{}}
	for commit, lines := range u.lines {
		_, err := repo.Commit(commit)
		if errors.Is(err, git.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		was := ""
		if blob, ok := blobs[commit]; ok {
			raw, err := repo.Raw(blob)
			if err != nil {
				return err
			}
			_, data, _ := bytes.Cut(raw, []byte{0})
			was = string(data)
		}
		change.Notes[commit] = merge(was, lines)
		u.result.Commits++
	}
	if change.Time.IsZero() {
		change.Time = time.Now()
	}
	return u.now.Write(context.WithoutCancel(ctx), change) // it takes a moment, and a git that is killed leaves its files
}

// merge adds lines to a note, each once, and puts them in their order.
func merge(was string, lines []line) string {
	for l := range strings.Lines(was) {
		lines = append(lines, parseLine(strings.TrimSuffix(l, "\n")))
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(strings.Compare(string(a.namespace), string(b.namespace)), cmp.Compare(a.id, b.id),
			compareBool(a.replaced, b.replaced), strings.Compare(a.text, b.text))
	})
	var b strings.Builder
	for _, l := range slices.CompactFunc(lines, func(a, b line) bool { return a.text == b.text }) {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// parseLine reads a line of a note; of another one it gives the text alone.
func parseLine(said string) line {
	l := line{text: said}
	about, rest, _ := strings.Cut(said, ": ")
	var id uint64
	if _, err := fmt.Sscanf(about, "deploy %d of %s", &id, &l.namespace); err == nil {
		l.id, l.replaced = record.ID(id), strings.HasPrefix(rest, "replaced ")
	}
	return l
}

// message is that of a commit of notes. Without anew it also has the chains that were noted before, and are no
// target's any more.
func (u *update) message(anew bool) string {
	all := map[record.Namespace]record.ID{}
	if !anew {
		maps.Copy(all, u.noted)
	}
	maps.Copy(all, u.heads)
	said := "Deploys of each chain up to\n\n"
	for _, ns := range slices.Sorted(maps.Keys(all)) {
		if all[ns] != 0 {
			said += fmt.Sprintf("%s %d\n", ns, all[ns])
		}
	}
	return said
}

// parseMessage reads what a message says of chains; what is no such line is left out.
func parseMessage(message string) map[record.Namespace]record.ID {
	noted := map[record.Namespace]record.ID{}
	for l := range strings.Lines(message) {
		name, number, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		ns, err := record.ParseNamespace(name)
		if err != nil {
			continue
		}
		if id, err := record.ParseID(number); err == nil {
			noted[ns] = id
		}
	}
	return noted
}
