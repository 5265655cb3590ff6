// Package repos keeps the bare repositories of a server on disk: their names, how one is made, and which targets they
// have.
//
// # Words
//
// A repository has a name, such as config or team/config ([CheckName]). What git sends for ssh://HOST/config.git is a
// path; [NameFromPath] makes it a name. Targets are those of package target: a repository's git config holds them.
//
// # On disk
//
// Repository NAME is the bare repository Path/NAME.git. Its git config has the targets. Its own hooks directory has
// one hook, which refuses: a push that reaches the directory by path would move refs past the server, whose
// receive-pack has another core.hooksPath.
//
//	.lock                    the lock for creating repositories and changing targets
//	config.git/              repository config
//	team/config.git/         repository team/config
//	team/.new-123/           a repository that is being made
//	team/.removed-123/       one that is being removed
//
// # Invariants
//
//   - A repository appears whole or not at all: it is made beside its place, synced, and renamed. What a process that
//     died left unfinished is removed by the next one that makes a repository there.
//   - It is renamed and removed by one rename(2), while nothing uses it: whatever moves its refs holds [Dir.Use].
//   - No target's namespace overlaps that of another target, of all repositories together. Where the targets of one
//     repository cannot be read, no namespace is given away.
//   - A symbolic link is not followed: it could lead out of Path, or give a repository two names.
//
// # Concurrency
//
// A [Dir] is a value without state. All its methods may be called from several goroutines and several processes.
// Changes take turns by a lock on Path/.lock; reading takes no lock. [Dir.Use] is a shared flock on the repository's
// directory, which [Dir.Rename] and [Dir.Remove] take alone, after Path/.lock.
package repos
