// Package embedded is the etcd inside refship serve: one member, in this process. No program but a server needs it.
//
// [Start] runs it. Its [Etcd.Client] needs no connection, and its [Etcd.Remote] has one. Other processes use its
// socket, which deploy/etcd knows the path of, or a port: plain on loopback addresses, with TLS and client certificates
// elsewhere. [Restore] makes its files out of a snapshot.
//
// # Files
//
// Everything is in [Config].Dir, mode 0700. "member" is etcd's. "etcd.sock" is the client socket, which asks for no
// password; a socket's path has at most 107 bytes (unix(7), sun_path). "lock" has the pid of the process that has
// locked it. "started" is there once etcd has answered: without it, and without a client's request in "member", that is
// what a killed first start has left, and is made anew.
//
// # Settings
//
//   - There is no peer listener: a single member has no peers, and etcd makes of a unix peer URL an abstract socket,
//     which every local user can open. It has to advertise a peer URL, so that has port 0, where no connection is
//     possible.
//   - The lock on Dir comes before etcd's start: etcd unlinks a socket that another process listens on before it
//     meets that process's own lock.
//   - SnapshotCount is 10 and SnapshotCatchUpEntries 2: etcd keeps the raft log in memory, and here an entry may be
//     1 MiB. There is no follower to catch up. A start replays at most as many entries from the log.
//   - Periodic compaction of 1 h: a watcher that was away for less can go on where it was. Older revisions of
//     overwritten and deleted keys go, and what they took becomes free inside the database file.
//   - Ticks of 20 ms, election after 100 to 200 ms: there is no other member to be elected, so to wait longer than
//     for the disk has no use. A start takes about 40 ms, and 0.1 to 0.2 s with 40 MiB of log to replay.
//   - Fsync is on: what etcd has acknowledged is on the disk.
//   - A defragmentation copies 128 keys at a time, so that it takes little memory: 0.4 GiB where they have 1 MiB each,
//     and 6 s for 1 GiB. With 10,000, as etcd itself has it, that was 2.9 GiB and 17 s. There etcd answers nothing, so
//     [Etcd.BeforeDefrag] chooses the moment.
//
// # Room
//
// Etcd that has met its quota takes no writes until its alarm NOSPACE is disarmed, through any restart.
// [Etcd.Reclaim] compacts, defragments and disarms after a start. Where that gives too little even for gc, the server
// starts etcd with [MoreRoom] beyond its quota, and lets nobody but gc have that.
//
// # Failure
//
// etcd ends the process where it cannot go on, and panics, often in a goroutine of its own, where it finds damage.
//
//   - Before it starts, its files are looked at: the log record by record, the database's meta pages, its size and its
//     keys, and whether the two belong together; the disk's room; the process's limits. What is wrong is an error of
//     the kind Unavailable, and what is damaged has [ReasonBroken]. Nothing of it is changed.
//   - A start has 30 s, and a second more for each 20 MiB of the database.
//   - What etcd logs at its levels fatal and panic, such as a full disk, ends the goroutine that met it, makes
//     [Etcd.Done] deliver the error, and each call of [Etcd.Client] fail at once. A damaged page that such a call meets
//     does the same. Etcd then hangs somewhere, perhaps: the process has to end.
//   - A panic in another goroutine of etcd's, or a page of the database's file that is missing there, ends the process.
//
// The look takes 15 ms for 1.7 GiB of large values and 50 ms for 200,000 keys, when the file is in memory; else it
// reads the file, as etcd would after it. A file of the log, of 64 MB, takes 0.3 s, and up to 2 s
// where it holds many small entries.
//
// # Concurrency
//
// An Etcd and its client may be used from several goroutines. Close ends the streams of remote clients: etcd would
// wait for each. Nothing outlives Close. While a client reads a snapshot, a defragmentation is refused.
package embedded
