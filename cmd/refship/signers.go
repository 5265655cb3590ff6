package main

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/keys"
)

// signersFlag is on every command that reads deploys.
type signersFlag struct {
	AllowedSigners string `variable:"" placeholder:"FILE" help:"Take only deploys that one of these keys has signed: a file as for ssh-keygen -Y verify. Default: what the server's data directory says."`
}

// signers gives whose signatures count: those of --allowed-signers, else those that the data directory allows. It is
// nil where neither says anything. It warns of lines that are not usable.
func (f *signersFlag) signers(a *app, dir dataDir) (*keys.AllowedSigners, error) {
	if f.AllowedSigners == "" {
		return dir.signers(a)
	}
	allowed, err := keys.ReadAllowedSigners(f.AllowedSigners)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fault.Error{Remedy: "refship keys signer prints the line that belongs there", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	warnOfSigners(a, allowed)
	return allowed, nil
}

// signers gives whose signatures count on this server, as readSigners, and warns of lines that are not usable.
func (d dataDir) signers(a *app) (*keys.AllowedSigners, error) {
	allowed, err := d.readSigners()
	if allowed != nil {
		warnOfSigners(a, allowed)
	}
	return allowed, err
}

// readSigners gives whose signatures count on this server: its own key's, and those of its file allowed_signers. It is
// nil where there is neither.
func (d dataDir) readSigners() (*keys.AllowedSigners, error) {
	allowed, err := keys.ReadAllowedSigners(d.allowedSigners())
	known := err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist):
		allowed = new(keys.AllowedSigners)
	case err != nil:
		return nil, err
	}
	own, err := d.ownSigner()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		known = true
		for _, line := range own {
			allowed.Merge(keys.NewAllowedSigners("this server's own key", line))
		}
	}
	if !known {
		return nil, nil //nolint:nilnil // nothing is known of signers, which is no error
	}
	return allowed, nil
}

// ownSigner are the server's own lines of allowed signers: its signing key's, and that of the one that is to follow it.
// fs.ErrNotExist if it has no signing key.
func (d dataDir) ownSigner() (lines []*keys.Signer, err error) {
	own, err := d.signingKeys()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	for _, key := range []ssh.Signer{own.Now, own.Next} {
		if key != nil {
			lines = append(lines, &keys.Signer{
				Principals: keys.Principal(host), Namespaces: keys.Namespace, PublicKey: key.PublicKey(),
			})
		}
	}
	return lines, nil
}

func warnOfSigners(a *app, allowed *keys.AllowedSigners) {
	for _, line := range allowed.Unusable() {
		a.sayLines("warning", line.Error())
		a.sayLines("hint", remedyOf(line))
	}
}

// allowed gives whose signatures count to a command that reads a chain. The data directory says so of its own etcd; of
// another one only if it is named, too.
func (f *chainFlags) allowed(a *app) (*keys.AllowedSigners, error) {
	dir, err := f.dir(a)
	if f.AllowedSigners == "" && (err != nil || dir.implied && (len(f.Endpoints) > 0 || f.isElsewhere)) {
		return nil, nil //nolint:nilnil // nothing is known of signers, which is no error
	}
	return f.signers(a, dir)
}
