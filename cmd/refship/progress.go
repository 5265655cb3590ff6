package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/text"
)

// progressBar shows long work on standard error: on a terminal as one line that changes, else as a line from time to
// time.
type progressBar struct {
	w        io.Writer
	now      func() time.Time
	terminal bool
	interval time.Duration
	drawn    int // bytes on the terminal's line
	next     time.Time
}

// How often it is drawn. In a log the first line comes after that time, so that short work is silent.
const (
	terminalInterval = 100 * time.Millisecond
	logInterval      = 2 * time.Second
)

func newProgressBar(w io.Writer, now func() time.Time) *progressBar {
	b := &progressBar{w: w, now: now, terminal: isTerminal(w), interval: logInterval}
	if b.terminal {
		b.interval = terminalInterval
	}
	b.next = now().Add(b.interval)
	return b
}

// isTerminal tells whether an io.Reader or io.Writer is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (b *progressBar) update(p text.Progress) {
	now := b.now()
	if now.Before(b.next) {
		return
	}
	b.next = now.Add(b.interval)
	if !b.terminal {
		fmt.Fprintf(b.w, "refship: %s\n", progressLine(p, 0))
		return
	}
	line := progressLine(p, barWidth)
	// Short enough for one line of any terminal. The rest of a longer line before it is blanked.
	blank := max(0, b.drawn-len(line))
	fmt.Fprintf(b.w, "\r%s%s", line, strings.Repeat(" ", blank))
	b.drawn = len(line)
}

// clear takes the line off the terminal, so that what follows starts on an empty one.
func (b *progressBar) clear() {
	if b.drawn > 0 {
		fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", b.drawn))
		b.drawn = 0
	}
}

// barWidth is how many characters the bar has.
const barWidth = 20

// progressLine is "writing [##########          ]  50%, 3 of 6 files, 1 KiB"; without a bar where width is 0, without
// the percentage where the total is not known.
func progressLine(p text.Progress, width int) string {
	done, total := p.Bytes, p.BytesTotal
	if total == 0 {
		done, total = int64(p.Files), int64(p.FilesTotal)
	}
	line := p.Step
	if total > 0 {
		done = min(done, total)
		if filled := int(done * int64(width) / total); width > 0 {
			line += fmt.Sprintf(" [%s%s]", strings.Repeat("#", filled), strings.Repeat(" ", width-filled))
		}
		line += fmt.Sprintf(" %d%%,", done*100/total)
	}
	var counts []string
	switch {
	case p.FilesTotal > 0:
		counts = append(counts, fmt.Sprintf("%d of %d files", p.Files, p.FilesTotal))
	case p.Files > 0:
		counts = append(counts, fmt.Sprintf("%d files", p.Files))
	}
	if p.Bytes > 0 || p.BytesTotal > 0 || p.Files > 0 {
		counts = append(counts, text.Size(p.Bytes))
	}
	return strings.TrimSuffix(line+" "+strings.Join(counts, ", "), " ")
}
