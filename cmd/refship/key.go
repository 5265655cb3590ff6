package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/keys"
)

type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Let a public key use the server."`
	List   keyListCmd   `cmd:"" help:"List the keys and what they may do."`
	Set    keySetCmd    `cmd:"" help:"Change what the keys of one name may do."`
	Remove keyRemoveCmd `cmd:"" help:"Remove the keys of one name, or one of them."`
}

// maxKeyFile bounds what is read as a public key, in bytes.
const maxKeyFile = 64 << 10

// spaceAroundComma is allowed in a list of rules; a space inside a rule is a mistake.
var spaceAroundComma = regexp.MustCompile(` *, *`)

type keyAddCmd struct {
	dataFlag
	Name  string   `arg:"" help:"The name that deploys are recorded under."`
	Key   string   `required:"" placeholder:"FILE" help:"The public key in OpenSSH's format, such as ~/.ssh/id_ed25519.pub; - reads standard input."`
	Allow []string `required:"" placeholder:"RULE" help:"What it may do: read:REPO, node:REPO (for nodes), witness:REPO (for witnesses), push:REPO, deploy:REPO (contains push, which contains read), force:REPO, admin; * is any REPO."`
}

// Run adds the key. A running server sees it at once.
func (c *keyAddCmd) Run(ctx context.Context, a *app) error {
	if err := keys.CheckName(c.Name); err != nil {
		return asUsage("", err)
	}
	if c.Key == "" {
		return usagef("--key is empty")
	}
	rules, err := parseRules(c.Allow)
	if err != nil {
		return err
	}
	pub, comment, err := c.read(a)
	if err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.prepare(a); err != nil {
		return err
	}
	if err := dir.keys().Add(c.Name, pub, comment, rules); err != nil {
		return err
	}
	said := fmt.Sprintf("key %s of %s may %s", ssh.FingerprintSHA256(pub), c.Name, keys.FormatRules(rules))
	a.say("%s", said)
	dir.note(ctx, a, "key add: %s", said)
	return warnOfUnknown(a, dir, rules)
}

// parseRules reads --allow.
func parseRules(allow []string) ([]keys.Rule, error) {
	rules, err := keys.ParseRules(spaceAroundComma.ReplaceAllString(strings.TrimSpace(strings.Join(allow, ",")), ","))
	if err != nil {
		return nil, asUsage("--allow", err)
	}
	return rules, nil
}

// warnOfUnknown warns of rules for repositories that do not exist: they may be made later, or be typing errors.
func warnOfUnknown(a *app, dir dataDir, rules []keys.Rule) error {
	told := make(map[string]bool)
	for _, rule := range rules {
		if rule.Repository == "" || rule.Repository == "*" || told[rule.Repository] {
			continue
		}
		told[rule.Repository] = true
		if _, err := dir.repos().Find(rule.Repository); errors.Is(err, repos.ErrUnknown) {
			a.say("warning: there is no repository %s yet; to make it: refship repo create %s%s",
				rule.Repository, rule.Repository, dir.flag())
		} else if err != nil {
			return err
		}
	}
	return nil
}

// read gives the public key that --key names.
func (c *keyAddCmd) read(a *app) (pub ssh.PublicKey, comment string, err error) {
	source, name := a.stdin, "standard input"
	if c.Key != "-" {
		file, err := disk.Open(c.Key, maxKeyFile)
		if errors.Is(err, fs.ErrPermission) { // the server's user may not look into the homes of others
			return nil, "", &fault.Error{
				What: fmt.Sprintf("read public key: %v", err), Cause: err,
				Remedy: "let your shell read it: --key - < " + text.Quote(c.Key),
			}
		}
		if err != nil {
			return nil, "", fmt.Errorf("read public key: %w", err)
		}
		defer file.Close()
		source, name = file, c.Key
	}
	data, err := io.ReadAll(io.LimitReader(source, maxKeyFile))
	if err == nil {
		pub, comment, err = keys.ParsePublicKey(data)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read public key from %s: %w", name, err)
	}
	return pub, comment, nil
}

