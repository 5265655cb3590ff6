package code

import (
	"bytes"
	"strconv"
	"strings"
)

// Hunk is a piece of a diff.
type Hunk struct {
	Head  string
	Lines []DiffLine
}

// DiffLine is one line of a diff.
type DiffLine struct {
	Kind     string // ins, del, or ""
	Sign     string
	Old, New int // numbers; 0: it is not there
	Spans    Line
}

// Hunks reads hunks as text.CompareLines makes them, and takes each line from the text that it is of.
func Hunks(hunks []byte, before, after []Line) (all []Hunk) {
	old, new := 0, 0
	take := func(lines []Line, number int, raw []byte) Line {
		if number > 0 && number <= len(lines) {
			return lines[number-1]
		}
		return Line{{Text: visible(string(raw))}}
	}
	for one := range bytes.Lines(hunks) {
		one = bytes.TrimSuffix(one, []byte("\n"))
		if len(one) == 0 {
			continue
		}
		sign, rest := one[0], one[1:]
		if sign == '@' {
			old, new = hunkStart(string(one))
			all = append(all, Hunk{Head: string(one)})
			continue
		}
		if len(all) == 0 {
			continue
		}
		made := DiffLine{Sign: string(sign)}
		switch sign {
		case '+':
			made.Kind, made.New, made.Spans = "ins", new, take(after, new, rest)
			new++
		case '-':
			made.Kind, made.Old, made.Spans = "del", old, take(before, old, rest)
			old++
		case ' ':
			made.Old, made.New, made.Spans = old, new, take(after, new, rest)
			old, new = old+1, new+1
		default: // \ No newline at end of file
			made.Sign, made.Spans = "", Line{{Class: "note", Text: visible(string(bytes.TrimSpace(rest)))}}
		}
		last := &all[len(all)-1]
		last.Lines = append(last.Lines, made)
	}
	return all
}

// hunkStart reads the first line numbers of "@@ -1,3 +1,4 @@".
func hunkStart(head string) (old, new int) {
	fields := strings.Fields(head)
	if len(fields) < 3 {
		return 0, 0
	}
	number := func(s string) int {
		s, _, _ = strings.Cut(s[1:], ",")
		n, _ := strconv.Atoi(s)
		return n
	}
	return number(fields[1]), number(fields[2])
}
