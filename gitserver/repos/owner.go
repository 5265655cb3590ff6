package repos

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// CheckOwner refuses a repository that belongs to another account than the server's: git works in no such repository
// (safe.directory), since it would run what its owner has written into its config. The error is for the operator: it
// names the directory.
func (r Dir) CheckOwner(name string) error {
	dir, err := r.Locate(name)
	if err != nil {
		return err
	}
	return checkOwner(name, dir, os.Geteuid())
}

// checkOwner is CheckOwner for a server that runs as that user.
func checkOwner(name, dir string, uid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at repository %s: %w", name, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == uid {
		return nil
	}
	return &fault.Error{
		Kind: fault.Failed,
		What: fmt.Sprintf("repository %s belongs to the account %s, and the server runs as %s: git does not work in it",
			name, account(int(stat.Uid)), account(uid)),
		Remedy: fmt.Sprintf("chown -R %s %s", account(uid), text.Quote(dir)),
	}
}

// account is a user's name, or the id of one without a name.
func account(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
