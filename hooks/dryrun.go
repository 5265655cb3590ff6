package hooks

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/text"
)

// maxChanges is how many changed files a dry run names for each target.
const maxChanges = 50

// wouldDo tells what a prepared delivery would do.
func (d *delivery) wouldDo() []string {
	p, previous := d.prepared, "none"
	if head := d.verdict.Head; head != nil {
		previous = "unknown"
		if head.Hash != "" {
			previous = string(head.Hash)
		}
	}
	recorded := ""
	if n := len(p.Submodules); n > 0 {
		recorded = ", " + text.Count(n, "submodule") + " recorded"
	}
	lines := []string{
		fmt.Sprintf("dry run: previous hash %s, new hash %s", previous, d.job.Hash()),
		fmt.Sprintf("dry run: %s added, %d modified, %d deleted%s", text.Count(p.Added, "file"), p.Modified,
			p.Deleted, recorded),
	}
	files := 0
	for _, c := range p.Listed[:min(len(p.Listed), maxChanges)] {
		kind, what := "M", ""
		switch {
		case c.Old == nil:
			kind = "A"
		case c.New == nil:
			kind = "D"
		}
		if c.Old != nil && c.Old.Mode == filemode.Submodule || c.New != nil && c.New.Mode == filemode.Submodule {
			what = " (submodule)"
		} else {
			files++
		}
		lines = append(lines, fmt.Sprintf("%s %s%s", kind, c.Path, what))
	}
	if more := p.Changed - files; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	return lines
}
