package gitserver

import (
	"errors"
	"slices"

	"refship/keys"
)

// greet answers a session without a command.
func (x *session) greet(key *keys.Key) int {
	names, err := x.s.cfg.Repos.Names()
	if err != nil {
		return x.fail(err)
	}
	x.print("refship: hi %s, key %s may:", key.Name, key.Fingerprint())
	for _, r := range key.Rules {
		x.print("  %s", r)
	}
	if len(key.Rules) == 0 {
		x.print("  nothing yet")
	}
	x.print("repositories:")
	shown := 0
	for _, n := range names {
		if may := highestAction(key, n); may != "" {
			x.print("  %-20s  %s", n, may)
			shown++
		}
	}
	if shown == 0 {
		x.print("  none that this key may read")
	}
	return exitDone
}

// web prints a link that signs a browser in as the key.
func (x *session) web(key *keys.Key) int {
	if x.s.cfg.Link == nil {
		return x.fail(errors.New("this server shows no page"))
	}
	link, notes, err := x.s.cfg.Link(key)
	if err != nil {
		return x.fail(err)
	}
	x.log().Info("made a link to the page")
	x.print("%s", link)
	for _, line := range notes {
		x.tell(line)
	}
	return exitDone
}

// highestAction is the strongest action that a key may do with a repository, "" for none.
func highestAction(key *keys.Key, repository string) keys.Action {
	for _, a := range slices.Backward(keys.Actions()) {
		if key.May(a, repository) {
			return a
		}
	}
	return ""
}

const helpText = `git clone ssh://git@HOST:PORT/REPO                 clone, fetch and push as with any git server
ssh -p PORT git@HOST                               who you are and what your key may do
ssh -p PORT git@HOST repos                         the repositories, what you may do with them, what they deploy
ssh -p PORT git@HOST web                           a link to the page, good once and for ten minutes
ssh -p PORT git@HOST log REPO[:TARGET] [-n N|all]  the latest deploys
ssh -p PORT git@HOST status REPO                   what is deployed, against what was pushed
ssh -p PORT git@HOST nodes REPO[:TARGET]           which machines run what; status 3 if one is behind
ssh -p PORT git@HOST check REPO[:TARGET] COMMIT    what the push of a commit would deploy, and its exit status
ssh -p PORT git@HOST deploy REPO[:TARGET]          deploy what its refs have and its chains have not
ssh -p PORT git@HOST rollback REPO[:TARGET] ID REASON   go back to an earlier deploy, with --hold: and stay there
ssh -p PORT git@HOST hold REPO[:TARGET] REASON     keep it from going on, but by rollbacks
ssh -p PORT git@HOST resume REPO[:TARGET] [REASON] let it go on
ssh -p PORT git@HOST promote REPO[:TARGET]         release what is deployed to the next ring of nodes
ssh -p PORT git@HOST cosign REPO[:TARGET]          for refship witness: take a cosigned checkpoint
refship log ssh://git@HOST:PORT/REPO[:TARGET]      with refship: more of the log; show, diff, ls, cat, checkout
ssh -p PORT git@HOST help                          this text`

func (x *session) help() int {
	x.print("%s", helpText)
	return exitDone
}
