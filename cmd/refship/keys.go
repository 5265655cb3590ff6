package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/keys"
)

type keysCmd struct {
	Signer keysSignerCmd `cmd:"" help:"Print the line of allowed signers with which others check the server's deploys."`
	New    keysNewCmd    `cmd:"" help:"Make the server's keys that are missing: its host key, its signing key."`
	Rotate keysRotateCmd `cmd:"" help:"Give the server another signing key, chain by chain."`
	Show   keysShowCmd   `cmd:"" default:"withargs" help:"Show the server's keys, and how far a rotation is."`
}

type keysSignerCmd struct{ dataFlag }

// Run prints the line. It makes no key.
func (c *keysSignerCmd) Run(_ context.Context, a *app) error {
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	own, err := dir.ownSigner()
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Failed, dir.signingKey().path+" does not exist",
			"a server makes it when it starts for the first time; else restore it from a backup, or: refship keys new"+
				dir.flag())
	}
	if err != nil {
		return err
	}
	for _, line := range own {
		if _, err := io.WriteString(a.stdout, line.Line()); err != nil {
			return err
		}
	}
	return nil
}

type keysNewCmd struct {
	dataFlag
	etcdFlags
	Yes bool `help:"Do not ask, even if there are deploys."`
}

func (*keysNewCmd) Help() string {
	return "A key that is there stays. If the signing key is lost, this looks for the keys that have signed deploys " +
		"under this server's name, asks, and keeps their public halves as allowed up to now, in keys/allowed_signers. " +
		"The server must not run. Give the flags for etcd that the server has."
}

// Run makes the keys that are missing.
func (c *keysNewCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	dir, release, err := c.take(a)
	if err != nil {
		return err
	}
	defer release()
	missing, err := dir.missingKeys()
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		a.say("no key is missing in %s", dir.path)
		return nil
	}
	used, old, err := c.readUse(ctx, a, dir, slices.Contains(missing, dir.signingKey()))
	if err != nil {
		return err
	}
	if used {
		if err := c.ask(ctx, a, dir, missing, old); err != nil {
			return err
		}
	}
	return makeKeys(a, dir, missing, old, used)
}

// look tells whether there are deploys, and which lost keys have signed them.
func (c *keysNewCmd) readUse(
	ctx context.Context, a *app, dir dataDir, signing bool,
) (used bool, old []*lostKey, err error) {
	if holds, err := dir.holdsEtcd(); err != nil {
		return false, nil, err
	} else if !holds && len(c.Endpoints) == 0 {
		return false, nil, refuseUnnamedEtcd(ctx, dir)
	}
	opened, err := c.open(ctx, dir, new(embedded.Config), quietLog(a))
	if err != nil {
		return false, nil, err
	}
	defer closeInto(&err, opened)
	if used, err = dir.hasDeploys(ctx, opened); err != nil || !used || !signing {
		return used, nil, err
	}
	old, err = findLostKeys(ctx, a, dir, opened)
	return used, old, err
}

// refuseUnnamedEtcd wants --endpoints if the repositories were deployed and the data directory has no etcd: its server
// uses another one, and the lost key's signatures are there.
func refuseUnnamedEtcd(ctx context.Context, dir dataDir) error {
	pushed, err := dir.pushedTargets(ctx)
	if err != nil || len(pushed) == 0 {
		return err
	}
	return fault.New(fault.Usage,
		fmt.Sprintf("%s has pushed refs and no etcd, so the lost key cannot be read from its signatures", dir.path),
		"name the etcd that its server uses: --endpoints URL,…")
}

// ask says what would be done and wants a yes.
func (c *keysNewCmd) ask(ctx context.Context, a *app, dir dataDir, missing []ownKey, old []*lostKey) error {
	a.say("%s", lostKeysWords(missing))
	for _, key := range old {
		a.say("lost: %s, known from %s", ssh.FingerprintSHA256(key.PublicKey), text.Printable(strings.Join(key.seen, ", ")))
	}
	if c.Yes {
		return nil
	}
	if !isTerminal(a.stdin) {
		return fault.New(fault.Usage, "this has to ask, and standard input is not a terminal",
			"if a backup has no such key: refship keys new --yes"+dir.flag())
	}
	question := "make " + text.Count(len(missing), "new key")
	if len(old) > 0 {
		question += ", and allow what was signed up to now with " + text.Count(len(old), "lost key")
	}
	fmt.Fprintf(a.stderr, "refship: %s? [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(a.stdin, 100)).ReadString('\n') // an answer that cannot be read is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case said := <-answer:
		if said == "y" || said == "yes" {
			return nil
		}
		return fault.New(fault.Failed, "nothing was made", "")
	}
}

// makeKeys keeps the lost keys as allowed up to now, then makes the new ones: a kill in between changes nothing that
// counts.
func makeKeys(a *app, dir dataDir, missing []ownKey, old []*lostKey, used bool) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host name: %w", err)
	}
	now := a.now()
	var lines []*keys.Signer
	for _, key := range old {
		if now.After(key.Before) {
			key.Before = now
		}
		key.Comment = "lost, replaced on " + now.UTC().Format(time.DateOnly)
		lines = append(lines, &key.Signer)
	}
	if len(lines) > 0 {
		if err := keys.AppendSigners(dir.allowedSigners(), lines...); err != nil {
			return err
		}
	}
	for _, key := range old {
		a.say("%s is allowed up to %s: %s", ssh.FingerprintSHA256(key.PublicKey),
			key.Before.UTC().Format(time.RFC3339), dir.allowedSigners())
	}
	for _, key := range missing {
		made, err := key.loadOrCreate(host)
		if err != nil {
			return err
		}
		a.say("made the %s %s", key.name, ssh.FingerprintSHA256(made.PublicKey()))
		if key != dir.hostKey() && len(old) > 0 {
			a.say("give its line to all who know the lost key's, other servers and readers: refship keys signer")
		}
		if key == dir.hostKey() && used {
			a.say("clients that know the old host key refuse the server until they forget it: " +
				"ssh-keygen -R '[HOST]:PORT', HOST alone for port 22")
		}
	}
	return nil
}
