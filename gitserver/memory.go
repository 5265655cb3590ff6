package gitserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/gitserver/admit"
	"refship/gitserver/incoming"
)

// How many commands run git at a time, where there is memory for so many. Pushes and what only reads have a pool each,
// so that clones never keep a push waiting. A git that waits for its client costs about 4 MiB, most of it shared with
// the others.
const (
	maxPushes  = 128
	maxFetches = 128
)

// What all git processes may take for themselves is Limits.GitMemory. Each of them has a limit (git.LimitMemory), and
// runs only while its limit fits into what is left: so the sum of limits is never more, whatever clients send. It is
// shared out:
//
//	a half to pushes, for what they take while they wait for their client: 48 MiB each (pushMemory)
//	a sixth to packs: what index-pack needs for a pack, from when all of the pack is there until pre-receive runs
//	a sixth to fetches (fetchNeeds)
//	a sixth to hooks, which reads what is deployed
//
// So clones never keep a push waiting. Within a share a key gets more only while it has less than is left (package
// admit).
//
// The limit of a git process is handed on to each process that it starts, and each has it for itself. A push costs its
// limit once all the same. Before the pack, git receive-pack is alone. With the pack, it starts one process after
// another, each of which ends before the next: index-pack, rev-list (do the refs lead to all objects?), pre-receive,
// post-receive. Only the first two take memory by what the client sent, and have the pack's part for it.
// receive-pack itself holds refs and the list of ref updates, of at most 4 MiB. The hooks take 5 MiB; that a Go program
// wants a limit of some 40 MiB is for tables of which it touches next to nothing. What a target's check takes is not
// git's: the server starts it, without a limit.
const (
	// receiveMemory is git receive-pack's limit until the pack is there: 8 MiB are for the stack of its second thread,
	// and a ref takes some 170 bytes.
	receiveMemory = 24 << 20
	// pushMemory is what a push takes in all while it waits for its client, or for etcd. The other half is what hooks
	// may take for a verdict (turns.WithoutTurn of hooks).
	pushMemory = 2 * receiveMemory
	// unpackMemory is what a pack takes besides its objects: git, and its cache of what deltas build upon.
	unpackMemory = 20 << 20
	// runMemory is the least limit from the pack on, or from the ref updates on where none follows: the hooks need it.
	runMemory = 48 << 20
	// fetchMemory is what a fetch takes besides its objects: git upload-pack, and a pack-objects with its window and
	// caches.
	fetchMemory = 24 << 20
	// fetchPerObject is what pack-objects keeps for each object of the repository, in bytes.
	fetchPerObject = 300
	// refFactor is what a ref takes in git's memory, as a multiple of what it has in packed-refs or a reftable.
	refFactor = 4
	// MinGitMemory is the least that a server can work with.
	MinGitMemory = 6 * runMemory
	// packWait is how long a push waits for its pack's memory.
	packWait = time.Minute
)

// DefaultGitMemory is half of the memory that this process may use.
func DefaultGitMemory() int64 { return max(MinGitMemory, admit.MachineMemory()/2) }

// ReadingMemory is the share of Limits.GitMemory that git may take to read what is deployed.
func ReadingMemory(all int64) int64 { return all / 6 }

// shareMemory makes the pools. A pool is no larger than for as many commands as a machine can do with.
func (s *Server) shareMemory(all int64) {
	s.pushes = admit.NewPool("push", "pushes", min(all/2, maxPushes*pushMemory))
	s.packs = admit.NewPool("pack", "packs", all/6)
	s.fetches = admit.NewPool("fetch", "fetches", min(all/6, maxFetches*fetchMemory))
}

// pushNeeds is what a push takes before its pack: each process beside receive-pack as much as that.
func pushNeeds(dir string) int64 {
	return pushMemory + refFactor*git.RefsSize(dir)
}

// fetchNeeds is what a fetch takes.
func (s *Server) fetchNeeds(dir string) int64 {
	need := pushNeeds(dir) - pushMemory + fetchMemory + fetchPerObject*packedObjects(dir)
	return min(need, s.fetches.Most(fetchMemory))
}

// packedObjects is how many objects the packs of a repository have: the last entry of the fan-out table of each index
// (gitformat-pack(5), version 2). What cannot be read is git's to complain about.
func packedObjects(dir string) (n int64) {
	indexes, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.idx")) // the only error is a bad pattern
	for _, path := range indexes {
		var count [4]byte
		if err := readAt(path, 8+255*4, count[:]); err == nil {
			n += int64(binary.BigEndian.Uint32(count[:]))
		}
	}
	return n
}

func readAt(path string, offset int64, b []byte) error {
	f, err := disk.Open(path, math.MaxInt64)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(b, offset)
	return err
}

// packNeeds is what git takes to store a pack and to look at it.
func packNeeds(p incoming.Pack) int64 {
	return max(runMemory, unpackMemory+min(p.Memory(), math.MaxInt64-unpackMemory))
}

// awaitPackMemory takes what git needs for a pack out of the packs' share, until release is called. It waits for it, as
// long as a pack may wait.
func (x *session) awaitPackMemory(name string, pack incoming.Pack) (limit int64, release func(), err error) {
	p := x.s.packs
	need, most := x.s.packNeeds(pack), p.Most(runMemory)
	if need > most {
		return 0, nil, x.tooMuchMemory(name, pack, need, most)
	}
	t := p.Request(gossh.FingerprintSHA256(x.pub), need)
	// A push that is all there goes on while the server shuts down.
	ctx, cancel := context.WithTimeoutCause(x.ctx, x.s.packWait, errPackWaited)
	defer cancel()
	if err := t.Wait(ctx, x.tellWait); err != nil {
		t.GiveBack()
		return 0, nil, err
	}
	return need, t.GiveBack, nil
}

var errPackWaited = fault.New(fault.Failed,
	"nothing was stored: other pushes take all the memory that git has here", "try again later")

// tooMuchMemory refuses a pack for which git would need too much.
func (x *session) tooMuchMemory(name string, pack incoming.Pack, need, most int64) error {
	x.log().Info("pack needs too much memory", "repository", name, "bytes", pack.Bytes, "objects", pack.Objects,
		"needs", need, "limit", most, "remedy", x.s.words(ReasonGitMemory))
	return fault.New(fault.Refused,
		fmt.Sprintf("nothing was stored: what was pushed to %s is too large: git would need %s of memory to unpack it, and "+
			"may take %s for one push", name, text.Size(need), text.Size(most)), x.memoryRemedy(pack))
}

// memoryRemedy is what a pusher can do: an object that is no delta of another goes through in pieces.
func (x *session) memoryRemedy(pack incoming.Pack) string {
	ask := "; or " + x.s.askOperator(ReasonGitMemory)
	if pack.Largest < pack.Memory()/2 {
		return "push it in parts, older commits first: git push REMOTE COMMIT:BRANCH" + ask
	}
	return fmt.Sprintf("send large files whole instead of as deltas: git -c core.bigFileThreshold=%dm push",
		git.FileInPieces>>20) + ask
}
