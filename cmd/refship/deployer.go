package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/hooks"
	"refship/hooks/signed"
	"refship/hooks/target"
	"refship/keys"
)

// maxPasswordFile bounds what is read as a password, in bytes.
const maxPasswordFile = 64 << 10

// openDeployer is an engine for one process, and what must be closed after it.
type openDeployer struct {
	*hooks.Engine
	client *etcd.Client
	store  *deploy.Store
	hint   *roomHint // of an etcd without room; nil: as for other errors
}

// newDeployer makes an engine for a process that deploys and ends. gitDir is "" for a plain directory. The deployer
// closes the client, an error closes it, too.
func newDeployer(client *etcd.Client, gitDir string, trust trust, log *slog.Logger) (*openDeployer, error) {
	signer, rotation, err := loadSigner(trust.key)
	host, hostErr := os.Hostname()
	if err = errors.Join(err, hostErr); err != nil {
		_ = client.Close()
		return nil, err
	}
	d := &openDeployer{client: client, store: newStore(client, trust.allowed, log)}
	d.Engine = hooks.NewEngine(hooks.Config{
		Store: d.store, Remedy: d.remedyOf, Signer: signer, Host: host, Dir: filepath.Join(gitDir, "refship"),
		Rotation: rotation,
		Trust: signed.Trust{
			Allowed: func() (*keys.AllowedSigners, error) { return trust.allowed, nil }, Keyring: trust.openPGP,
		},
		Redeploy: func(t target.Target, force bool) string {
			if force {
				return redeployCommand(gitDir, t) + " --force --reason TEXT"
			}
			return redeployCommand(gitDir, t)
		},
		Log: log,
	})
	return d, nil
}

// remedyOf words a remedy for who deploys.
func (d *openDeployer) remedyOf(err error) string {
	if d.hint == nil {
		return remedyOf(err)
	}
	return cmp.Or(d.hint.remedyOf(err), remedyOf(err))
}

// newStore makes the store of a process that ends; allowed is nil if it is not known whose signatures count.
func newStore(client *etcd.Client, allowed *keys.AllowedSigners, log *slog.Logger) *deploy.Store {
	return deploy.NewStore(client, deploy.Config{
		LeaseTTL: lockTTL, Log: log, Signers: func() (*keys.AllowedSigners, error) { return allowed, nil },
		EtcdDir: ownEtcdDir(client),
	})
}

// ownEtcdDir is the directory of the server's etcd that a client talks to, "" for another etcd: of what is free on its
// disk nothing can be known.
func ownEtcdDir(client *etcd.Client) string {
	endpoints := client.Endpoints()
	if len(endpoints) != 1 {
		return ""
	}
	dir := etcd.SocketDir(endpoints[0])
	if _, err := os.Stat(filepath.Join(dir, "member")); dir == "" || err != nil {
		return ""
	}
	return dir
}

// Close gives the chain locks back. The work is done, so that nothing of this is an error.
func (d *openDeployer) Close() {
	_ = releaseLocks(d.store)
	_ = d.client.Close()
}

// releaseLocks gives a store's chain locks back. If etcd does not answer, they end with their lease.
func releaseLocks(store *deploy.Store) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	return store.Close(ctx)
}

// openPGPKeys is the keyring that belongs to a file of allowed signers, for signatures of git's; "" without one.
func openPGPKeys(allowedSigners string) string {
	if allowedSigners == "" {
		return ""
	}
	return allowedSigners + ".gpg"
}

// loadSigner reads the key that signs records, and gives what reads it anew, with the one that is to follow it. "" is
// none.
func loadSigner(path string) (now ssh.Signer, again func() (keys.Signers, error), err error) {
	if path == "" {
		return nil, nil, nil
	}
	again = func() (keys.Signers, error) { return keys.LoadSigners(path) }
	s, err := again()
	return s.Now, again, err
}

// quietLog is for commands that print their errors themselves.
func quietLog(a *app) *slog.Logger {
	return slog.New(withFailpoint(a, slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelError})))
}

// etcdOf is how to reach the etcd that a repository's settings name.
func etcdOf(s target.Settings, log *slog.Logger) (etcd.Config, error) {
	cfg := etcd.Config{Endpoints: s.Endpoints, CACert: s.CACert, Cert: s.Cert, Key: s.Key, User: s.User, Log: log}
	if err := s.CheckFiles(); err != nil {
		return cfg, err
	}
	var err error
	if cfg.Password, err = readPassword(s.PasswordFile); err != nil {
		return cfg, err
	}
	return cfg, cfg.Check()
}

// dialPatiently waits for an etcd that is being restarted: a push need not fail for that.
func dialPatiently(ctx context.Context, cfg etcd.Config) (*etcd.Client, error) {
	const patience, pause = 3 * time.Second, 200 * time.Millisecond
	for start := time.Now(); ; {
		client, err := etcd.Dial(ctx, cfg)
		if err == nil || !errors.Is(err, etcd.ErrUnreachable) || time.Since(start) > patience {
			return client, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// readPassword reads the first line of a file.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := disk.ReadFile(path, maxPasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fault.New(fault.Failed, fmt.Sprintf("read password: the first line of %s is empty", path),
			"write the password into that file, and nothing else")
	}
	return line, nil
}
