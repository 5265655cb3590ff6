package words

import (
	"fmt"
	"sync/atomic"

	"refship/hooks/target"
)

// Commands are the commands that hints name. Safe for concurrent use.
type Commands struct {
	// Own is the program's own command that deploys a target's ref, with force over a head that the ref does not
	// contain; nil: ssh HOST deploy, and no command forces.
	Own  func(t target.Target, force bool) string
	port atomic.Int32
}

// ListensOn tells on which port the SSH server takes commands; hints name it, unless it is SSH's own.
func (c *Commands) ListensOn(port int) { c.port.Store(int32(port)) }

// SSH is how a user of the SSH server begins a command.
func (c *Commands) SSH() string {
	const ownPort = 22
	if port := c.port.Load(); port != 0 && port != ownPort {
		return fmt.Sprintf("ssh -p %d git@HOST", port)
	}
	return "ssh HOST"
}

// Redeploy deploys what a target's ref has.
func (c *Commands) Redeploy(repository string, t target.Target) string {
	if c.Own != nil {
		return c.Own(t, false)
	}
	return c.SSH() + " deploy " + repository
}

// RedeployTarget is Redeploy of this target alone.
func (c *Commands) RedeployTarget(repository string, t target.Target) string {
	command := c.Redeploy(repository, t)
	if c.Own == nil {
		command += ":" + t.Name
	}
	return command
}

// Override says how a target's ref replaces a head that it does not contain. An installed hook lets no push force.
func (c *Commands) Override(t target.Target) string {
	if c.Own != nil {
		return "replace it: " + c.Own(t, true)
	}
	return "push what shall replace it with: -o deploy.force -o deploy.reason='…'"
}
