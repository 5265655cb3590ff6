package gitserver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
)

// verb is what an ssh command asks for.
type verb string

const (
	verbGreet       verb = "" // a session without a command
	verbHelp        verb = "help"
	verbRepos       verb = "repos"
	verbLog         verb = "log"
	verbStatus      verb = "status"
	verbDeploy      verb = "deploy"
	verbReceivePack verb = "git-receive-pack"
	verbUploadPack  verb = "git-upload-pack"
)

// command is a parsed ssh command.
type command struct {
	verb       verb
	repository string // name; "" for greet, help and repos
	target     string // name, not checked; "" if none was given
	limit      int    // of log: how many deploys, 0 for all
}

// defaultLimit is how many deploys log prints if it is not told: a chain is long, and its end is what people ask for.
const defaultLimit = 20

// maxCommand is the longest command, in bytes.
const maxCommand = 1000

// parseCommand understands what git sends for push, clone and fetch, and the few commands that a person types.
func parseCommand(raw string) (command, error) {
	words, err := splitWords(raw)
	if err != nil {
		return command{}, err
	}
	if len(words) == 0 {
		return command{verb: verbGreet}, nil
	}
	// "git receive-pack" is how --receive-pack="git receive-pack" and some other clients spell it.
	if words[0] == "git" && len(words) > 1 {
		words = append([]string{"git-" + words[1]}, words[2:]...)
	}
	v, args := verb(words[0]), words[1:]
	switch v {
	case verbHelp, verbRepos:
		if len(args) > 0 {
			return command{}, usageError("%s takes no argument", v)
		}
		return command{verb: v}, nil
	case verbReceivePack, verbUploadPack, verbStatus:
		return withRepository(v, args)
	case verbDeploy:
		return withTarget(v, args)
	case verbLog:
		return parseLog(args)
	case "git-upload-archive":
		return command{}, fault.New(fault.Refused, "git-upload-archive is not served here",
			"clone or fetch, then run git archive on your side")
	}
	return command{}, usageError("unknown command %s", text.Mention(words[0]))
}

const commandsRemedy = "the commands are help, repos, log REPO[:TARGET] [-n N|all], status REPO, " +
	"deploy REPO[:TARGET], and git's own git-receive-pack (push) and git-upload-pack (clone, fetch)"

// usageError is for a command that is not understood.
func usageError(format string, args ...any) error {
	return fault.New(fault.Usage, fmt.Sprintf(format, args...), commandsRemedy)
}

// withRepository wants one repository and nothing else.
func withRepository(v verb, args []string) (command, error) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return command{}, usageError("%s takes no option: %s", v, text.Mention(text.Clip(a)))
		}
	}
	if len(args) != 1 {
		return command{}, usageError("%s takes one repository, not %d arguments", v, len(args))
	}
	if v == verbStatus && strings.Contains(args[0], ":") {
		return command{}, fault.New(fault.Usage, "status takes no target: "+text.Mention(text.Clip(args[0])),
			"give it the repository alone: it tells of all targets")
	}
	name, err := repos.NameFromPath(args[0])
	if err != nil {
		return command{}, err
	}
	return command{verb: v, repository: name}, nil
}

// withTarget wants one REPO or REPO:TARGET. A repository's name has no colon. Whether there is such a target shows
// when it is looked for.
func withTarget(v verb, args []string) (command, error) {
	if len(args) != 1 {
		return withRepository(v, args)
	}
	repository, target, given := strings.Cut(args[0], ":")
	c, err := withRepository(v, []string{repository})
	if err != nil {
		return command{}, err
	}
	if given && target == "" {
		return command{}, usageError("%s: the target's name is missing after %s:", v, c.repository)
	}
	c.target = target
	return c, nil
}

// parseLog wants REPO or REPO:TARGET, and "-n N" or "-n all" before or after it.
func parseLog(args []string) (command, error) {
	limit := defaultLimit
	if i := slices.Index(args, "-n"); i >= 0 {
		if len(args) == i+1 {
			return command{}, usageError("-n: a number from 1 on is missing, or all")
		}
		var err error
		if limit, err = ParseLimit(args[i+1]); err != nil {
			return command{}, fmt.Errorf("-n: %w", err)
		}
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	c, err := withTarget(verbLog, args)
	if err != nil {
		return command{}, err
	}
	c.limit = limit
	return c, nil
}

// ParseLimit reads how many deploys a log shows: a number from 1 on, or all, which is 0.
func ParseLimit(arg string) (int, error) {
	if arg == "all" {
		return 0, nil
	}
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil || n == 0 {
		return 0, usageError("%s is neither a number from 1 on nor all", text.Mention(text.Clip(arg)))
	}
	return int(n), nil
}

// splitWords takes a command apart the way git puts it together (sq_quote_buf in git's quote.c). Words are separated
// by spaces. A single-quoted part is literal. Outside of quotes a backslash makes the quote or the exclamation mark
// after it literal. For it's! git sends
//
//	'it'\''s'\!''
//
// No shell reads these words, so nothing else has a meaning.
func splitWords(raw string) ([]string, error) {
	if len(raw) > maxCommand {
		return nil, usageError("command is %d bytes (limit %d)", len(raw), maxCommand)
	}
	if strings.ContainsAny(raw, "\x00\n\r") {
		return nil, usageError("command has a NUL or newline in it: %s", text.Mention(raw))
	}
	var words []string
	for rest := strings.TrimLeft(raw, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		w, r, ok := nextWord(rest)
		if !ok {
			return nil, usageError("cannot read the quotes of the command %s", text.Mention(raw))
		}
		words, rest = append(words, w), r
	}
	return words, nil
}

// nextWord cuts the first word off s, which does not start with a space.
func nextWord(s string) (word, rest string, ok bool) {
	var b strings.Builder
	for s != "" && s[0] != ' ' {
		switch s[0] {
		case '\'':
			quoted, after, found := strings.Cut(s[1:], "'")
			if !found {
				return "", "", false
			}
			b.WriteString(quoted)
			s = after
		case '\\':
			if len(s) < 2 || (s[1] != '\'' && s[1] != '!') {
				return "", "", false
			}
			b.WriteByte(s[1])
			s = s[2:]
		case '"':
			return "", "", false
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), s, true
}
