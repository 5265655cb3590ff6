package command

import (
	"slices"
	"strings"
)

// The commands that change a chain without a push.
const (
	Rollback Verb = "rollback"
	Hold     Verb = "hold"
	Resume   Verb = "resume"
	Promote  Verb = "promote"
)

// parseRollback wants REPO or REPO:TARGET, a deploy and a reason, and --hold anywhere among them.
func parseRollback(args []string) (c Command, err error) {
	hold := slices.Contains(args, "--hold")
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--hold" })
	if len(args) < 3 {
		return c, usageError("rollback wants a repository, a deploy and a reason: rollback REPO[:TARGET] ID REASON")
	}
	if c, err = withTarget(Rollback, args[:1]); err != nil {
		return c, err
	}
	c.Deploy, c.Reason, c.Hold = args[1], strings.Join(args[2:], " "), hold
	return c, nil
}

// parseHold wants REPO or REPO:TARGET, and a reason: all the words that follow.
func parseHold(v Verb, args []string) (Command, error) {
	switch {
	case len(args) == 0:
		return Command{}, usageError("%s wants a repository: %s REPO[:TARGET] REASON", v, v)
	case v == Hold && len(args) == 1:
		return Command{}, usageError("hold wants a reason: hold REPO[:TARGET] REASON")
	}
	c, err := withTarget(v, args[:1])
	if err != nil {
		return Command{}, err
	}
	c.Reason = strings.Join(args[1:], " ")
	return c, nil
}
