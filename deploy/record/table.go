package record

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"refship/deploy/text"
	"refship/keys"
)

// logBlock is how many deploys are aligned with each other: a long chain is printed while it is read.
const logBlock = 500

// Table prints deploys in columns, one a line: id, hash, age, pusher, kind, subject.
type Table struct {
	out    io.Writer
	now    time.Time
	trust  *keys.AllowedSigners
	rows   [][6]string
	widths [6]int
	filled bool  // Add was called
	damage error // of the first that is damaged
}

// NewTable makes a table that prints to out; now is what ages are counted from. Deploys that trust does not allow are
// marked; if it is nil none is.
func NewTable(out io.Writer, now time.Time, trust *keys.AllowedSigners) *Table {
	return &Table{out: out, now: now, trust: trust}
}

// Add takes one deploy in, and prints when it has some hundred of them. Its error is out's.
func (t *Table) Add(d *Deploy) error {
	t.filled, t.damage = true, cmp.Or(t.damage, d.Damage)
	return t.add(t.row(d))
}

// AddEvent takes one event in, as Add does a deploy.
func (t *Table) AddEvent(e *Event) error {
	return t.add([6]string{"-", "-", text.Age(t.now.Sub(e.Time)), text.Printable(Shorten(e.User)),
		text.Printable(Shorten(string(e.Kind))), text.Printable(Shorten(e.Reason))})
}

func (t *Table) add(row [6]string) error {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
	if t.rows = append(t.rows, row); len(t.rows) == logBlock {
		return t.Flush()
	}
	return nil
}

// Flush prints what was added and not printed yet. Its error is out's.
func (t *Table) Flush() error {
	var line strings.Builder
	for _, row := range t.rows {
		line.Reset()
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)))
		}
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// End prints the rest; empty tells whether nothing was added. err is what ended the reading of the chain: with it, and
// with the first damage that was added, End fails.
func (t *Table) End(err error) (empty bool, failed error) {
	if err == nil {
		err = t.damage
	}
	return !t.filled, errors.Join(t.Flush(), err)
}

// row is id, hash, time, pusher, kind, subject.
func (t *Table) row(d *Deploy) [6]string {
	hash := d.Hash.Short()
	if hash == "" {
		hash = "-"
	}
	switch {
	case d.Damage != nil:
		kind := "damaged"
		if IsNewer(d.Damage) {
			kind = "newer format"
		}
		return [6]string{d.ID.String(), hash, "-", "-", kind, text.Printable(d.Damage.Error())}
	case d.Record == nil:
		return [6]string{d.ID.String(), hash, "-", d.By(), "foreign", ""}
	}
	subject := text.Printable(d.Record.Subject)
	if d.Record.Kind == KindRollback {
		subject += " (" + text.Printable(Shorten(d.Record.Reason)) + ")"
	}
	if d.Record.Commits > 1 {
		subject = fmt.Sprintf("%s: %s", CountCommits(d.Record.Commits), subject)
	}
	kind := string(d.Record.Kind)
	if d.Record.Forced {
		kind += ", forced"
	}
	if d.Restarts {
		kind += ", chain restarts"
	}
	if t.trust != nil {
		if _, err := d.Judge(t.trust); err != nil {
			kind += ", not trusted"
		}
	}
	return [6]string{d.ID.String(), hash, text.Age(t.now.Sub(d.Record.Time)), d.By(), text.Printable(kind), subject}
}

// MaxCounted is up to how many commits are counted. A record with one more says that there are more.
const MaxCounted = 10_000

// CountCommits says how many commits a deploy brings: "3 commits", "more than 10,000 commits".
func CountCommits(n int) string {
	if n > MaxCounted {
		return "more than 10,000 commits"
	}
	return text.Count(n, "commit")
}
