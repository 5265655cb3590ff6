// Package etcd connects refship to etcd, runs one inside the process, and
// writes and reads many keys below etcd's limits.
//
//   - Start runs an Embedded etcd of one member; its Client needs no connection.
//   - Dial connects to an etcd elsewhere, or to the socket of a running server.
//   - Exist, Get and Writer batch; ReadSpace tells what is left of the quota.
//   - Classify sorts the client's errors into ErrUnreachable, ErrFull and
//     ErrDenied; what it and Dial return mostly has a method Hint() string.
//   - Bounded gives each request a time limit, so that an etcd that hangs is told,
//     and sends it again while a member that died or an election may explain why
//     there was no answer.
//   - Observed and ObservedLease tell of each request how long it took and how it
//     ended.
//
// # Trouble
//
// What a request meets, and how long it is waited for (RequestTimeout has the
// whole list): an etcd that restarts or elects costs a push some seconds and
// nothing else; one that stands still is noticed after 5 s; one that is slow is
// waited for, for 30 s. Everything that goes through Bounded may be applied twice.
//
// A user's token expires (after 5 minutes by default), and restarts and changed
// roles end it: the client logs in again by itself, over a connection that carries
// no token, since etcd 3.4 refuses a login that comes with an expired one.
//
// The role of a server needs readwrite on the prefix NAMESPACE/ of its namespaces
// and nothing else, that of a reader read: leases and a member's status, which
// names alarms and (from 3.6 on) the quota, are for every user who has logged in.
//
// # Limits
//
//	limit                value                here          source
//	operations a txn     128 (each of         MaxOps        etcd --max-txn-ops
//	                     compare, then, else)
//	request              1.5 MiB              BatchBytes,   etcd --max-request-bytes
//	                                          MaxValue
//	message sent         2 MiB                the same      clientv3 MaxCallSendMsgSize
//	message received     2 GiB - 1            Get: 16 keys  clientv3 MaxCallRecvMsgSize
//	quota                2 GiB; ours 8 GiB    ReadSpace     etcd --quota-backend-bytes
//	client pings         one in 5 s           10 s          etcd --grpc-keepalive-min-time
//	socket path          107 bytes            Start         unix(7), sun_path
//
// A txn that names one key twice is refused (ErrDuplicateKey); Writer puts such
// a key once. Both ErrNoSpace and a message over the client's limit come as
// gRPC's ResourceExhausted, so nothing is classified by that code.
//
// # The embedded etcd
//
// Everything lies in Dir, mode 0700: "member" is etcd's, "etcd.sock" the client
// socket, which asks for no password, "lock" holds the pid of the process that
// has locked it.
//
//   - No peer listener: a member alone has no peers, and etcd would make an
//     abstract socket, open to every local user, of a unix peer URL. It has to
//     advertise one, so that is port 0, where nobody can connect.
//   - Our lock comes before etcd's start, because etcd unlinks a socket that
//     another process listens on before it meets that process's own lock.
//   - SnapshotCount 100 and SnapshotCatchUpEntries 20: etcd keeps the raft log in
//     memory, here entries of up to 1 MiB. There is no follower to catch up. A
//     start replays at most as many entries from the log.
//   - Periodic compaction of 1 h: a watcher that was away for less can go on
//     where it was; older revisions of overwritten and deleted keys go. What gc
//     deletes becomes free inside the database file after that.
//   - Ticks of 20 ms, election after 100 to 200 ms: nobody else can be elected,
//     so waiting longer than for one's own disk has no use. A start takes about
//     40 ms, 0.1 to 0.2 s with 40 MiB of log to replay.
//   - Fsync is on: what etcd has acknowledged is on the disk.
//   - Where etcd can only end the process (a full disk), Done tells instead.
//   - Close ends the streams of remote clients, for whose end etcd would wait.
//
// Listen opens it to others: plain on loopback addresses, with client
// certificates elsewhere, else Start refuses.
//
// # Invariants
//
//   - When Barrier returns nil, every put before it is acknowledged, and so on
//     the disk of an etcd with fsync.
//   - No txn of a layer starts before the previous Barrier has returned nil.
//   - After an error a Writer sends nothing more.
//   - A write that failed may have been applied, whatever the error (with ErrFull
//     too): only reading tells. Puts are repeated because they are idempotent.
//
// # Concurrency
//
// Clients, Embedded and all functions may be used from several goroutines; a
// Writer by one at a time, except for Written. Nothing here outlives its ctx,
// its client or its Embedded.
package etcd
