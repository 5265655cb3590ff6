package git

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// PackedRefs is the state of all refs of a repository, in the form of its files.
type PackedRefs struct {
	Packed   []byte            // the content of packed-refs
	Symbolic map[string]string // the refs below refs/ that name another one, which packed-refs cannot hold
}

// ReadPackedRefs reads all refs of the repository at gitDir, loose and packed, refship's own, too. A push that moves
// several refs at that moment may be in it with some of them.
func ReadPackedRefs(ctx context.Context, gitDir string) (*PackedRefs, error) {
	out, err := Run(ctx, gitDir, "for-each-ref", "--format=%(objectname) %(refname) %(symref)")
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	refs := &PackedRefs{Symbolic: make(map[string]string)}
	var lines []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ") // a ref's name has no space in it
		if len(fields) != 3 {
			return nil, fmt.Errorf("read refs: %q is no line of git's", line)
		}
		oid, err := ParseOID(fields[0])
		if err != nil {
			return nil, fmt.Errorf("read ref %s: %w", fields[1], err)
		}
		if fields[2] != "" {
			refs.Symbolic[fields[1]] = fields[2]
			continue
		}
		lines = append(lines, fields[1]+" "+oid.String())
	}
	slices.Sort(lines) // by name: a space sorts before all that a name may have
	var text strings.Builder
	text.WriteString("# pack-refs with: sorted \n")
	for _, line := range lines {
		name, oid, _ := strings.Cut(line, " ")
		text.WriteString(oid + " " + name + "\n")
	}
	refs.Packed = []byte(text.String())
	return refs, nil
}
