package gitserver

import (
	"io"
	"time"

	"refship/deploy/fault"
	"refship/deploy/witness"
	"refship/gitserver/command"
	"refship/hooks"
	"refship/keys"
)

// cosign stores what a witness has signed, which it sends on the session's input. It signs under its key's name, or
// that and .SUFFIX.
func (x *session) cosign(key *keys.Key, c command.Command) int {
	dir, err := x.findRepository(key, c.Repository, keys.Witness)
	if err != nil {
		return x.fail(err)
	}
	place, err := hooks.FindPlace(c.Repository, dir, c.Target)
	if err != nil {
		return x.fail(err)
	}
	note, err := io.ReadAll(io.LimitReader(x.in, witness.MaxCosignature+1))
	if err != nil {
		return x.fail(err)
	}
	if len(note) == 0 {
		return x.fail(fault.New(fault.Usage, "cosign reads a cosigned checkpoint, and nothing came",
			"refship witness makes and sends one"))
	}
	signed, err := x.s.cfg.Hooks.Cosign(x.ctx, place, note, key.Name)
	if err != nil {
		return x.fail(err)
	}
	x.log().Info("cosigned", "repository", c.Repository, "namespace", place.Target.Namespace, "deploy", signed.Size,
		"witness", signed.Name)
	x.print("refship: the log up to deploy %d of %s is cosigned by %s, %s", signed.Size, place.Target.Namespace,
		signed.Name, signed.Time.Format(time.RFC3339))
	return exitDone
}
