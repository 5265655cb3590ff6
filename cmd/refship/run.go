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

	"refship/deploy/text"
)

// app is what a command gets from the process that it runs in.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
	executable     func() (string, error)
	now            func() time.Time
	speech         *slog.Logger // not nil: takes what is said on stderr, as JSON
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

func (a *app) tellf(format string, args ...any) { a.tell(fmt.Sprintf(format, args...)) }

// warn tells of an error that does not end the command; joined errors have a line each.
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

// fail tells of the error that ends the command, and its remedy.
func (a *app) fail(err error) {
	hint := remedyOf(err)
	if a.speech != nil {
		if hint == "" {
			a.speech.Error(err.Error())
		} else {
			a.speech.Error(err.Error(), "hint", hint)
		}
		return
	}
	a.sayLines("error", err.Error())
	a.sayLines("hint", hint)
}

// sayLines prints text that may hold words from outside, and several lines, such as joined errors.
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
	err := runCommand(ctx, args, a)
	if err == nil {
		return exitDone
	}
	if silent := exitError(0); errors.As(err, &silent) {
		return int(silent)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	a.fail(err)
	return exitCode(err)
}

func runCommand(ctx context.Context, args []string, a *app) error {
	parser, err := newParser(a)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return printHelp(parser, nil) // as etcdctl does: help on stdout, exit 0
	}
	if args[0] == "--version" { // what people try first
		args = []string{"version"}
	}
	if words, ok := helpAsked(parser.Model.Node, args); ok {
		return printHelp(parser, words)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return explainUsage(parser, err)
	}
	selected, ok := parsed.Selected().Target.Addr().Interface().(command)
	if !ok {
		return fmt.Errorf("run %s: no such command", parsed.Command())
	}
	err = selected.Run(ctx, a)
	if usage := (*usageError)(nil); errors.As(err, &usage) && usage.command == "" {
		usage.command = parsed.Selected().Path()
	}
	return err
}

// usageError is a command line that cannot be carried out (exit 2).
type usageError struct {
	what    string
	remedy  string // "": only the help is named
	command string // "repo create"; "" for the program itself
}

func usagef(format string, args ...any) *usageError {
	return &usageError{what: fmt.Sprintf(format, args...)}
}

func (e *usageError) Error() string { return e.what }

// Hint names the help of the command.
func (e *usageError) Hint() string {
	help := "see: refship help"
	if e.command != "" {
		help += " " + e.command
	}
	if e.remedy != "" {
		return e.remedy + "\n" + help
	}
	return help
}

// explainUsage turns an error of kong's parser into a usageError, in words that say what is missing.
func explainUsage(parser *kong.Kong, err error) error {
	parse := (*kong.ParseError)(nil)
	if !errors.As(err, &parse) || parse.Context == nil {
		return &usageError{what: err.Error()}
	}
	node := parse.Context.Selected()
	if node == nil {
		node = parser.Model.Node
	}
	usage := &usageError{what: err.Error(), command: node.Path()}
	traced := parse.Context.Error != nil // else every word was understood, and something is missing or not allowed
	missing := missingArguments(node)
	switch rest, unexpected := strings.CutPrefix(err.Error(), "unexpected argument "); {
	case unexpected && len(node.Children) > 0:
		usage.what = "unknown command " + rest
	case !traced && len(missing) > 0:
		usage.what = "missing argument: " + strings.Join(missing, " ")
	case !traced && len(node.Children) > 0:
		usage.what = fmt.Sprintf("%s needs a command: %s", node.Name, strings.Join(childNames(node), ", "))
	}
	if flags := missingFlags(parse.Context); !traced && len(missing) == 0 && len(flags) > 0 {
		usage.remedy = strings.Join(flags, "\n")
	}
	if env := resolvedFrom(parse.Context, err); env != "" && !traced {
		usage.what += " (from $" + env + ")"
	}
	return usage
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

// missingFlags gives what the help says of each flag that is required and not there.
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
		names = append(names, child.Name)
	}
	return names
}

// resolvedFrom is the environment variable that gave the value which err complains about, or "".
func resolvedFrom(parsed *kong.Context, err error) string {
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
		return envName(flag)
	}
	return ""
}
