package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"A command, such as repo create, or exit-codes."`
}

// Run prints the same as --help on that command.
func (c *helpCmd) Run(_ context.Context, a *app) error {
	parser, err := newParser(a, &cli{})
	if err != nil {
		return err
	}
	return printHelp(parser, c.Command)
}

// helpAsked tells whether args hold --help or -h, and for which command. It comes before parsing, so that show --help
// needs no ID.
func helpAsked(root *kong.Node, args []string) (words []string, ok bool) {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return nil, false
	}
	node := root
	for _, arg := range args {
		if child := childNamed(node, arg); child != nil {
			node, words = child, append(words, arg)
		} else if !strings.HasPrefix(arg, "-") {
			break
		}
	}
	return words, true
}

func childNamed(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

func printHelp(parser *kong.Kong, words []string) error {
	if len(words) == 1 && words[0] == "exit-codes" {
		_, err := io.WriteString(parser.Stdout, exitCodesHelp)
		return err
	}
	node := parser.Model.Node
	for _, word := range words {
		child := childNamed(node, word)
		if child == nil {
			names := childNames(node)
			if node == parser.Model.Node {
				names = append(names, "exit-codes")
			}
			return usagef("no help on %s; there is help on %s", strings.Join(words, " "), strings.Join(names, ", "))
		}
		node = child
	}
	parsed, err := kong.Trace(parser, words)
	if err != nil {
		return err
	}
	if err := parsed.PrintUsage(false); err != nil {
		return err
	}
	footer := "\nEvery command takes --help. refship help exit-codes lists the exit codes.\n"
	if node != parser.Model.Node && node.Leaf() {
		footer = "\nExit codes: refship help exit-codes.\n"
	}
	_, err = io.WriteString(parser.Stdout, footer)
	return err
}
