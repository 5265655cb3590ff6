// Package disk writes files so that a power cut leaves them whole, and locks files between processes.
//
// # Writing
//
// What a function of this package has returned without an error is on disk: the content, the mode and the name. A file
// is synced before it gets its name, and its directory after that. Deletions and new directories are synced in the same
// way.
//
// At every moment of [WriteFile], for every reader and after every crash, the path leads to the old file or to the new
// one, never to a part of one. A crash can leave a temporary file beside it. Its name is ".NAME.RANDOM.refship-tmp": it
// begins with a dot, so that programs which run all files of a directory leave it out. [RemoveTemporary] removes it
// later.
//
// Modes are exact: the process's umask takes nothing away. New files belong to the process's user, and never replace
// what a symbolic link points to: the link itself is replaced.
//
// # Reading
//
// A path that a user gave, and one in a directory that others may write to, can lead to anything. [Open] and [ReadFile]
// take regular files only, up to a size, and never wait; every file that refship expects is read through them. Below a
// directory that [OpenSafe] opened nobody else can put a symbolic link in the way.
//
// # Locks
//
// Locks are flocks (flock(2)). The kernel gives a lock back when its process ends, however it ends, so no lock is ever
// stale. Two locks of one process exclude each other as those of two processes do. A lock is on a lock file, which is
// made (0600) where it is missing and stays for ever, or on a directory itself. A lock file that is a symbolic link is
// refused.
//
// # Room
//
// What is free on a disk is free for every writer that looks. In a process those that write much ask a [Room] first: it
// counts what each has asked for and not yet written. Other processes do not see that.
//
// # Directories that others change
//
// [OpenAt] and its like follow no link in any element of a path, where [os.Root] follows those that stay inside.
//
// All functions may be called at the same time, from several goroutines and processes. Errors are *fs.PathError,
// *os.LinkError or [Unfit], or they wrap one, unless a function says something else.
package disk