func ruleTexts(rules []keys.Rule) []string {
	all := make([]string, len(rules))
	for i, rule := range rules {
		all[i] = rule.String()
	}
	return all
}

type keyListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON per key."`
}

// keyJSON is a key for programs.
type keyJSON struct {
	Name        string   `json:"name"`
	Fingerprint string   `json:"fingerprint"`
	Allow       []string `json:"allow"`
	Comment     string   `json:"comment"`
	Line        int      `json:"line"` // in authorized_keys, from 1
}

func newKeyJSON(key *keys.Key) any {
	return keyJSON{key.Name, key.Fingerprint(), ruleTexts(key.Rules), key.Comment, key.Line}
}

// Run lists the usable keys. It warns of lines that are not usable, since the server goes on without them.
func (c *keyListCmd) Run(_ context.Context, a *app) error {
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	all, bad, err := dir.keys().List()
	if err != nil {
		return err
	}
	for _, line := range bad {
		a.sayLines("warning", line.Error())
		a.sayLines("hint", remedyOf(line))
	}
	if len(all) == 0 {
		a.say("no keys in %s; to add one: refship key add NAME --key FILE --allow RULE,...%s", dir.path, dir.flag())
	}
	width := 0
	for _, key := range all {
		width = max(width, len(keys.FormatRules(key.Rules)))
	}
	return writeList(a.stdout, c.JSON, all, newKeyJSON, func(key *keys.Key) string {
		rules := fmt.Sprintf("%-*s  %s", width, keys.FormatRules(key.Rules), text.Printable(key.Comment))
		return key.Name + "\t" + key.Fingerprint() + "\t" + strings.TrimRight(rules, " ")
	})
}

type keySetCmd struct {
	dataFlag
	Name  string   `arg:"" help:"The name whose keys are changed."`
	Allow []string `required:"" placeholder:"RULE" help:"What they may do from now on, as of key add. It takes the place of the rules that they have."`
	Key   string   `placeholder:"FINGERPRINT" help:"Change this key alone, such as SHA256:QBmH…; refship key list shows it."`
}

// Run changes the rules. A running server goes by them from the next command on.
func (c *keySetCmd) Run(ctx context.Context, a *app) error {
	if err := checkKeyArgs(c.Name, c.Key); err != nil {
		return err
	}
	rules, err := parseRules(c.Allow)
	if err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	set, err := dir.keys().Set(c.Name, c.Key, rules)
	if err != nil {
		return err
	}
	for _, key := range set {
		said := fmt.Sprintf("key %s of %s may %s", key.Fingerprint(), c.Name, keys.FormatRules(rules))
		a.say("%s", said)
		dir.note(ctx, a, "key set: %s", said)
	}
	return warnOfUnknown(a, dir, rules)
}

// checkKeyArgs refuses what cannot name a key.
func checkKeyArgs(name, fingerprint string) error {
	if err := keys.CheckName(name); err != nil {
		return asUsage("", err)
	}
	if fingerprint != "" && !strings.HasPrefix(fingerprint, "SHA256:") {
		return fault.New(fault.Usage, fmt.Sprintf("--key: %q is not a fingerprint", fingerprint),
			"it is SHA256:… as refship key list shows it")
	}
	return nil
}

type keyRemoveCmd struct {
	dataFlag
	Name string `arg:"" help:"The name whose keys are removed."`
	Key  string `placeholder:"FINGERPRINT" help:"Remove this key alone, such as SHA256:QBmH…; refship key list shows it."`
}

// Run removes the keys. A running server refuses them from the next attempt on.
func (c *keyRemoveCmd) Run(ctx context.Context, a *app) error {
	if err := checkKeyArgs(c.Name, c.Key); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	count, err := dir.keys().Remove(c.Name, c.Key)
	if err != nil {
		return err
	}
	said := fmt.Sprintf("%s of %s removed", text.Count(count, "key"), c.Name)
	a.say("%s", said)
	if c.Key != "" {
		said += ": " + c.Key
	}
	dir.note(ctx, a, "key remove: %s", said)
	return nil
}
