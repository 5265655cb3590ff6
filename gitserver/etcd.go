package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/etcd/gate"
	"refship/deploy/fault"
	"refship/gitserver/command"
	"refship/hooks"
	"refship/keys"
)

const (
	// lookEvery is how often a gate looks whether its key may still read.
	lookEvery = 2 * time.Second
	// settled is how old a file's time must be for its next change to show in it: a clock may stand still for so long.
	settled = 10 * time.Second
	// lastWords is how long a client has to read what a gate sent last.
	lastWords = time.Second
)

// etcd lets a client read the chain of a target by etcd's own API, over the session's input and output.
func (x *session) etcd(key *keys.Key, c command.Command) int {
	if x.s.cfg.Gates == nil {
		return x.fail(errors.New("this server has no gate to etcd"))
	}
	e, err := x.findEntry(key, c)
	if err != nil {
		return x.fail(err)
	}
	since := time.Now()
	ctx, end := context.WithCancelCause(x.ctx)
	defer end(nil)
	defer context.AfterFunc(x.s.stopping, func() { end(errShuttingDown) })()
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := e.watch(ctx); err != nil {
			end(err)
		}
	})
	stream, finish := x.duplex()
	err = x.s.cfg.Gates.Serve(ctx, stream, gate.Visitor{
		Namespace: e.namespace, Node: e.node, Key: gossh.FingerprintSHA256(x.pub),
	})
	hasLeft := x.ctx.Err() != nil && x.s.killing.Err() == nil
	end(nil)
	watching.Wait()
	finish()
	status := exitDone
	if err != nil && !hasLeft {
		status = x.fail(err)
	}
	x.log().Info("gate to etcd closed", "repository", c.Repository, "namespace", e.namespace, "status", status,
		"took", time.Since(since))
	return status
}

// entry is what a gate was opened by.
type entry struct {
	x         *session
	command   command.Command
	dir       string
	namespace string
	node      string      // "": it may only read
	seen      []fileState // of the files that decide
	at        time.Time   // when they were read
}

// findEntry finds the chain that a key may read.
func (x *session) findEntry(key *keys.Key, c command.Command) (*entry, error) {
	e := &entry{x: x, command: c, at: time.Now()}
	var err error
	if e.dir, err = x.findRepository(key, c.Repository, keys.Read); err != nil {
		return nil, err
	}
	e.seen = e.states()
	place, err := hooks.FindPlace(c.Repository, e.dir, c.Target)
	e.namespace = string(place.Target.Namespace)
	if key.May(keys.Node, c.Repository) {
		e.node = key.Name
	}
	return e, err
}

// watch returns why the gate must be closed, or nil when ctx has ended.
func (e *entry) watch(ctx context.Context) error {
	tick := time.NewTicker(e.x.s.lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if e.isUnchanged() {
			continue
		}
		key, err := e.x.lookUpKey()
		if err != nil {
			return err
		}
		now, err := e.x.findEntry(key, e.command)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case now.namespace != e.namespace:
			return fault.New(fault.Refused, fmt.Sprintf("%s deploys to %s now, and no more to %s", e.command.Repository,
				now.namespace, e.namespace), "read its chain anew")
		case now.node != e.node:
			return fault.New(fault.Refused, "the rules of this key were changed", "try again")
		}
		e.seen, e.at = now.seen, now.at
	}
}

// fileState is what tells that a file was changed.
type fileState struct {
	inode   uint64
	size    int64
	changed time.Time
}

// states are those of the files of keys and of the repository's targets.
func (e *entry) states() []fileState {
	var all []fileState
	for _, path := range []string{e.x.s.cfg.Keys.Path, filepath.Join(e.dir, "config")} {
		var state fileState
		if info, err := os.Stat(path); err == nil {
			sys, _ := info.Sys().(*syscall.Stat_t)
			state = fileState{size: info.Size(), changed: info.ModTime()}
			if sys != nil {
				state.inode, state.changed = sys.Ino, time.Unix(sys.Ctim.Unix())
			}
		}
		all = append(all, state)
	}
	return all
}

// isUnchanged tells whether the files are certainly as they were.
func (e *entry) isUnchanged() bool {
	for i, state := range e.states() {
		if state != e.seen[i] || e.at.Sub(state.changed) < settled {
			return false
		}
	}
	return true
}

// duplex gives the session's input and output as one stream, whose Close ends its reads and writes: those of a channel
// end only with it. finish returns when what was written last is under way to the client, and closes the stream.
func (x *session) duplex() (stream io.ReadWriteCloser, finish func()) {
	near, far := net.Pipe()
	x.copying.Go(func() {
		_, _ = io.Copy(near, x.in)
		_ = near.Close() // the client says no more
	})
	sent := make(chan struct{})
	x.copying.Go(func() {
		defer close(sent)
		_, _ = io.Copy(x.raw, near)
	})
	return far, func() {
		_ = far.Close()
		select {
		case <-sent:
		case <-x.ctx.Done():
		case <-time.After(lastWords): // it reads nothing
		}
		_ = near.Close()
	}
}
