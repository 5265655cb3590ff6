// Package backup copies a server's data directory into one file while pushes run, and makes a data directory of that
// file again.
//
// # Words
//
// A backup is the file. An entry is one file in it. The manifest is its last entry.
//
// # Format
//
// A backup is a tar (POSIX.1-2001, pax) of regular files, in this order:
//
//	refship-backup              JSON, see [Info]
//	etcd.snapshot               as etcdctl snapshot save writes it; not there if the server's etcd is another one
//	keys/NAME                   what is in DATA/keys
//	repos/NAME.git/packed-refs  all refs of a repository
//	repos/NAME.git/…            its other files
//	manifest                    "<sha256>  <entry>" and a line feed for each entry before it, as sha256sum prints them
//
// Modes are 0600, and 0700 for what the owner may execute. So stock tools read a backup:
//
//	tar -xf FILE && sha256sum --check --quiet manifest
//
// # Order
//
// What a later part needs was taken before it could change: the chains first, then the keys that have signed them, then
// for each repository its refs, then its objects.
//
//   - Each ref is where its chain's head is, or ahead: git moves a ref before its deploy is published. And each commit
//     that a chain names is in its repository, since a ref leads to it (git.KeepReplaced).
//   - The objects of each ref are there: git stores them before it moves the ref, and nothing takes them away, because
//     the upkeep has a pause ([upkeep.Pause]). What another git removes meanwhile ends the backup with an error.
//   - No repository is renamed or removed meanwhile: all are in use (repos.Dir.Use) from before the snapshot on.
//
// Not in it are intents, since a restored one would be deployed; what the server's log has not told yet of changes; and
// what belongs to a process that runs: locks, quarantines, temporary files, sockets.
//
// # Restoring
//
// An entry is taken only if it has the form above: what it is called is a name of that list, it is a regular file with
// one of the two modes, and no name comes twice. What all of them hold is compared with the manifest. The manifest
// proves that a backup is whole. It does not prove who made it: a repository's config names commands that a server
// runs.
//
// # Invariants
//
//   - At every moment FILE, or the new data directory, does not exist (or is the empty directory that was there), or is
//     whole and on disk. A process that is killed leaves ".FILE.*.refship-tmp" or ".DIR.restore-*" beside it.
//   - Nothing is written outside of these.
//
// # Concurrency
//
// Backups may run beside each other; those of the same repository take turns at it.
package backup
