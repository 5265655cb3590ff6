package fault_test

import (
	"fmt"
	"testing"

	"refship/deploy/fault"
)

// Each refusal is told once, and of very many the first ten.
func TestRefusals(t *testing.T) {
	var all fault.Refusals
	all.Add(nil)
	if err := all.Err(); err != nil {
		t.Errorf("without a refusal the error is %v", err)
	}
	for i := range 12 {
		all.Add(fault.Refuse("ask", "%d may not", i%11))
	}
	first, more := all.Told()
	if len(first) != 10 || more != "… and 1 more refusal" {
		t.Errorf("told are %d, and %q", len(first), more)
	}
	all.Add(fmt.Errorf("last: %w", fault.New(fault.Conflict, "held", "")))
	if _, more := all.Told(); more != "… and 2 more refusals" {
		t.Errorf("more is %q", more)
	}
	// What is not told counts for the kind.
	if kind := fault.KindOf(all.Err()); kind != fault.Conflict {
		t.Errorf("kind is %d", kind)
	}
}
