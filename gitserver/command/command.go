package command

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
)

// Verb is what an ssh command asks for.
type Verb string

// The commands: git's two, refship's one, and the few that a person types.
const (
	Greet       Verb = "" // a session without a command
	Help        Verb = "help"
	Repos       Verb = "repos"
	Log         Verb = "log"
	Status      Verb = "status"
	Nodes       Verb = "nodes"
	Deploy      Verb = "deploy"
	Check       Verb = "check"
	Cosign      Verb = "cosign"
	Etcd        Verb = "etcd"
	Web         Verb = "web"
	ReceivePack Verb = "git-receive-pack"
	UploadPack  Verb = "git-upload-pack"
)

// Command is a parsed ssh command.
type Command struct {
	Verb       Verb
	Repository string // name; "" for Greet, Help, Repos and Web
	Target     string // name, not checked; "" if none was given
	Limit      int    // of Log: how many deploys, 0 for all
	Deploy     string // of Rollback, not checked
	Reason     string // of Rollback, Hold and Resume
	Hold       bool   // of Rollback: hold the chain with it
	Commit     string // of Check: an oid or a ref's name, not checked
}

// DefaultLimit is how many deploys log prints if it is not told: a chain is long, and its end is what people ask for.
const DefaultLimit = 20

// maxCommand is the longest command, in bytes.
const maxCommand = 1000

// Parse understands what git sends for push, clone and fetch, and the few commands that a person types.
func Parse(raw string) (Command, error) {
	words, err := splitWords(raw)
	if err != nil {
		return Command{}, err
	}
	if len(words) == 0 {
		return Command{Verb: Greet}, nil
	}
	words = gitWords(words)
	v, args := Verb(words[0]), words[1:]
	switch v {
	case Help, Repos, Web:
		if len(args) > 0 {
			return Command{}, usageError("%s takes no argument", v)
		}
		return Command{Verb: v}, nil
	case ReceivePack, UploadPack, Status:
		return withRepository(v, args)
	case Deploy, Nodes, Promote, Cosign, Etcd:
		return withTarget(v, args)
	case Check:
		return parseCheck(args)
	case Log:
		return parseLog(args)
	case Rollback:
		return parseRollback(args)
	case Hold, Resume:
		return parseHold(v, args)
	case "git-lfs-authenticate", "git-lfs-transfer":
		return Command{}, noLFS(args)
	case "git-upload-archive":
		return Command{}, fault.New(fault.Refused, "git-upload-archive is not served here",
			"clone or fetch, then run git archive on your side")
	}
	return Command{}, usageError("unknown command %s", text.Mention(words[0]))
}

// gitWords spells git's own commands in one way. Clients also send "git receive-pack", for
// --receive-pack="git receive-pack", and a program's place on the server, /usr/bin/git-receive-pack: there is one git
// here.
func gitWords(words []string) []string {
	name := path.Base(words[0])
	switch {
	case name == "git" && len(words) > 1:
		return append([]string{"git-" + words[1]}, words[2:]...)
	case strings.HasPrefix(name, "git-"):
		return append([]string{name}, words[1:]...)
	}
	return words
}

const commandsRemedy = "the commands are help, repos, web, log REPO[:TARGET] [-n N|all], status REPO, " +
	"nodes REPO[:TARGET], check REPO[:TARGET] COMMIT, deploy REPO[:TARGET], rollback REPO[:TARGET] ID REASON, " +
	"hold REPO[:TARGET] REASON, " +
	"resume REPO[:TARGET], promote REPO[:TARGET], cosign REPO[:TARGET] and etcd REPO[:TARGET] (for refship with " +
	"ssh:// chains), and git's own git-receive-pack (push) " +
	"and git-upload-pack (clone, fetch)"

// usageError is for a command that is not understood.
func usageError(format string, args ...any) error {
	return fault.New(fault.Usage, fmt.Sprintf(format, args...), commandsRemedy)
}

// ReasonLFS: a Git LFS client asks for a server of its own. About: the repository.
const ReasonLFS fault.Reason = "no-lfs"

// noLFS tells a Git LFS client, which asks about a repository, that there is none for it.
func noLFS(args []string) error {
	name := "REPO"
	if len(args) > 0 {
		if n, err := repos.NameFromPath(args[0]); err == nil {
			name = n
		}
	}
	return &fault.Error{Kind: fault.Refused, What: "refship has no LFS", Reason: ReasonLFS, About: []string{name}}
}

// withRepository wants one repository and nothing else.
func withRepository(v Verb, args []string) (Command, error) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return Command{}, usageError("%s takes no option: %s", v, text.Mention(text.Clip(a)))
		}
	}
	if len(args) != 1 {
		return Command{}, usageError("%s takes one repository, not %d arguments", v, len(args))
	}
	if v == Status && strings.Contains(args[0], ":") {
		return Command{}, fault.New(fault.Usage, "status takes no target: "+text.Mention(text.Clip(args[0])),
			"give it the repository alone: it tells of all targets")
	}
	name, err := repos.NameFromPath(args[0])
	if err != nil {
		return Command{}, err
	}
	return Command{Verb: v, Repository: name}, nil
}

// withTarget wants one REPO or REPO:TARGET. A repository's name has no colon. Whether there is such a target shows
// when it is looked for.
func withTarget(v Verb, args []string) (Command, error) {
	if len(args) != 1 {
		return withRepository(v, args)
	}
	repository, target, given := strings.Cut(args[0], ":")
	c, err := withRepository(v, []string{repository})
	if err != nil {
		return Command{}, err
	}
	if given && target == "" {
		return Command{}, usageError("%s: the target's name is missing after %s:", v, c.Repository)
	}
	c.Target = target
	return c, nil
}

// parseCheck wants REPO or REPO:TARGET, and what names a commit.
func parseCheck(args []string) (Command, error) {
	if len(args) != 2 {
		return Command{}, usageError("check takes a repository and a commit, not %s", text.Count(len(args), "argument"))
	}
	c, err := withTarget(Check, args[:1])
	if err != nil {
		return Command{}, err
	}
	if args[1] == "" || strings.HasPrefix(args[1], "-") {
		return Command{}, usageError("check takes a commit, not %s", text.Mention(text.Clip(args[1])))
	}
	c.Commit = args[1]
	return c, nil
}

// parseLog wants REPO or REPO:TARGET, and "-n N", "-nN" or the same with all, before or after it.
func parseLog(args []string) (Command, error) {
	limit := DefaultLimit
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-n") }); i >= 0 {
		value, used := args[i][len("-n"):], 1
		if value == "" {
			if len(args) == i+1 {
				return Command{}, usageError("-n: a number from 1 on is missing, or all")
			}
			value, used = args[i+1], 2
		}
		var err error
		if limit, err = ParseLimit(value); err != nil {
			return Command{}, fmt.Errorf("-n: %w", err)
		}
		args = slices.Delete(slices.Clone(args), i, i+used)
	}
	c, err := withTarget(Log, args)
	if err != nil {
		return Command{}, err
	}
	c.Limit = limit
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
// Other clients, and people, write "/config": in double quotes a backslash makes one of "\$` after it literal, as in a
// shell. No shell reads these words, so nothing else has a meaning.
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
			quoted, after, found := cutDoubleQuoted(s[1:])
			if !found {
				return "", "", false
			}
			b.WriteString(quoted)
			s = after
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), s, true
}

// cutDoubleQuoted reads what is in double quotes, up to the one that ends it.
func cutDoubleQuoted(s string) (quoted, rest string, found bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
