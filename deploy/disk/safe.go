package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OpenSafe opens a directory to make something in it that nobody else can meddle with meanwhile, and an [Unfit] error
// says why it is none of those. Nobody else is this process's user and root:
//
//   - The directory belongs to one of the two: an owner may do anything in it, whatever its mode is.
//   - Group and others may not write to it, unless it is sticky, as /tmp is: then they can add names and take away only
//     their own. A group whose number is that of the user, who owns the directory, is the user's own (useradd(8),
//     user private groups).
//   - A symbolic link on the way to it belongs to one of the two (as with fs.protected_symlinks, proc_sys_fs(5)), so
//     that nobody else chooses where the way leads.
//
// The first two are the rules of sudo and of OpenSSH's safe_path for one directory. Those look at all directories above
// it as well, and so refuse a home directory below another account's: here the owner of a directory above can move the
// directory away, which is open then, but cannot lead to another one that passes by a link.
func OpenSafe(dir string) (*os.Root, error) { return openSafe(dir, isOurs) }

func openSafe(dir string, isOurs func(uid uint32) bool) (*os.Root, error) {
	found, err := follow(dir, isOurs)
	if err != nil {
		return nil, err
	}
	if err := checkSafe(dir, found, isOurs); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(found, opened) {
		err = unfit(dir, "was replaced while it was opened", "see who does that, and try again")
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// isOurs tells whether what a user owns is in the hands of nobody else.
func isOurs(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

func checkSafe(dir string, info fs.FileInfo, isOurs func(uid uint32) bool) error {
	const remedy = "name one in a directory that only you may write to"
	stat, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	othersWrite := mode.Perm()&0o002 != 0 || mode.Perm()&0o020 != 0 && (!ok || stat.Gid != stat.Uid)
	switch {
	case !info.IsDir():
		return unfit(dir, "is no directory", "name a directory")
	case !ok || !isOurs(stat.Uid):
		return unfit(dir, "belongs to another user, who could replace what is made there", remedy)
	case othersWrite && mode&fs.ModeSticky == 0:
		return unfit(dir,
			fmt.Sprintf("has mode %04o: others may write to it, and could replace what is made there", mode.Perm()),
			remedy+", or take that right away: chmod go-w")
	}
	return nil
}
