package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what a run gives.
type report struct {
	Date    time.Time `json:"date"`
	Minutes float64   `json:"minutes"`
	Machine []string  `json:"machine"`
	Version []string  `json:"versions"`
	Sizes   []string  `json:"repositories"`
	Missing []string  `json:"not_measured,omitempty"`
	Goals   []reached `json:"goals"`
	Figures []figure  `json:"figures"`
}

// figure is one thing that was measured.
type figure struct {
	key
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	Of     int     `json:"of"` // how many samples
}

// report tells of the parts that ran. A goal of theirs that has no figures is among what is missing.
func (b *meter) report(ctx context.Context, began time.Time, ran []part) *report {
	r := &report{
		Date: time.Now().UTC().Truncate(time.Second), Minutes: time.Since(began).Minutes(),
		Machine: machine(), Version: b.versions(ctx),
	}
	r.Missing = slices.Clone(b.missing)
	for _, name := range slices.Sorted(slices.Values(append(slices.Clone(b.sizes), b.firsts...))) {
		if size := corpora[name].describe(); !slices.Contains(r.Sizes, size) {
			r.Sizes = append(r.Sizes, size)
		}
	}
	for _, p := range ran {
		for _, g := range p.goals(&b.plan) {
			if one, measured := b.judge(g); measured {
				r.Goals = append(r.Goals, one)
			} else {
				r.Missing = append(r.Missing, "goal: "+g.Name)
			}
		}
	}
	for _, k := range b.sorted() {
		s := b.samples[k]
		r.Figures = append(r.Figures, figure{k, s.median(), slices.Min(s), slices.Max(s), len(s)})
	}
	return r
}

// machine says what this machine is.
func machine() []string {
	said := []string{fmt.Sprintf("%d CPUs", runtime.NumCPU())}
	if model := valueIn("/proc/cpuinfo", "model name"); model != "" {
		said = append(said, model)
	}
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(valueIn("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		said = append(said, fmt.Sprintf("%.0f GiB of memory", kib/(1<<20)))
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		said = append(said, "Linux "+strings.TrimSpace(string(text)))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		said = append(said, "load at the end "+strings.Fields(string(text))[0])
	}
	slices.Sort(said)
	return said
}

// valueIn gives what stands behind a word and a colon in one of the kernel's files.
func valueIn(file, word string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, is := strings.Cut(lines.Text(), ":"); is && strings.TrimSpace(name) == word {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// versions says what took part; of refship also the commit that is checked out where this was started, if one is.
func (b *meter) versions(ctx context.Context) (said []string) {
	describe := []string{"describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"}
	if out, err := run(b.command(ctx, nil, "git", describe...)); err == nil {
		said = append(said, "commit "+strings.TrimSpace(out.stdout))
	}
	for _, args := range [][]string{{"refship", "version"}, {"git", "version"}, {"ssh", "-V"}, {"etcd", "--version"}} {
		cmd := b.command(ctx, nil, args[0], args[1:]...)
		if _, err := exec.LookPath(cmd.Path); err != nil {
			continue
		}
		out, err := run(cmd)
		if err != nil {
			b.missing = append(b.missing, "a version: "+err.Error())
			continue
		}
		line, _, _ := strings.Cut(strings.TrimSpace(out.stdout+out.stderr), "\n")
		said = append(said, line)
	}
	if b.sshd != "" {
		said = append(said, b.sshd)
	}
	return said
}

// number writes a figure with three digits that count.
func number(f float64) string {
	digits := 2
	switch {
	case f >= 100:
		digits = 0
	case f >= 10:
		digits = 1
	}
	return strconv.FormatFloat(f, 'f', digits, 64)
}

// markdown is the report as tables.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %.1f minutes. %s. %s.\n\n", r.Date.Format("2006-01-02"), r.Minutes,
		strings.Join(r.Machine, ", "), strings.Join(r.Version, ", "))
	for _, size := range r.Sizes {
		fmt.Fprintf(&b, "- %s\n", size)
	}
	for _, what := range r.Missing {
		fmt.Fprintf(&b, "- Not measured: %s\n", what)
	}
	b.WriteString("\n| goal | must be | is | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		met := "missed"
		if g.Met {
			met = "reached"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.Goal, g.Must, number(g.Is), met)
	}
	b.WriteString("\n| what | repository | how | median | least | most | of |\n|---|---|---|---|---|---|---|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "| %s | %s | %s | %s %s | %s | %s | %d |\n", f.What, f.Size, f.Peer, number(f.Median), f.Unit,
			number(f.Least), number(f.Most), f.Of)
	}
	return b.String()
}
