package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/keys"
)

// dataDir is a server's data directory:
//
//	lock                  flock of the running server, holding its process id
//	repos/NAME.git        bare repositories
//	keys/authorized_keys  who may do what
//	keys/host_ed25519     the SSH host key
//	keys/host_ecdsa       the SSH host key for clients that know no ed25519
//	keys/signing_ed25519  signs records; .next is the one that is to follow it
//	keys/allowed_signers  whose signatures count beside the server's own
//	keys/push_nonces      the secret that the nonces of signed pushes are made of
//	etcd/                 the embedded etcd and its socket
//	run/                  the hooks and their socket, and ssh-port: where the server listens
//	changes               what was changed beside the server and is not in its log yet
//
// All of it is readable by its owner only: what is in etcd/ and run/ acts with the server's rights.
type dataDir struct {
	path    string
	implied bool // a command without flags and environment takes this path
}

// dir resolves --data-dir.
func (f dataFlag) dir(a *app) (dataDir, error) {
	home, homeErr := userDataDir(a)
	path := f.DataDir
	if state, ok := a.getenv("STATE_DIRECTORY"); path == "" && ok && state != "" {
		path, _, _ = strings.Cut(state, ":") // systemd gives all of a unit's StateDirectory=, first one first
	}
	if path == "" {
		path = home
	}
	if path == "" {
		return dataDir{}, homeErr
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return dataDir{}, fmt.Errorf("find data directory: %w", err)
	}
	d := dataDir{path: path, implied: path == home}
	if d.implied { // a command that does not read it takes it, too
		return d, nil
	}
	if _, err := os.Lstat(d.keysDir()); errors.Is(err, fs.ErrPermission) {
		return d, d.checkOwner() // it says more than that one of its files cannot be read
	}
	return d, nil
}

// userDataDir is the data directory of a user who says nothing about it (XDG Base Directory Specification).
func userDataDir(a *app) (string, error) {
	// The specification: a relative path in it must be ignored.
	if xdg, ok := a.getenv("XDG_DATA_HOME"); ok && filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "refship"), nil
	}
	if home, ok := a.getenv("HOME"); ok && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "refship"), nil
	}
	return "", fault.New(fault.Usage,
		"no data directory: neither --data-dir nor any of $STATE_DIRECTORY, $XDG_DATA_HOME and $HOME is set",
		"say where: --data-dir DIR")
}

func (d dataDir) repos() repos.Dir { return repos.Dir{Path: filepath.Join(d.path, "repos")} }
func (d dataDir) keysDir() string  { return filepath.Join(d.path, "keys") }
func (d dataDir) keys() keys.File {
	return keys.File{Path: filepath.Join(d.keysDir(), "authorized_keys")}
}
func (d dataDir) hostKey() ownKey {
	return ownKey{"host key", filepath.Join(d.keysDir(), "host_ed25519"), keys.Ed25519}
}

// secondHostKey is for clients that know no ed25519. The host key that people compare is the other one: where this one
// is missing it is just made.
func (d dataDir) secondHostKey() ownKey {
	return ownKey{"ECDSA host key", filepath.Join(d.keysDir(), "host_ecdsa"), keys.ECDSA}
}
func (d dataDir) signingKey() ownKey {
	return ownKey{"signing key", filepath.Join(d.keysDir(), "signing_ed25519"), keys.Ed25519}
}
func (d dataDir) allowedSigners() string { return filepath.Join(d.keysDir(), "allowed_signers") }
func (d dataDir) etcd() string           { return filepath.Join(d.path, "etcd") }
func (d dataDir) run() string            { return filepath.Join(d.path, "run") }

// portFile names the port that the server took when it started last, for hints.
func (d dataDir) portFile() string { return filepath.Join(d.run(), "ssh-port") }

// port is where the server listens for SSH, or did when it ran last; the default where that is not known.
func (d dataDir) port() string {
	const longest = 6 // with its newline
	content, err := disk.ReadFile(d.portFile(), longest)
	port := strings.TrimSpace(string(content))
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return defaultPort
	}
	return port
}

// formatFile names the format that the server which started last gives repositories.
func (d dataDir) formatFile() string { return filepath.Join(d.run(), "object-format") }

// objectFormat is what a repository gets for which none is named: the server's, or git's own default.
func (d dataDir) objectFormat() git.Format {
	const longest = 10
	content, _ := disk.ReadFile(d.formatFile(), longest) // no server has started yet
	format, _ := git.ParseFormat(strings.TrimSpace(string(content)))
	return format
}

// flag is what a suggested command needs to use this data directory: " --data-dir DIR", or "".
func (d dataDir) flag() string {
	if d.implied {
		return ""
	}
	return " --data-dir " + text.Quote(d.path)
}

// prepare makes the directory and its parts, each accessible by its owner only, no matter what the umask is. It says
// so of a new directory, whose name may be a typing error.
func (d dataDir) prepare(a *app) error {
	_, missing := os.Lstat(d.path)
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if errors.Is(missing, fs.ErrNotExist) {
		a.say("made the data directory %s", d.path)
	}
	info, err := os.Stat(d.path)
	if err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fault.New(fault.Failed,
			fmt.Sprintf("data directory %s is writable by others", d.path),
			"chmod 700 "+text.Quote(d.path))
	}
	if err := d.checkOwner(); err != nil {
		return err
	}
	for _, name := range []string{"repos", "keys", "etcd", "run"} {
		path := filepath.Join(d.path, name)
		err := os.Mkdir(path, 0o700)
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Chmod(path, 0o700)
		}
		if err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	return nil
}

// checkOwner refuses to write into another user's data directory: the server could not read what root makes there. A
// missing directory passes.
func (d dataDir) checkOwner() error {
	info, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := userName(int(stat.Uid))
	as := "sudo -u " + owner
	if os.Geteuid() == 0 { // there may be no sudo
		as = "runuser -u " + owner + " --"
	}
	return fault.New(fault.Failed,
		fmt.Sprintf("data directory %s belongs to %s, and you are %s", d.path, owner, userName(os.Geteuid())),
		"run this as its owner: "+as+" refship …")
}

// userName is the name of a user, or the id if there is no name.
func userName(id int) string {
	u, err := user.LookupId(strconv.Itoa(id))
	if err != nil {
		return strconv.Itoa(id)
	}
	return u.Username
}

// take makes what is missing of the data directory, and takes it for this process until release is called.
func (f dataFlag) take(a *app) (d dataDir, release func(), err error) {
	if d, err = f.dir(a); err != nil {
		return d, nil, err
	}
	if err := d.prepare(a); err != nil {
		return d, nil, err
	}
	release, err = d.lock()
	return d, release, err
}

// lock takes the data directory for this process until unlock is called. It is a conflict if another process has it.
func (d dataDir) lock() (unlock func(), err error) {
	unlock, err = disk.TryLock(filepath.Join(d.path, "lock"))
	var locked *disk.LockedError
	switch {
	case errors.As(err, &locked):
		what := fmt.Sprintf("another server uses the data directory %s", d.path)
		if locked.PID != 0 {
			what += fmt.Sprintf(": process %d", locked.PID)
		}
		return nil, fault.New(fault.Conflict, what, "stop that server, or give this one its own with --data-dir DIR")
	case err != nil:
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return unlock, nil
}
