package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/alecthomas/kong"
)

// A command that is parsed alone is the one that it is among all: the same help, and so the same flags and words.
func TestGrammarOfOneCommand(t *testing.T) {
	t.Parallel()
	whole := testParser(t, &cli{})
	for _, child := range whole.Model.Children {
		alone := testParser(t, grammarOf([]string{child.Name}))
		if got := alone.Model.Children; len(got) != 1 || got[0].Name != child.Name {
			t.Errorf("the grammar of %s has other commands", child.Name)
			continue
		}
		compareHelp(t, whole, alone, child, []string{child.Name})
	}
	for _, args := range [][]string{nil, {"sow"}, {"--json"}, {"Show"}} {
		if _, ok := grammarOf(args).(*cli); !ok {
			t.Errorf("for %q not all commands are known", args)
		}
	}
}

func testParser(t testing.TB, grammar any) *kong.Kong {
	t.Helper()
	parser, err := newParser(&app{stdout: io.Discard, stderr: io.Discard, getenv: func(string) (string, bool) {
		return "", false
	}}, grammar)
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// compareHelp compares the help of a command and of those below it.
func compareHelp(t *testing.T, whole, alone *kong.Kong, node *kong.Node, path []string) {
	t.Helper()
	var want, got bytes.Buffer
	whole.Stdout, alone.Stdout = &want, &got
	if err := printHelp(whole, path); err != nil {
		t.Fatal(err)
	}
	if err := printHelp(alone, path); err != nil {
		t.Fatal(err)
	}
	if want.String() != got.String() || want.Len() == 0 {
		t.Errorf("%q alone has the help\n%s\nand among all\n%s", path, &got, &want)
	}
	for _, child := range node.Children {
		compareHelp(t, whole, alone, child, append(path[:len(path):len(path)], child.Name))
	}
}

// How long a command line takes to be read: with the grammar of its command, and with that of all.
func BenchmarkParser(b *testing.B) {
	for name, grammar := range map[string]func() any{
		"one": func() any { return grammarOf([]string{"checkout"}) },
		"all": func() any { return &cli{} },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				testParser(b, grammar())
			}
		})
	}
}
