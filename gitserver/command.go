package gitserver

import (
	"fmt"
	"strings"
)

// verb is what an ssh command asks for.
type verb string

const (
	verbGreet       verb = "" // a session without a command
	verbHelp        verb = "help"
	verbDeploy      verb = "deploy"
	verbReceivePack verb = "git-receive-pack"
	verbUploadPack  verb = "git-upload-pack"
)

// command is a parsed ssh command.
type command struct {
	verb       verb
	repository string // name; "" for greet and help
}

const maxCommand = 1000

// parseCommand understands what git sends for push, clone and fetch, and the few commands a person types. Errors are
// *usageError, *NameError or *refusedError.
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
	case verbHelp:
		if len(args) > 0 {
			return command{}, &usageError{what: "help takes no argument", remedy: helpHint}
		}
		return command{verb: v}, nil
	case verbReceivePack, verbUploadPack, verbDeploy:
		return withRepository(v, args)
	case "git-upload-archive":
		return command{}, &refusedError{
			what:   "git-upload-archive is not served here",
			remedy: "clone or fetch, then run git archive on your side",
		}
	}
	return command{}, &usageError{what: fmt.Sprintf("unknown command %s", printable(words[0])), remedy: helpHint}
}

const helpHint = "the commands are help, deploy REPO, and git's own git-receive-pack (push) and git-upload-pack (clone, fetch)"

func withRepository(v verb, args []string) (command, error) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return command{}, &usageError{
				what:   fmt.Sprintf("%s takes no option: %s", v, printable(a)),
				remedy: "give it a repository's name and nothing else",
			}
		}
	}
	if len(args) != 1 {
		return command{}, &usageError{
			what:   fmt.Sprintf("%s takes one repository, not %d arguments", v, len(args)),
			remedy: helpHint,
		}
	}
	name, err := repositoryName(args[0])
	if err != nil {
		return command{}, err
	}
	return command{verb: v, repository: name}, nil
}

// splitWords takes a command apart the way git puts it together (sq_quote_buf in git's quote.c): words are separated by
// spaces, a single-quoted part is literal, and outside of quotes a backslash takes the quote or the exclamation mark
// after it literally: it's! is 'it'\”s'\!”. No shell reads these words, so nothing else has a meaning.
func splitWords(raw string) ([]string, error) {
	if len(raw) > maxCommand {
		return nil, &usageError{what: fmt.Sprintf("command is longer than %d bytes", maxCommand), remedy: helpHint}
	}
	if strings.ContainsAny(raw, "\x00\n\r") {
		return nil, &usageError{what: "command has a NUL or newline in it: " + printable(raw), remedy: helpHint}
	}
	var words []string
	for rest := strings.TrimLeft(raw, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		w, r, ok := nextWord(rest)
		if !ok {
			return nil, &usageError{what: "cannot read the quotes of the command " + printable(raw), remedy: helpHint}
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
