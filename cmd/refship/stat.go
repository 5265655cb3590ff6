package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"refship/deploy/store"
	"refship/deploy/text"
)

// diffStat is the table of git diff --stat in 80 columns. How wide its parts are is git's rule (show_stats in its
// diff.c).
type diffStat struct{ rows []statRow }

// statRow is a file.
type statRow struct {
	name           string // quoted
	added, deleted int64  // lines; bytes before and after if binary
	binary         bool
}

func (s *diffStat) add(change store.Change, found lines) {
	row := statRow{name: text.QuotePath(change.Path), added: int64(found.added), deleted: int64(found.deleted)}
	if found.binary {
		row.binary, row.deleted, row.added = true, contentSize(change.Old), contentSize(change.New)
	}
	s.rows = append(s.rows, row)
}

// statWidths are the columns' widths, and the most lines that changed in a file.
type statWidths struct {
	name, number, graph int
	most                int64
}

func (s *diffStat) widths() statWidths {
	const all, around = 80, 6 // blanks and the bar between the columns
	var w statWidths
	binary := 0
	for _, row := range s.rows {
		w.name = max(w.name, utf8.RuneCountInString(row.name))
		if row.binary {
			binary = max(binary, len("Bin  ->  bytes")+digits(row.added)+digits(row.deleted))
			w.number = len("Bin")
			continue
		}
		w.most = max(w.most, row.added+row.deleted)
	}
	w.number = max(w.number, digits(w.most))
	w.graph = int(min(w.most, all))
	if w.most+4 <= int64(binary) {
		w.graph = binary - 4
	}
	if w.name+w.number+around+w.graph > all {
		w.graph = min(w.graph, max(all*3/8-w.number-around, 6))
		if rest := all - w.number - around; w.name > rest-w.graph {
			w.name = rest - w.graph
		} else {
			w.graph = rest - w.name
		}
	}
	return w
}

func digits(n int64) int { return len(strconv.FormatInt(n, 10)) }

// write writes the table, and a line that sums it up; nothing if nothing differs.
func (s *diffStat) write(out io.Writer) error {
	if len(s.rows) == 0 {
		return nil
	}
	w, added, deleted := s.widths(), int64(0), int64(0)
	for _, row := range s.rows {
		name := shortName(row.name, w.name)
		name += strings.Repeat(" ", max(w.name-utf8.RuneCountInString(name), 0))
		if row.binary {
			_, err := fmt.Fprintf(out, " %s | %*s %d -> %d bytes\n", name, w.number, "Bin", row.deleted, row.added)
			if err != nil {
				return err
			}
			continue
		}
		added, deleted = added+row.added, deleted+row.deleted
		line := fmt.Sprintf(" %s | %*d %s", name, w.number, row.added+row.deleted, row.graph(w))
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	sum := " " + text.Count(len(s.rows), "file") + " changed"
	if added > 0 || deleted == 0 {
		sum += ", " + text.Count(int(added), "insertion") + "(+)"
	}
	if deleted > 0 || added == 0 {
		sum += ", " + text.Count(int(deleted), "deletion") + "(-)"
	}
	_, err := fmt.Fprintln(out, sum)
	return err
}

// graph is a row's pluses and minuses.
func (r statRow) graph(w statWidths) string {
	added, deleted := r.added, r.deleted
	if int64(w.graph) <= w.most {
		scale := func(n int64) int64 {
			if n == 0 {
				return 0
			}
			return 1 + n*int64(w.graph-1)/w.most
		}
		all := scale(added + deleted)
		if all < 2 && added > 0 && deleted > 0 {
			all = 2
		}
		if added < deleted {
			added = scale(added)
			deleted = all - added
		} else {
			deleted = scale(deleted)
			added = all - deleted
		}
	}
	return strings.Repeat("+", int(added)) + strings.Repeat("-", int(deleted))
}

// shortName is the end of a name that is too long, from a slash on if there is one.
func shortName(name string, width int) string {
	runes := []rune(name)
	if len(runes) <= width {
		return name
	}
	end := string(runes[len(runes)-max(width-len("..."), 0):])
	if slash := strings.IndexByte(end, '/'); slash >= 0 {
		end = end[slash:]
	}
	return "..." + end
}
