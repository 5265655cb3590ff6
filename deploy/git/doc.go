// Package git is the system's git: it reads repositories, and runs git where that is the better reader.
//
// # Words
//
// Commit, tree, blob, oid, ref and revision are git's. gitDir is a repository's own directory, what git calls GIT_DIR:
// config.git of a bare repository, .git of a work tree.
//
// # Oids
//
// An oid is an [OID]: tree.OID, which is declared in deploy/tree because entries have oids, and that package is below
// this one. The packages that import this one write git.OID; deploy and what is below it write tree.OID.
//
// # Two environments
//
// [Run], [ReadRefs] and a [Repository] work for refship: their git has an environment made from scratch ([Env]),
// reads no configuration but the repository's, and takes an oid for the bytes that hash to it, whatever refs/replace
// says. [AsUser], [FindRevision] and [Uncommitted] work for the user who typed a command: git finds the repository
// and reads the configuration as it would in the user's shell.
//
// # Reading objects
//
// A Repository reads commits, trees and blobs through one long-running `git cat-file`, which sees a push's quarantine
// and alternates and is the fastest way to content. It asks for type and size first (info of `--batch-command`, since
// git 2.36): to print a commit, a tree or a tag, git holds all of it in memory. Those over 16 MiB are refused, and so
// is what is of another type. Files are streamed. A small push is read from the one pack that git has put it into, by
// go-git's scanner and up to 2 MiB in all (pushed.go); git is started for what is not in it. Commits with SHA-1 names
// are decoded by go-git, too (seam.go), whose oids have 20 bytes and appear nowhere else; all other objects, and those
// with SHA-256 names, by package tree, which takes only what git itself would have written. An object of another type
// or oid than was asked for is an error, and whatever is read whole is hashed again. A blob's bytes are hashed by the
// caller (tree.HashBlob), in the same pass as the sha256. An oid of another format than the repository's is of no
// object there: git would take its digits for something else.
//
// # Refs
//
// git is asked for refs and for what symbolic ones lead to, in whatever form it keeps them ([ReadRefs], [FinalRefs],
// [SymbolicRef]). [ReadLoose], [RefDir] and [RefsSize] look at files beside git, to mend what a dead git left and to know
// what a disk takes: never at what they say. Only [NoneIsSymbolic] reads the file of a ref, and asks git where that is
// anything but an oid.
//
// # Ancestry
//
// [Repository.Between] walks a linear history of up to 1,000 commits itself, and asks `git merge-base` about any other:
// git has generation numbers and stops early.
//
// # Pushes
//
// What git tells a hook is not trusted: [ParseUpdates] reads its standard input strictly, and [QuarantineEnv] takes
// only a quarantine that belongs to the repository. [CheckRef] is the one place that knows which ref names are
// usable.
//
// # Errors
//
// A git that fails is an [Error] with git's own words, in which the path of the repository is cut to its last element:
// errors are told to pushers. What is in the repository and cannot be deployed (a tree that git itself would not have
// written, an object that is too large, a path that is not there) is a fault.Refused.
//
// # Concurrency
//
// A Repository may be used from many goroutines, which take turns. The functions may be called at any time.
package git
