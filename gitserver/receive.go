package gitserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/gitserver/incoming"
	"refship/gitserver/reply"
	"refship/hooks"
	"refship/keys"
)

// receiving is one running git receive-pack, and what it gets.
type receiving struct {
	x         *session
	name, dir string // of the repository
	format    git.Format
	in        *pushInput
	reply     *reply.Reply
	watch     git.WordWatch
	flaws     git.FlawWatch

	mu    sync.Mutex
	list  incoming.List
	pack  incoming.Pack // once it has its memory
	limit int64         // that git has
	give  func()        // gives the pack's memory back; nil: there is none to give
	over  bool          // git has ended
}

// feed hands git the list of ref updates, and then the pack as a whole when it is all there. So git begins with a pack
// when there is memory for it, and a slow client keeps none. Ref updates without a pack, deletions, need what the hooks
// need. A push that is refused here ends git's input, and git stores nothing.
func (p *receiving) feed(g *processGroup, stdin io.Writer) {
	r := bufio.NewReaderSize(p.in, 64<<10)
	list, err := incoming.ReadList(r)
	if err != nil {
		p.in.refuse(err)
		return
	}
	p.mu.Lock()
	p.list = *list
	p.mu.Unlock()
	p.reply.Asked(list.Capabilities)
	if !list.Pack {
		if list.Updates {
			err = p.takeMemory(g, incoming.Pack{})
		}
		if err != nil {
			p.in.refuse(err)
			return
		}
		_, _ = stdin.Write(list.Bytes) // it fails where git has ended
		return
	}
	if _, err := stdin.Write(list.Bytes); err != nil {
		return // git has ended
	}
	share := p.x.s.cfg.Room.Share(filepath.Join(p.dir, "objects", "pack"))
	defer share.GiveBack() // git has written its copy
	kept, pack, err := p.keep(r, share)
	var full *disk.FullError
	switch {
	case errors.As(err, &full):
		p.in.refuse(p.noRoom(full))
		return
	case errors.Is(err, incoming.ErrEnded): // git says what it makes of that
		return
	case errors.Is(err, incoming.ErrTooLarge):
		p.in.refuse(p.packTooLarge())
		return
	case disk.CannotStore(err):
		p.in.refuse(p.notKept(err))
		return
	case err != nil:
		p.in.refuse(err)
		return
	}
	defer func() { _ = kept.Close() }() // it was read
	if err := p.takeMemory(g, pack); err != nil {
		p.in.refuse(err)
		return
	}
	copyInput(stdin, kept)
}

// takeMemory waits for the memory that git needs for a pack, and lets git take it.
func (p *receiving) takeMemory(g *processGroup, pack incoming.Pack) error {
	limit, give, err := p.x.awaitPackMemory(p.name, pack)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		give()
		return nil
	}
	p.pack, p.limit, p.give = pack, limit, give
	return g.limitMemory(limit)
}

// keep reads the pack into a file without a name, which goes away with this process. If there is no time for that,
// git prune finds it by the name that it has for a moment. While it is read, the share of the disk gets room for git's
// copy.
func (p *receiving) keep(r *bufio.Reader, share *disk.Share) (*os.File, incoming.Pack, error) {
	if err := share.Take(leastFree); err != nil {
		return nil, incoming.Pack{}, fmt.Errorf("keep what was pushed: %w", err)
	}
	file, err := os.CreateTemp(filepath.Join(p.dir, "objects", "pack"), "tmp_incoming_*")
	if err != nil {
		return nil, incoming.Pack{}, fmt.Errorf("keep what was pushed: %w", err)
	}
	var pack incoming.Pack
	err = os.Remove(file.Name())
	if err == nil {
		pack, err = incoming.ReadPack(r, p.format, sharing{file, share}, p.x.s.cfg.Limits.MaxPack)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // it is gone
		return nil, pack, fmt.Errorf("keep what was pushed: %w", err)
	}
	return file, pack, nil
}

