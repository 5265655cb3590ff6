package hooks

import (
	"cmp"
	"context"
	"errors"
	"time"

	"refship/hooks/await"
	"refship/hooks/output"
)

// await waits for the nodes of what was published or, if asked to, was there already, and tells how many run it. asked
// is for how long; 0: as each target says, which may be not at all. The error says who does not run it.
func (e *Engine) await(ctx context.Context, out *output.Output, asked time.Duration, all ...*delivery) (err error) {
	began := time.Now()
	for _, d := range all {
		limit := cmp.Or(asked, d.target.Wait)
		if d.deploy == nil || limit == 0 || !d.published && asked == 0 {
			continue
		}
		left := max(limit-time.Since(began), time.Second) // all of them are waited for together
		err = errors.Join(err, await.Nodes(ctx, d.chain.Chain, d.deploy, left, e.quiet.Enter, func(said string) {
			out.Line("%s%s", d.label, said)
		}))
	}
	return err
}

// tellBehind tells who does not run what was published, which stands all the same.
func (e *Engine) tellBehind(out *output.Output, err error) {
	out.Line("%v", err)
	if remedy := e.cfg.Remedy(err); remedy != "" {
		out.Line("hint: %s", remedy)
	}
}
