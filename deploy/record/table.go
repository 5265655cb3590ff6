package record

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"refship/deploy/text"
	"refship/keys"
)

// logBlock is how many deploys are aligned with each other: a long chain is printed while it is read.
const logBlock = 500

// Style is how a Table prints. The zero Style is a plain line each, however long, with ages.
type Style struct {
	Width  int                       // of the terminal: lines are cut to it, and say who signed; 0: there is none
	Height int                       // of the terminal, in lines: so many are printed first
	Color  bool                      // what is forced, taken back, on hold or damaged stands out
	When   func(at time.Time) string // words a time; nil: its age
}

// Table prints deploys in columns, one a line: id, hash, time, pusher, kind, subject and reason.
type Table struct {
	out    io.Writer
	now    time.Time
	trust  *keys.AllowedSigners
	style  Style
	rows   []tableRow
	widths [numColumns]int
	block  int   // how many rows are printed together
	filled bool  // Add was called
	damage error // of the first that is damaged
}

// The columns before the last, which has subject and reason.
const (
	columnID = iota
	columnHash
	columnTime
	columnBy
	columnKind
	columnSigner // only on a terminal
	numColumns
)

// maxColumn is how wide the column of a name may be on a terminal.
const maxColumn = 20

type tableRow struct {
	cells   [numColumns]string
	subject string
	reason  string
	color   string // of the kind: the parameters of SGR (ECMA-48)
	note    string // a line without columns, in place of all of it
}

// Colors that stand out, as parameters of SGR.
const (
	red     = "1;31"
	green   = "1;32"
	yellow  = "1;33"
	magenta = "1;35"
)

// NewTable makes a table that prints to out; now is what ages are counted from. Deploys that trust does not allow are
// marked; if it is nil none is.
func NewTable(out io.Writer, now time.Time, trust *keys.AllowedSigners) *Table {
	return NewStyledTable(out, now, trust, Style{})
}

// Trust says whose signatures count from the next deploy on.
func (t *Table) Trust(allowed *keys.AllowedSigners) { t.trust = allowed }

// NewStyledTable is NewTable with a style.
func NewStyledTable(out io.Writer, now time.Time, trust *keys.AllowedSigners, style Style) *Table {
	t := &Table{out: out, now: now, trust: trust, style: style, block: logBlock}
	if style.Height > 0 {
		t.block = min(style.Height, logBlock)
	}
	return t
}

// Add takes one deploy in, and prints when it has some hundred of them. Its error is out's.
func (t *Table) Add(d *Deploy) error {
	t.filled, t.damage = true, cmp.Or(t.damage, d.Damage)
	return t.add(t.row(d))
}

// AddEvent takes one event in, as Add does a deploy.
func (t *Table) AddEvent(e *Event) error {
	row := tableRow{color: red, subject: text.Printable(Shorten(e.Reason)), cells: [numColumns]string{
		columnID: "-", columnHash: "-", columnTime: t.when(e.Time), columnBy: text.Printable(Shorten(e.User)),
		columnKind: text.Printable(Shorten(string(e.Kind))),
	}}
	if e.Kind == EventResume || e.Kind == EventPromote {
		row.color = green
	}
	return t.add(row)
}

// AddNote takes in a line that has no columns, as Add does a deploy.
func (t *Table) AddNote(note string) error { return t.add(tableRow{note: note}) }

func (t *Table) when(at time.Time) string {
	if t.style.When != nil {
		return t.style.When(at)
	}
	return text.Age(t.now.Sub(at))
}

func (t *Table) add(row tableRow) error {
	if t.style.Width > 0 {
		row.cells[columnBy] = clip(row.cells[columnBy], maxColumn)
		row.cells[columnSigner] = clip(row.cells[columnSigner], maxColumn)
	} else {
		row.cells[columnSigner] = ""
	}
	for i, cell := range row.cells {
		t.widths[i] = max(t.widths[i], columns(cell))
	}
	if t.rows = append(t.rows, row); len(t.rows) >= t.block {
		t.block = logBlock
		return t.Flush()
	}
	return nil
}

// Flush prints what was added and not printed yet, in one Write. Its error is out's.
func (t *Table) Flush() error {
	var lines strings.Builder
	for _, row := range t.rows {
		lines.WriteString(strings.TrimRight(t.line(row), " ") + "\n")
	}
	if t.rows = t.rows[:0]; lines.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(t.out, lines.String())
	return err
}

