package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/store"
	"refship/hooks/target"
	"refship/keys"
)

// ownKey is a key that a server makes for itself.
type ownKey struct {
	name, path string
	kind       keys.Kind
}

// loadOrCreate reads the key, or makes one for the server of that name.
func (k ownKey) loadOrCreate(host string) (ssh.Signer, error) {
	return keys.LoadOrCreate(k.path, "refship "+k.name+" of "+host, k.kind)
}

// isMissing tells whether the key is not there.
func (k ownKey) isMissing() (bool, error) {
	_, err := os.Stat(k.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for the %s: %w", k.name, err)
	}
	return err != nil, nil
}

// signingKeys are the server's signing key and the one that is to follow it.
func (d dataDir) signingKeys() (keys.Signers, error) { return keys.LoadOwnSigners(d.signingKey().path) }

// nextSigningKey is to follow the signing key.
func (d dataDir) nextSigningKey() ownKey {
	return ownKey{"next signing key", keys.NextPath(d.signingKey().path), keys.Ed25519}
}

// maxSeed bounds what is read as a seed of nonces, in bytes.
const maxSeed = 1 << 10

// nonceSeed reads the secret that the nonces of signed pushes are made of (git-config(1), receive.certNonceSeed), or
// makes one. Without it a certificate is worth no less; a nonce of another push could be passed off as this one's.
func (d dataDir) nonceSeed() (string, error) {
	path := filepath.Join(d.keysDir(), "push_nonces")
	text, err := disk.ReadFile(path, maxSeed)
	if errors.Is(err, fs.ErrNotExist) {
		random := make([]byte, 32)
		_, _ = rand.Read(random) // it never fails
		text = []byte(hex.EncodeToString(random) + "\n")
		err = disk.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("read the seed of nonces: %w", err)
	}
	seed := strings.TrimSpace(string(text))
	if info, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("read the seed of nonces: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 || seed == "" {
		return "", fault.New(fault.Failed, path+" is empty, or group or others may read it",
			"remove it: the server makes a new one when it starts")
	}
	return seed, nil
}

// missingKeys gives those of a server's keys that are not there, and are not to be made by a server with deploys: not
// the second host key.
func (d dataDir) missingKeys() (missing []ownKey, err error) {
	for _, key := range []ownKey{d.hostKey(), d.signingKey()} {
		is, err := key.isMissing()
		if err != nil {
			return nil, err
		}
		if is {
			missing = append(missing, key)
		}
	}
	return missing, nil
}

// lostKeysWords says of a data directory with deploys that keys are missing.
func lostKeysWords(missing []ownKey) string {
	var names []string
	for _, key := range missing {
		names = append(names, fmt.Sprintf("the %s %s", key.name, key.path))
	}
	is := "is"
	if len(missing) > 1 {
		is = "are"
	}
	return strings.Join(names, " and ") + " " + is + " missing, and there are deploys"
}

// refuseLostKeys refuses to start with a new key in place of a lost one: to users it would be another server's, and to
// those who check deploys a stranger's.
func (s *server) refuseLostKeys(ctx context.Context) error {
	missing, err := s.dir.missingKeys()
	if err != nil || len(missing) == 0 {
		return err
	}
	used, err := s.dir.hasDeploys(ctx, s.etcd)
	if err != nil || !used {
		return err
	}
	command := "refship keys new" + s.dir.flag()
	if s.etcd.embedded == nil {
		command += ", with the same --endpoints and flags for etcd"
	}
	return fault.New(fault.Failed, lostKeysWords(missing), "restore it from a backup; if it is lost for good: "+command)
}

// hasDeploys tells whether a server has deployed from the data directory, so that its keys were there once: a server
// makes them before it takes its first push. The embedded etcd is the server's own, so any key in it counts. An etcd
// outside of it also holds the deploys of other programs; there a target counts whose ref and chain are not empty.
// What cannot be read is an error, and what is damaged counts.
func (d dataDir) hasDeploys(ctx context.Context, etcdInUse *openEtcd) (bool, error) {
	if etcdInUse.embedded != nil {
		empty, err := etcd.IsEmpty(ctx, etcdInUse.client)
		return !empty, err
	}
	pushed, err := d.pushedTargets(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range pushed {
		state, err := store.Open(etcdInUse.client, t.Namespace).State(ctx)
		if fault.Is(err, fault.Corrupt) || err == nil && state.Head != nil {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// pushedTargets gives the targets whose ref exists.
func (d dataDir) pushedTargets(ctx context.Context) ([]target.Target, error) {
	listed, err := d.repos().List()
	if err != nil {
		return nil, err
	}
	var pushed []target.Target
	for _, repo := range listed {
		refs, err := git.ReadRefs(ctx, repo.Dir, target.Refs(repo.Targets))
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", repo.Name, err)
		}
		for _, t := range repo.Targets {
			if _, ok := refs[t.Ref]; ok {
				pushed = append(pushed, t)
			}
		}
	}
	return pushed, nil
}

// holdsEtcd tells whether an embedded etcd has been started in the data directory.
func (d dataDir) holdsEtcd() (bool, error) {
	_, err := os.Lstat(filepath.Join(d.etcd(), "member"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
