package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
	"refship/keys"
)

// lostKey is a key that has signed deploys of a server, and whose private half is lost.
type lostKey struct {
	keys.Signer
	seen []string // where, in words
}

// findLostKeys finds which keys have signed deploys under the server's name, and whom the public half beside the lost
// key names, the last used first. Who is an allowed signer already is left out.
func findLostKeys(ctx context.Context, a *app, dir dataDir, etcdInUse *openEtcd) ([]*lostKey, error) {
	allowed, err := dir.signers(a)
	if err != nil {
		return nil, err
	}
	if allowed == nil {
		allowed = new(keys.AllowedSigners)
	}
	listed, err := dir.repos().List()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find host name: %w", err)
	}
	found := lostKeys{allowed: allowed, host: host}
	for _, ns := range target.Namespaces(repos.AllTargets(listed)) {
		if err := found.lookAt(ctx, a, store.Open(etcdInUse.client, ns)); err != nil {
			return nil, err
		}
	}
	if err := found.lookAtOthers(a); err != nil {
		return nil, err
	}
	if err := found.lookBeside(a, dir.signingKey().path+".pub"); err != nil {
		return nil, err
	}
	return found.newestFirst(), nil
}

// maxLooked is how many deploys of a chain are looked at, from the newest down.
const maxLooked = 1000

type lostKeys struct {
	allowed *keys.AllowedSigners
	host    string // the server's name
	all     []*lostKey
	own     bool // there are signed records under that name
	others  []signedDeploy
}

// newestFirst gives what was found, the last used key first.
func (l *lostKeys) newestFirst() []*lostKey {
	slices.SortStableFunc(l.all, func(x, y *lostKey) int { return y.Before.Compare(x.Before) })
	return l.all
}

// signedDeploy is a signed deploy of a namespace.
type signedDeploy struct {
	ns     record.Namespace
	deploy *record.Deploy
}

// lookAt finds who signed the newest deploys of a chain under the server's name. The newest sound record of all is kept
// for lookAtOthers if it is another's. A foreign chain has none.
func (l *lostKeys) lookAt(ctx context.Context, a *app, chain *store.Chain) error {
	newest, damage, looked := true, error(nil), map[string]bool{}
	err := chain.Log(ctx, maxLooked, func(d *record.Deploy) error {
		switch {
		case d.Record == nil && newest:
			damage = cmp.Or(damage, d.Damage)
			return nil
		case d.Record == nil:
			return nil
		case d.Signature == nil && newest:
			a.say("deploy %d of %s is not signed", d.ID, chain.Namespace())
		case d.Signature == nil || looked[d.Record.Signer]:
		case d.Record.Server == l.host:
			looked[d.Record.Signer], l.own = true, true
			if err := l.addSigner(a, signedDeploy{chain.Namespace(), d}); err != nil {
				return err
			}
		case newest:
			l.others = append(l.others, signedDeploy{chain.Namespace(), d})
		}
		newest = false
		return nil
	})
	if fault.Is(err, fault.Corrupt) {
		if newest {
			damage = cmp.Or(damage, err)
		}
		err = nil // what is below a gap is not looked at
	}
	if damage != nil { // a new key is needed all the more
		a.warn(fmt.Errorf("who signed the head of %s is not known: %w", chain.Namespace(), damage))
	}
	return err
}

// lookAtOthers takes who signed the newest records where none is under the server's name: its machine may have another
// name by now.
func (l *lostKeys) lookAtOthers(a *app) error {
	if l.own {
		return nil
	}
	for _, s := range l.others {
		if err := l.addSigner(a, s); err != nil {
			return err
		}
	}
	return nil
}

// addSigner adds who signed a deploy.
func (l *lostKeys) addSigner(a *app, s signedDeploy) error {
	d := s.deploy
	pub, err := keys.Verify(keys.Namespace, d.RecordBytes, d.Signature)
	if err != nil {
		return err
	}
	seen := fmt.Sprintf("deploy %d of %s by the server %s", d.ID, s.ns, d.Record.Server)
	l.add(a, pub, d.Record.Server, d.Record.Time, seen)
	return nil
}

// lookBeside takes the public half that is still there, if it is.
func (l *lostKeys) lookBeside(a *app, path string) error {
	file, err := disk.ReadFile(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pub, _, err := keys.ParsePublicKey(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	l.add(a, pub, l.host, a.now(), path)
	return nil
}

// add adds a key that was used at a time. One that has a line already is good for what that line says, and no more.
func (l *lostKeys) add(a *app, pub ssh.PublicKey, server string, at time.Time, seen string) {
	fingerprint := ssh.FingerprintSHA256(pub)
	if l.allowed.Knows(fingerprint) {
		a.say("%s has a line in the allowed signers, which stays as it is: %s", fingerprint, text.Printable(seen))
		return
	}
	for _, key := range l.all {
		if ssh.FingerprintSHA256(key.PublicKey) == fingerprint {
			key.seen = append(key.seen, seen)
			if at.After(key.Before) {
				key.Before = at
			}
			return
		}
	}
	l.all = append(l.all, &lostKey{keys.Signer{
		Principals: keys.Principal(server), Namespaces: keys.Namespace, PublicKey: pub, Before: at,
	}, []string{seen}})
}
