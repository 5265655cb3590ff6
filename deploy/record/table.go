package record

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"refship/deploy/text"
)

// logBlock is how many deploys are aligned with each other: a long chain is printed while it is read.
const logBlock = 500

// Table prints deploys in columns, one a line: id, hash, age, pusher, kind, subject.
type Table struct {
	out    io.Writer
	now    time.Time
	rows   [][6]string
	widths [6]int
}

// NewTable makes a table that prints to out; now is what ages are counted from.
func NewTable(out io.Writer, now time.Time) *Table { return &Table{out: out, now: now} }

// Add takes one deploy in, and prints when it has some hundred of them. Its error is out's.
func (t *Table) Add(d *Deploy) error {
	row := logRow(d, t.now)
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

// logRow is id, hash, time, pusher, kind, subject.
func logRow(d *Deploy, now time.Time) [6]string {
	hash := d.Hash.Short()
	if hash == "" {
		hash = "-"
	}
	if d.Record == nil {
		return [6]string{d.ID.String(), hash, "-", d.By(), "foreign", ""}
	}
	subject := text.Printable(d.Record.Subject)
	if d.Record.Commits > 1 {
		subject = fmt.Sprintf("%s: %s", text.Count(d.Record.Commits, "commit"), subject)
	}
	kind := string(d.Record.Kind)
	if d.Record.Forced {
		kind += ", forced"
	}
	return [6]string{d.ID.String(), hash, text.Age(now.Sub(d.Record.Time)), d.By(), text.Printable(kind), subject}
}
