package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// app is what a command gets from the process that it runs in.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
	executable     func() (string, error)
	now            func() time.Time
	speech         *slog.Logger // nil: speech goes to stderr as text; else here, as JSON
}

// say prints one line of speech.
func (a *app) say(format string, args ...any) {
	a.tell(fmt.Sprintf(format, args...))
}

// tell prints lines of speech in one write.
func (a *app) tell(lines ...string) {
	if a.speech != nil {
		for _, line := range lines {
			a.speech.Info(line)
		}
		return
	}
	var words strings.Builder
	for _, line := range lines {
		words.WriteString("refship: " + line + "\n")
	}
	fmt.Fprint(a.stderr, words.String())
}

// warn tells of an error that does not end the command. Joined errors have a line each.
func (a *app) warn(err error) {
	for line := range strings.Lines(err.Error()) {
		line = text.Printable(strings.TrimSuffix(line, "\n"))
		if a.speech != nil {
			a.speech.Warn(line)
		} else {
			a.tell("warning: " + line)
		}
	}
}

// fail tells of an error and its remedy, which may be "".
func (a *app) fail(err error, remedy string) {
	if a.speech == nil {
		a.sayLines("error", err.Error())
		a.sayLines("hint", remedy)
		return
	}
	var attrs []any
	if remedy != "" {
		attrs = []any{"hint", remedy}
	}
	a.speech.Error(err.Error(), attrs...)
}

// sayLines prints text that may have several lines, such as joined errors, and words from outside.
func (a *app) sayLines(what, said string) {
	for line := range strings.Lines(said) {
		a.say("%s: %s", what, text.Printable(strings.TrimSuffix(line, "\n")))
	}
}

// command is a subcommand, parsed.
type command interface {
	Run(ctx context.Context, a *app) error
}

// run is the whole program: it parses args, runs the command, prints its error and gives the exit status.
func run(ctx context.Context, args []string, a *app) int {
	path, err := runCommand(ctx, args, a)
	if silent := exitError(0); err == nil || errors.As(err, &silent) {
		return exitCode(err)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	remedy := remedyOf(err)
	if fault.Is(err, fault.Usage) {
		remedy = strings.TrimLeft(remedy+"\nsee: "+strings.TrimSpace("refship help "+path), "\n")
	}
	a.fail(err, remedy)
	return exitCode(err)
}

// runCommand gives the path of the command that it has run, such as "repo create", "" for the program itself.
func runCommand(ctx context.Context, args []string, a *app) (path string, err error) {
	if len(args) > 0 && args[0] == "--version" { // what people try first
		args = []string{"version"}
	}
	parser, err := newParser(a, grammarOf(args))
	if err != nil {
		return "", err
	}
	if len(args) == 0 {
		return "", printHelp(parser, nil) // as etcdctl does: help on stdout, exit 0
	}
	if words, ok := helpAsked(parser.Model.Node, args); ok {
		return "", printHelp(parser, words)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return a.explainUsage(parser, err)
	}
	path = parsed.Selected().Path()
	selected, ok := parsed.Selected().Target.Addr().Interface().(command)
	if !ok {
		return path, fmt.Errorf("run %s: no such command", parsed.Command())
	}
	return path, selected.Run(ctx, a)
}

// usagef makes the error of a command line that cannot be carried out.
func usagef(format string, args ...any) error { return fault.Newf(fault.Usage, format, args...) }

// asUsage makes a usage error of an error about a flag, and keeps its remedy. flag is "" if the error names the word.
func asUsage(flag string, err error) error {
	what := err.Error()
	if flag != "" {
		what = flag + ": " + what
	}
	return fault.New(fault.Usage, what, remedyOf(err))
}

// explainUsage turns an error of kong's parser into a usage error that says what is missing. It gives the path of the
// command, too.
func (a *app) explainUsage(parser *kong.Kong, err error) (path string, _ error) {
	parse := (*kong.ParseError)(nil)
	if !errors.As(err, &parse) || parse.Context == nil {
		return "", fault.New(fault.Usage, err.Error(), "")
	}
	node := parse.Context.Selected()
	if node == nil {
		node = parser.Model.Node
	}
	what, remedy := err.Error(), ""
	understood := parse.Context.Error == nil // every word was; something is missing, or not allowed
	missing := missingArguments(node)
	switch rest, unexpected := strings.CutPrefix(err.Error(), "unexpected argument "); {
	case unexpected && len(node.Children) > 0:
		what = "unknown command " + rest
	case understood && len(missing) > 0:
		what = "missing argument: " + strings.Join(missing, " ")
	case understood && len(node.Children) > 0:
		what = fmt.Sprintf("%s needs a command: %s", node.Name, strings.Join(childNames(node), ", "))
	}
	if understood && len(missing) == 0 {
		remedy = strings.Join(missingFlags(parse.Context), "\n")
	}
	if env := a.resolvedFrom(parse.Context, err); env != "" && understood {
		what += " (from $" + env + ")"
	}
	return node.Path(), fault.New(fault.Usage, what, remedy)
}

func missingArguments(node *kong.Node) []string {
	var names []string
	for _, arg := range node.Positional {
		if arg.Required && !arg.Set {
			names = append(names, arg.Summary())
		}
	}
	return names
}

// missingFlags gives the help of each required flag that is missing.
func missingFlags(parsed *kong.Context) []string {
	var texts []string
	for _, flag := range parsed.Flags() {
		if flag.Required && !flag.Set {
			texts = append(texts, flag.Summary()+": "+flag.Help)
		}
	}
	return texts
}

func childNames(node *kong.Node) []string {
	var names []string
	for _, child := range node.Children {
		if !child.Hidden {
			names = append(names, child.Name)
		}
	}
	return names
}

// resolvedFrom is the environment variable that gave the value that err is about, or "".
func (a *app) resolvedFrom(parsed *kong.Context, err error) string {
	for _, flag := range parsed.Flags() {
		name, _, _ := strings.Cut(err.Error(), " ")
		if strings.TrimSuffix(name, ":") != "--"+flag.Name {
			continue
		}
		for _, part := range parsed.Path {
			if part.Flag == flag && !part.Resolved {
				return "" // the command line gave it
			}
		}
		name, _ = a.variable(flag)
		return name
	}
	return ""
}
