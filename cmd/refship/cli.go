package main

import (
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	sshcommand "refship/gitserver/command"
)

// cli is the grammar; the order is the order of the help.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the SSH git server, with an embedded etcd or one of your own."`
	Repo       repoCmd       `cmd:"" help:"Create, list and show the server's repositories, and what of them is deployed."`
	Key        keyCmd        `cmd:"" help:"Add, list and remove the keys that may use the server."`
	Keys       keysCmd       `cmd:"" help:"Show and make the server's own keys."`
	Deploy     deployCmd     `cmd:"" help:"Deploy a commit of a repository, or the files of a directory, without a push."`
	Rollback   rollbackCmd   `cmd:"" help:"Go back to an earlier deploy: publish what it had as a new one."`
	Hold       holdCmd       `cmd:"" help:"Keep a chain from going on, but by rollbacks."`
	Resume     resumeCmd     `cmd:"" help:"Let a chain go on that is on hold."`
	Promote    promoteCmd    `cmd:"" help:"Release the newest deploy to the next ring of nodes."`
	Keep       keepCmd       `cmd:"" help:"Pin a deploy, so that gc never takes files of it."`
	GC         gcCmd         `cmd:"" name:"gc" help:"Delete files of old deploys from etcd."`
	Hook       hookCmd       `cmd:"" help:"Deploy what is pushed to a repository of another git server, by hooks."`
	Log        logCmd        `cmd:"" help:"List the deploys of a chain, newest first."`
	Show       showCmd       `cmd:"" help:"Show one deploy: who, what, when, from where, its commits, and which files it changed."`
	Diff       diffCmd       `cmd:"" help:"Show in which files two deploys differ, or in which lines, as git diff."`
	Ls         lsCmd         `cmd:"" help:"List what a deploy holds, in the format of git ls-tree -l."`
	Cat        catCmd        `cmd:"" help:"Write files of a deploy to standard output."`
	Checkout   checkoutCmd   `cmd:"" help:"Write a deploy's tree into a new directory."`
	Verify     verifyCmd     `cmd:"" help:"Prove a chain from what etcd holds: every record, signature, commit and byte."`
	Export     exportCmd     `cmd:"" help:"Write a chain into one file, a bundle, which every reading command takes in its place."`
	Import     importCmd     `cmd:"" help:"Put a bundle's chain into an etcd that has none of that namespace."`
	Head       headCmd       `cmd:"" help:"Print the checkpoint of a chain: 200 bytes that stand for all of its deploys."`
	Witness    witnessCmd    `cmd:"" help:"Cosign the checkpoint of a chain, if it extends the one that was cosigned last."`
	Agent      agentCmd      `cmd:"" help:"Be a node: keep a link to a directory that has what a chain's head has."`
	Nodes      nodesCmd      `cmd:"" help:"List the nodes of a chain: who runs what, who is behind, who is gone."`
	Notify     notifyCmd     `cmd:"" help:"Try and show how others are told what becomes of a target."`
	Repair     repairCmd     `cmd:"" help:"Check every byte of what a repository's newest deploys need in etcd, and repair it."`
	Notes      notesCmd      `cmd:"" help:"Note each deploy at its commit anew, for git log --notes=deploys."`
	Backup     backupCmd     `cmd:"" help:"Copy a server's data directory into one file, while it runs."`
	Restore    restoreCmd    `cmd:"" help:"Make a data directory out of a backup."`
	Completion completionCmd `cmd:"" help:"Print a shell's script that completes refship's command lines."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Help       helpCmd       `cmd:"" help:"Print the help of a command, or of the topic exit-codes."`

	Complete completeCmd `cmd:"" hidden:"" help:"Print how a command line may go on: for the scripts of completion."`
	Man      manCmd      `cmd:"" hidden:"" help:"Write a manual page of each command into a directory: for make man."`
}

// dataFlag is on every command that reads or writes a server's data directory.
type dataFlag struct {
	DataDir string `variable:"" placeholder:"DIR" help:"The server's data directory. Default: $$STATE_DIRECTORY, else $$XDG_DATA_HOME/refship, else ~/.local/share/refship."`
}

// storeFlags say which etcd: one of your own, or that of the server on the data directory.
type storeFlags struct {
	dataFlag
	etcdFlags
}

// chainFlags are on every command that reads a chain.
type chainFlags struct {
	storeFlags
	signersFlag
	Namespace string `variable:"" placeholder:"NS" help:"The chain's etcd prefix, such as /refship/config. May be left out if the data directory knows exactly one."`

	isElsewhere bool // the chain is read through ssh, or from a bundle
}

// grammarOf gives what of the grammar a command line needs: where its first word is a command, that command alone. For
// all of it kong takes most of the time in which a short command starts.
func grammarOf(args []string) any {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[cli]()) {
		if len(args) > 0 && args[0] == strings.ToLower(field.Name) {
			return reflect.New(reflect.StructOf([]reflect.StructField{field})).Interface()
		}
	}
	return &cli{}
}

// newParser makes the parser of a grammar, cli or a part of it.
func newParser(a *app, grammar any) (*kong.Kong, error) {
	return kong.New(grammar,
		kong.Name("refship"),
		kong.Description("git push to deploy, into etcd"),
		kong.Vars{"deploy": deployHelp},
		kong.Writers(a.stdout, a.stderr),
		kong.NoDefaultHelp(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(describeValue),
		kong.KindMapper(reflect.String, kong.MapperFunc(rawString)),
		kong.ExplicitGroups([]kong.Group{
			{Key: "etcd", Title: "Flags for an etcd of your own, named as etcdctl names them:"},
		}),
		kong.Resolvers(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
			if name, value := a.variable(flag); name != "" {
				return value, nil
			}
			return nil, nil
		})),
	)
}

// variable is the environment variable that gives a flag its value, and that value; "" if none does.
func (a *app) variable(flag *kong.Flag) (name, value string) {
	if value, ok := a.getenv(envName(flag)); ok && value != "" && flag.Tag.Has("variable") {
		return envName(flag), value
	}
	if value, ok := a.getenv(gitSyncName(flag)); ok && value != "" && flag.Tag.Has("gitsync") {
		return gitSyncName(flag), value
	}
	return "", ""
}

// envName is the environment variable of a flag: REFSHIP_DATA_DIR for --data-dir. Only flags with the tag "variable"
// have one: those for the connection to etcd, the data directory and serve. A variable in a profile must not decide
// what a command does.
func envName(flag *kong.Flag) string {
	return "REFSHIP_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// gitSyncName is the environment variable that git-sync has for the same flag; those with the tag "gitsync" have it,
// too.
func gitSyncName(flag *kong.Flag) string {
	return "GITSYNC_" + strings.TrimPrefix(envName(flag), "REFSHIP_")
}

// rawString takes an argument's bytes as they are. kong's own mapper replaces bytes that are not UTF-8, and names of
// files may have such.
func rawString(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

// describeValue adds the environment variable to a flag's help.
func describeValue(value *kong.Value) string {
	if value.Flag == nil || !value.Flag.Tag.Has("variable") {
		return value.Help
	}
	return strings.TrimSuffix(value.Help, ".") + " ($" + envName(value.Flag) + ")."
}

// count is a limit: a number from 1 on, or all, which is 0.
type count int

// Decode takes the next word as it is, so that -1 is a wrong number and not a flag.
func (n *count) Decode(ctx *kong.DecodeContext) error {
	word := ctx.Scan.Pop()
	if word.IsEOL() {
		return usagef("a number from 1 on is missing, or all")
	}
	limit, err := sshcommand.ParseLimit(word.String())
	*n = count(limit)
	return err
}
