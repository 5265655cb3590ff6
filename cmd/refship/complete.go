package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
)

const (
	// completeWithin bounds how long a shell waits for an etcd.
	completeWithin = time.Second
	// completeDeploys is how many of a chain's newest deploys are offered.
	completeDeploys = 20
)

// completeCmd is what the scripts of refship completion run.
type completeCmd struct {
	chainFlags
	Words []string `arg:"" optional:"" help:"What was typed after refship; the last word is the one to complete."`
}

// Run prints a line for each way to go on: the whole word, a tab, what it is. It reads the data directory and the etcd
// in it. Whatever goes wrong, there is less to offer: nothing is said, since the user is typing.
func (c *completeCmd) Run(ctx context.Context, a *app) error {
	if len(c.Words) == 0 {
		return nil
	}
	parser, err := newParser(a, &cli{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	quiet := *a
	quiet.stderr = io.Discard
	w := typed{app: &quiet, root: parser.Model.Node, flags: c.chainFlags, current: c.Words[len(c.Words)-1]}
	w.read(c.Words[:len(c.Words)-1])
	for _, o := range w.offers(ctx) {
		if !strings.HasPrefix(o.word, w.current) {
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\t%s\n", o.word, text.Shorten(text.Printable(o.what), 60)); err != nil {
			return err
		}
	}
	return nil
}

// offer is a word to go on with.
type offer struct{ word, what string }

// typed is a command line that is being typed.
type typed struct {
	app     *app
	root    *kong.Node
	flags   chainFlags // which data directory and namespace
	current string     // the word to complete

	command *kong.Node
	args    []string   // the command's arguments before current
	wants   *kong.Flag // current is the value of this flag; nil: of none
	plain   bool       // no flag may follow: -- was there
}

// read looks at the words before the current one.
func (w *typed) read(words []string) {
	w.command = w.root
	for _, word := range words {
		switch {
		case w.wants != nil:
			w.take(w.wants, word)
			w.wants = nil
		case !w.plain && word == "--":
			w.plain = true
		case !w.plain && len(word) > 1 && word[0] == '-':
			name, value, has := strings.Cut(word, "=")
			flag := w.flag(name)
			switch {
			case flag != nil && has:
				w.take(flag, value)
			case flag != nil && !flag.IsBool():
				w.wants = flag
			}
		default:
			if child := childNamed(w.command, word); child != nil && len(w.args) == 0 {
				w.command = child
			} else {
				w.args = append(w.args, word)
			}
		}
	}
}

// flag finds a flag of the command, by "--name" or "-n".
func (w *typed) flag(word string) *kong.Flag {
	for _, group := range w.command.AllFlags(true) {
		for _, flag := range group {
			if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

// take notes the flags that say where chains are.
func (w *typed) take(flag *kong.Flag, value string) {
	switch flag.Name {
	case "data-dir":
		w.flags.DataDir = value
	case "namespace":
		w.flags.Namespace = value
	case "endpoints":
		w.flags.Endpoints = []string{value}
	}
}

func (w *typed) offers(ctx context.Context) []offer {
	name, _, has := strings.Cut(w.current, "=")
	switch flag := w.flag(name); {
	case w.wants != nil:
		return w.values(w.wants.Value)
	case !w.plain && has && flag != nil:
		var all []offer
		for _, o := range w.values(flag.Value) {
			all = append(all, offer{name + "=" + o.word, o.what})
		}
		return all
	case !w.plain && strings.HasPrefix(w.current, "-"):
		return w.flagNames()
	case w.command.Name == "help" && w.command.Parent == w.root:
		return commandNames(w.topic())
	case !w.command.Leaf():
		if len(w.args) > 0 {
			return nil // there is no such command
		}
		return commandNames(w.command)
	}
	return w.argument(ctx)
}

// topic is the command that the arguments of help name.
func (w *typed) topic() *kong.Node {
	node := w.root
	for _, arg := range w.args {
		if node = childNamed(node, arg); node == nil {
			return &kong.Node{}
		}
	}
	return node
}

func commandNames(node *kong.Node) []offer {
	var all []offer
	for _, child := range node.Children {
		if !child.Hidden {
			all = append(all, offer{child.Name, child.Help})
		}
	}
	return all
}

func (w *typed) flagNames() []offer {
	all := []offer{{"--help", "Show the help."}}
	for _, group := range w.command.AllFlags(true) {
		for _, flag := range group {
			all = append(all, offer{"--" + flag.Name, flag.Help})
		}
	}
	return all
}

// values are those of a flag or an argument that takes one of a few.
func (w *typed) values(value *kong.Value) []offer {
	var all []offer
	switch {
	case value.Enum != "":
		for _, word := range value.EnumSlice() {
			all = append(all, offer{word: word})
		}
	case value.Name == "namespace":
		for _, chain := range w.chains() {
			all = append(all, offer{string(chain.namespace), chain.name})
		}
	}
	return all
}

// argument offers what the next argument of a command may be: its tag complete, its type or its name tells.
func (w *typed) argument(ctx context.Context) []offer {
	positional := w.command.Positional
	if len(positional) == 0 {
		return nil
	}
	next := min(len(w.args), len(positional)-1)
	value := positional[next]
	if len(w.args) > next && !value.IsSlice() {
		return nil
	}
	switch kind := value.Tag.Get("complete"); {
	case kind == "repo":
		return w.repositories()
	case kind == "deploy" || value.Target.Type() == reflect.TypeFor[deployName]():
		return w.deploys(ctx)
	case value.Name == "chain":
		var all []offer
		for _, chain := range w.chains() {
			all = append(all, offer{chain.name, string(chain.namespace)})
		}
		return all
	}
	return w.values(value)
}

func (w *typed) listed() []*repos.Repository {
	dir, err := w.flags.dir(w.app)
	if err != nil {
		return nil
	}
	listed, _ := dir.repos().List()
	return listed
}

func (w *typed) repositories() []offer {
	var all []offer
	for _, repo := range w.listed() {
		all = append(all, offer{word: repo.Name})
	}
	return all
}

// namedChain is a chain of the data directory.
type namedChain struct {
	name      string
	namespace record.Namespace
}

func (w *typed) chains() []namedChain {
	var all []namedChain
	for _, repo := range w.listed() {
		for _, t := range repo.Targets {
			all = append(all, namedChain{chainNameOf(repo, t), t.Namespace})
		}
	}
	return all
}

// deploys offers ids of the chain before the "@", or else chains, and ids of the chain that needs no name.
func (w *typed) deploys(ctx context.Context) []offer {
	if chain, _ := cutChain(w.current); chain != "" {
		ids := w.ids(ctx, chain)
		for i := range ids {
			ids[i].word = chain + "@" + ids[i].word
		}
		return ids
	}
	var all []offer
	for _, chain := range w.chains() {
		all = append(all, offer{chain.name, string(chain.namespace) + ", its head"},
			offer{chain.name + "@", string(chain.namespace) + ", and then an id"})
	}
	chain := ""
	if len(w.args) > 0 { // diff A B
		chain, _ = cutChain(w.args[0])
	}
	return slices.Concat(w.ids(ctx, chain), all)
}

// ids offers the newest deploys of a chain.
func (w *typed) ids(ctx context.Context, chain string) []offer {
	dir, err := w.flags.dir(w.app)
	if err != nil || len(w.flags.Endpoints) > 0 || !dir.servesEtcd() {
		return nil
	}
	ns, err := w.flags.namespace(w.app, chain)
	if err != nil {
		return nil
	}
	client, err := w.flags.connect(ctx, w.app, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil
	}
	defer client.Close()
	all := []offer{{"head", "the newest"}}
	_ = store.Open(client, ns).Log(ctx, completeDeploys, func(d *record.Deploy) error { // what was read is offered
		what := d.ShortHash()
		if d.Record != nil {
			what += " " + d.Record.Subject
		}
		all = append(all, offer{d.ID.String(), what})
		return nil
	})
	if len(all) == 1 {
		return nil
	}
	return all
}
