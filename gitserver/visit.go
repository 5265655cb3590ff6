package gitserver

import (
	"context"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/gitserver/admit"
	"refship/keys"
)

// visit is a turn in a repository.
type visit struct {
	dir    string    // of the repository
	key    *keys.Key // as it was when the turn came
	memory int64     // that the turn is worth, in bytes
	nice   int       // of its git, in steps of git.Lower
	leave  func()    // gives it back
}

// checkRepository refuses a repository in which git refuses to work, or would wait for ever. The log has the places.
func (x *session) checkRepository(name, dir string) error {
	why, err := "it belongs to another account there", x.s.cfg.Repos.CheckOwner(name)
	if err == nil {
		why, err = "something other than a file is in the place of one there", git.CheckFiles(dir)
	}
	if err == nil {
		return nil
	}
	x.log().Error("git cannot serve repository", "repository", name, "error", err, "remedy", fault.RemedyOf(err))
	return fault.New(fault.Failed, "the server cannot work with repository "+name+": "+why,
		"tell the server's operator, whose log says what to do")
}

// enter finds a repository on which the key may do what the command needs, and waits for a turn to run git in it. It
// gives up when the client leaves or the server is shutting down. If it had to wait, it looks up again whether the key
// may do that.
func (x *session) enter(
	p *admit.Pool, key *keys.Key, name string, need keys.Action, size func(dir string) int64,
) (v *visit, err error) {
	v = &visit{key: key}
	if v.dir, err = x.findRepository(key, name, need); err != nil {
		return nil, err
	}
	if err := x.checkRepository(name, v.dir); err != nil {
		return nil, err
	}
	release := func() {}
	if p == x.s.pushes { // what changes something works with the directory to its end
		if release, err = x.s.cfg.Repos.Use(name); err != nil {
			return nil, err
		}
	}
	v.memory = min(size(v.dir), p.Size())
	t := p.Request(gossh.FingerprintSHA256(x.pub), v.memory)
	v.leave = func() { t.GiveBack(); release() }
	if t.Granted() {
		v.nice = t.Nice()
		return v, nil
	}
	ctx, stop := context.WithCancelCause(x.ctx)
	defer stop(nil)
	defer context.AfterFunc(x.s.stopping, func() { stop(errShuttingDown) })()
	if err = t.Wait(ctx, x.tellWait); err == nil {
		v.key, err = x.stillMay(name, need)
	}
	if err != nil {
		v.leave()
		return nil, err
	}
	v.nice = t.Nice()
	return v, nil
}

// tellWait tells the client what its command waits for.
func (x *session) tellWait(what string) { x.tell("waiting: " + what) }