// formatHint is for a client that went away when it saw a repository without refs: some do so where that has another
// object format than theirs, with words that do not say it.
func (p *receiving) formatHint() string {
	other := git.FormatSHA256
	if p.format == other {
		other = git.FormatSHA1
	}
	return fmt.Sprintf(`hint: if your git says "unexpected capabilities^{}", it has %s object names, and %s has %s; %s`,
		other, p.name, p.format, p.x.s.words(ReasonFormat, p.name, other.String()))
}

// end is called when git has ended.
func (p *receiving) end() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.giveMemoryBack()
}

// giveMemoryBack gives the pack's memory back, if there is any.
func (p *receiving) giveMemoryBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.give != nil {
		p.give()
		p.give = nil
	}
}

// began is for hooks.Push. The first to ask is pre-receive: git is done with the pack then.
func (p *receiving) began() (key *keys.Key, may bool) {
	p.giveMemoryBack()
	return p.in.began()
}

// packTooLarge is for a pack over the limit.
func (p *receiving) packTooLarge() error {
	x, limit := p.x, p.x.s.cfg.Limits.MaxPack
	x.log().Info("push is too large", "repository", p.name, "limit", limit, "remedy", x.s.words(ReasonPackSize))
	return fault.New(fault.Failed,
		fmt.Sprintf("nothing was stored: what was pushed to %s is more than %s, the most that this server takes at once",
			p.name, inBytes(limit)),
		"push it in parts, older commits first: git push REMOTE COMMIT:BRANCH; or "+x.s.askOperator(ReasonPackSize))
}

// outOfMemory is for a pack for which git wanted more than its objects had let expect.
func (p *receiving) outOfMemory() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.x
	x.log().Info("git ran out of its memory", "repository", p.name, "bytes", p.pack.Bytes, "objects", p.pack.Objects,
		"limit", p.limit, "remedy", x.s.words(ReasonGitMemory))
	return fault.New(fault.Refused,
		fmt.Sprintf("nothing was stored: what was pushed to %s is too large: git needs more than the %s of memory that it "+
			"may take for it", p.name, text.Size(p.limit)), x.memoryRemedy(p.pack))
}

// refusedByGit is for what git did not take: git's message names the object, and what is wrong with it.
func (p *receiving) refusedByGit() error {
	if flaw := p.flaws.Found(); flaw.ID != "" {
		return &fault.Error{
			Kind: fault.Failed,
			What: fmt.Sprintf("nothing was stored: object %s has a flaw, %s: git refused what was pushed", flaw.Object,
				flaw.ID),
			Reason: ReasonFlaw, About: []string{p.name, flaw.ID},
		}
	}
	return fault.New(fault.Failed,
		"nothing was stored: git refused what was pushed to "+p.name+", see git's own message",
		"git fsck --strict in your repository names the objects that are not in order")
}

// leastList is the length of the shortest list of ref updates, a flush (gitprotocol-pack(5)).
const leastList = 4

// hadNothing tells whether the client said that there is nothing to push.
func (p *receiving) hadNothing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list.Nothing
}

// retry publishes what pushes left whose refs have moved, as `ssh HOST deploy` does: a client that pushes again after
// "pushed, not deployed" finds nothing to push, and must not read that all is well.
func (p *receiving) retry() int {
	x := p.x
	key, _ := p.in.began()
	if key == nil || !key.May(keys.Deploy, p.name) {
		return exitDone
	}
	if err := x.s.cfg.Hooks.Retry(x.s.killing, p.name, p.dir, hooks.PusherOf(key), x.tell); err != nil {
		x.log().Error("pushed, not deployed", "repository", p.name, "error", err)
		return exitFailed
	}
	return exitDone
}

