package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"refship/deploy/fixture"
)

var publishedLine = regexp.MustCompile(`(?m)^remote: refship: deploy (\d+) published in \S+(?: ms)?: ([0-9a-f]+)`)

// Two servers on one etcd, and a pusher through each, again and again at the same time: whatever a pusher was told is
// in the chain, once, and each deploy stands on the one below.
func TestTwoServersAtOnce(t *testing.T) {
	t.Parallel()
	const rounds = 4
	members := fixture.StartCluster(t, 1)
	var pushers [2]*trouble
	for i := range pushers {
		w := &trouble{world: newWorld(t)}
		w.env = append(w.env, "REFSHIP_ENDPOINTS="+members[0].URL())
		w.serve("")
		pushers[i] = w
	}
	trustEachOther(pushers[0].world, pushers[1].world)
	// Both begin with the same commit, and are its authors at different times.
	pushers[0].commit("first", 1)
	for _, w := range pushers[1:] {
		w.must("git", "-C", w.in("work"), "pull", "-q", pushers[0].in("work"), "main")
	}
	told := map[string]string{} // id: hash
	for round := range rounds {
		type answer struct {
			said string
			err  error
		}
		var answers [2]chan answer
		for i, w := range pushers {
			w.commit(fmt.Sprintf("round %d of %d", round, i), 1)
			answers[i] = make(chan answer, 1)
			go func() {
				said, err := w.pushAgain()
				answers[i] <- answer{said, err}
			}()
		}
		landed := -1
		for i := range pushers {
			a := <-answers[i]
			published := publishedLine.FindStringSubmatch(a.said)
			switch {
			case a.err == nil && published != nil && landed < 0:
				landed = i
				if told[published[1]] != "" {
					t.Errorf("deploy %s was told twice", published[1])
				}
				told[published[1]] = published[2]
			case a.err != nil && strings.Contains(a.said, "refship: refused: "):
			default:
				t.Errorf("round %d, push %d: %v\n%s", round, i, a.err, a.said)
			}
		}
		if landed < 0 {
			t.Fatalf("round %d: no server has deployed", round)
		}
		// Who lost catches up, as a pusher would.
		other := pushers[1-landed]
		other.must("git", "-C", other.in("work"), "fetch", "-q", pushers[landed].in("work"), "main")
		other.must("git", "-C", other.in("work"), "reset", "-q", "--hard", "FETCH_HEAD")
	}
	below := ""
	log := strings.Split(pushers[0].must("refship", "log", "--json"), "\n")
	if len(log) != len(told) {
		t.Errorf("%d deploys, %d were told", len(log), len(told))
	}
	for i := range log {
		line := log[len(log)-1-i]
		id, hash := field(t, line, "id"), field(t, line, "hash")
		if id != fmt.Sprint(i+1) || !strings.HasPrefix(hash, told[id]) {
			t.Errorf("deploy %d of the chain is %s, %s; told was %q", i+1, id, hash, told[id])
		}
		record := pushers[1].must("refship", "show", id)
		if !strings.Contains(record, "\nprevious_hash: "+below) {
			t.Errorf("deploy %s does not replace %s:\n%s", id, below, record)
		}
		below = hash
	}
}

// trustEachOther makes each server build on what the others have signed.
func trustEachOther(servers ...*world) {
	for _, from := range servers {
		line := from.must("refship", "keys", "signer")
		for _, to := range servers {
			if to == from {
				continue
			}
			file, err := os.OpenFile(to.in("data/keys/allowed_signers"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				to.Fatal(err)
			}
			_, err = fmt.Fprintln(file, line)
			if err = errors.Join(err, file.Close()); err != nil {
				to.Fatal(err)
			}
		}
	}
}
