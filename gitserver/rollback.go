package gitserver

import (
	"refship/gitserver/command"
	"refship/hooks"
	"refship/keys"
)

// rollback publishes an earlier deploy of a chain again.
func (x *session) rollback(key *keys.Key, c command.Command) int {
	return x.onChain(key, c, func(key *keys.Key, at hooks.Place) error {
		_, err := x.s.cfg.Hooks.Rollback(x.s.killing, &hooks.Rollback{
			Place: at, Deploy: c.Deploy, Who: hooks.PusherOf(key), Reason: c.Reason, Hold: c.Hold,
			Tell: func(line string) { x.print("refship: %s", line) },
		})
		return err
	})
}

// hold keeps a chain from going on.
func (x *session) hold(key *keys.Key, c command.Command) int {
	return x.onChain(key, c, func(key *keys.Key, at hooks.Place) error {
		said, err := x.s.cfg.Hooks.Hold(x.s.killing, at, hooks.PusherOf(key), c.Reason)
		if err == nil {
			x.print("refship: %s", said)
		}
		return err
	})
}

// resume lets it go on. The hold of another user needs the rule force.
func (x *session) resume(key *keys.Key, c command.Command) int {
	return x.onChain(key, c, func(key *keys.Key, at hooks.Place) error {
		may := key.May(keys.Force, c.Repository)
		said, err := x.s.cfg.Hooks.Resume(x.s.killing, at, hooks.PusherOf(key), c.Reason, may)
		if err == nil {
			x.print("refship: %s", said)
		}
		return err
	})
}

// promote releases the head to the next ring.
func (x *session) promote(key *keys.Key, c command.Command) int {
	return x.onChain(key, c, func(key *keys.Key, at hooks.Place) error {
		said, err := x.s.cfg.Hooks.Promote(x.s.killing, at, hooks.PusherOf(key))
		if err == nil {
			x.print("refship: %s", said)
		}
		return err
	})
}

// onChain does something with the chain of a target that the key may deploy, as a turn in its repository.
func (x *session) onChain(key *keys.Key, c command.Command, do func(*keys.Key, hooks.Place) error) int {
	v, err := x.enter(x.s.pushes, key, c.Repository, keys.Deploy, pushNeeds)
	if err != nil {
		return x.fail(err)
	}
	defer v.leave()
	defer x.s.cfg.Hooks.NoteLater(v.dir)
	at, err := hooks.FindPlace(c.Repository, v.dir, c.Target)
	if err == nil {
		err = do(v.key, at)
	}
	if err != nil {
		return x.fail(err)
	}
	return exitDone
}