// warn tells what else is not deployed: git does not send a ref again that has moved, and calls it up to date.
func (p *receiving) warn(outcome hooks.Outcome) {
	x := p.x
	lines, err := x.s.cfg.Hooks.Waiting(x.s.killing, p.name, p.dir, outcome.NotDeployed)
	if err != nil {
		x.log().Warn("cannot look for what earlier pushes left", "repository", p.name, "error", err)
		lines = []string{"warning: it is not known whether what earlier pushes left is deployed; the server's log says more"}
	}
	for _, line := range lines {
		x.tell(text.Printable(line))
	}
}

// deny says which refs git's report must not call "ok", although git has moved them; nil: none.
func (p *receiving) deny(outcome hooks.Outcome) func(ref string) (why string) {
	const moved = "pushed, not deployed: the ref has moved; "
	switch {
	case p.unasked(outcome):
		return func(string) string { return moved + "the server's hooks were not asked" }
	case len(outcome.NotDeployed) == 0:
		return nil
	}
	return func(ref string) string {
		err := outcome.NotDeployed[ref]
		if err == nil {
			return ""
		}
		return moved + p.x.s.hidePaths.Replace(err.Error())
	}
}

// unasked tells whether git may have stored a push without asking the hooks: they are gone.
func (p *receiving) unasked(outcome hooks.Outcome) bool {
	return p.missed(outcome) && checkHooks(p.x.s.hooksPath) != nil
}

// missed tells whether something was pushed and did not come as far as the hooks.
func (p *receiving) missed(outcome hooks.Outcome) bool {
	return !outcome.Reached && p.in.soFar().bytes >= leastList && !p.hadNothing()
}

// report tells what git could not tell, and gives the exit status.
func (p *receiving) report(received input, gitErr error, outcome hooks.Outcome) int {
	x, name := p.x, p.name
	for _, l := range outcome.Late {
		_, _ = fmt.Fprintln(x.err, l)
	}
	status := x.gitStatus("git receive-pack", gitErr)
	missed := p.missed(outcome)
	if len(outcome.Unmoved) > 0 {
		p.tellUnmoved(received, outcome.Unmoved)
	}
	p.noteStorage(outcome)
	switch {
	case p.unasked(outcome):
		x.log().Error("hooks disappeared during a push", "repository", name, "error", checkHooks(x.s.hooksPath))
		return x.fail(hooksError("git may have stored what was pushed to " + name + " without asking its hooks"))
	case outcome.Undeployed != nil:
		x.log().Error("pushed, not deployed", "repository", name, "error", outcome.Undeployed)
		return exitFailed
	case outcome.Behind != nil:
		x.log().Warn("deployed, and nodes are behind", "repository", name, "error", outcome.Behind)
		return exitFailed
	case !outcome.Reached && endedBy(gitErr) != 0: // for which what was pushed is not to blame
		x.tell("hint: nothing was stored: push again")
	case missed && x.err.saidTooLong():
		x.log().Info("push has too many options", "repository", name, "bytes", received.bytes)
		x.tellError(fault.New(fault.Failed,
			"nothing was stored: the push options of this push to "+name+" are more than git can hand to the server",
			"give fewer push options (git push -o; push.pushOption in your git config), or shorter ones"))
		return max(status, exitFailed)
	case missed && p.watch.Memory.Load():
		return x.fail(p.outOfMemory())
	case missed:
		if err, _ := p.serverFault(received, nil); err != nil {
			return x.fail(err)
		}
		x.log().Info("push not taken by git", "repository", name, "bytes", received.bytes, "flaw", p.flaws.Found().ID)
		x.tellError(p.refusedByGit())
		return max(status, exitFailed)
	case received.bytes == 0 && status != exitDone && !received.ended: // git gave up before the client did
		x.log().Error("git cannot serve repository", "repository", name, "status", status)
		x.tell("hint: tell the server's operator that git cannot work with repository " + name)
	case received.bytes == 0 && status != exitDone:
		x.log().Info("client sent nothing", "repository", name)
		if x.hasNoRefs(p.dir) {
			x.tell(p.formatHint())
		}
	}
	return status
}