// line is a row as it is printed.
func (t *Table) line(row tableRow) string {
	if row.note != "" {
		return t.cut(row.note, 0)
	}
	var line strings.Builder
	used := 0
	for i, cell := range row.cells {
		if t.widths[i] == 0 {
			continue // no row has a signer to tell
		}
		blank := strings.Repeat(" ", t.widths[i]-columns(cell)+len("  "))
		cell = t.cut(cell, used)
		if i == columnKind && row.color != "" && t.style.Color {
			cell = "\x1b[" + row.color + "m" + cell + "\x1b[m"
		}
		line.WriteString(cell)
		used += t.widths[i] + len("  ")
		if t.style.Width == 0 || used < t.style.Width {
			line.WriteString(blank)
		}
	}
	line.WriteString(t.words(row, used))
	return line.String()
}

// words are subject and reason, and fit into what a line has left. The reason gets half of it at least, if it needs
// that much.
func (t *Table) words(row tableRow, used int) string {
	if row.reason == "" {
		return t.cut(row.subject, used)
	}
	reason := " (" + row.reason + ")"
	left := t.style.Width - used
	if t.style.Width == 0 || columns(row.subject+reason) <= left {
		return row.subject + reason
	}
	if subject := max(left-columns(reason), left/2); columns(row.subject) > subject {
		return t.cut(clip(row.subject, subject)+reason, used)
	}
	return t.cut(row.subject+reason, used)
}

// cut cuts a text that begins in a column to what is left of the line.
func (t *Table) cut(s string, used int) string {
	if t.style.Width == 0 {
		return s
	}
	return clip(s, t.style.Width-used)
}

// columns is how many columns of a terminal a text takes.
func columns(s string) (n int) {
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// clip cuts a text to some columns of a terminal, and shows that with an ellipsis.
func clip(s string, limit int) string {
	if columns(s) <= limit {
		return s
	}
	n := 0
	for i, r := range s {
		if n += columnsOf(r); n >= limit { // the ellipsis takes one
			return s[:i] + strings.Repeat("…", min(1, max(0, limit)))
		}
	}
	return s
}

// End prints the rest; empty tells whether nothing was added. err is what ended the reading of the chain: with it, and
// with the first damage that was added, End fails.
func (t *Table) End(err error) (empty bool, failed error) {
	if err == nil {
		err = t.damage
	}
	return !t.filled, errors.Join(t.Flush(), err)
}

// row is what a deploy's line says.
func (t *Table) row(d *Deploy) tableRow {
	hash := d.Hash.Short()
	if hash == "" {
		hash = "-"
	}
	row := tableRow{cells: [numColumns]string{columnID: d.ID.String(), columnHash: hash, columnTime: "-"}}
	switch {
	case d.Damage != nil:
		row.cells[columnBy], row.cells[columnKind], row.color = "-", "damaged", red
		if IsNewer(d.Damage) {
			row.cells[columnKind] = "newer format"
		}
		row.subject = text.Printable(d.Damage.Error())
		return row
	case d.Record == nil:
		row.cells[columnBy], row.cells[columnKind], row.color = d.By(), "foreign", yellow
		return row
	}
	row.cells[columnTime], row.cells[columnBy] = t.when(d.Record.Time), d.By()
	row.subject, row.reason = text.Printable(d.Record.Subject), text.Printable(Shorten(d.Record.Reason))
	if d.Record.Commits > 1 {
		row.subject = fmt.Sprintf("%s: %s", CountCommits(d.Record.Commits), row.subject)
	}
	row.cells[columnKind], row.color = t.kind(d)
	row.cells[columnSigner] = t.signer(d)
	return row
}

// kind is the kind of a deploy with a record and what is odd about it, and the color of that.
func (t *Table) kind(d *Deploy) (kind, color string) {
	kind = string(d.Record.Kind)
	if d.Record.Kind == KindRollback {
		color = magenta
	}
	if d.Record.Forced {
		kind, color = kind+", forced", yellow
	}
	if d.Restarts {
		kind, color = kind+", chain restarts", red
	}
	if t.trust != nil {
		if _, err := d.Judge(t.trust); err != nil {
			kind, color = kind+", not trusted", red
		}
	}
	return text.Printable(kind), color
}

// signer is the name of who signed the deploy; the key's fingerprint where it is not known whose that is.
func (t *Table) signer(d *Deploy) string {
	if d.Record.Signer == "" {
		return "unsigned"
	}
	if t.trust != nil {
		if name, err := d.Judge(t.trust); err == nil {
			return text.Printable(name)
		}
	}
	return text.Printable(d.Record.Signer)
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
