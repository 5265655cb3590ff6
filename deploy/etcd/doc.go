// Package etcd connects to etcd, and writes and reads many keys below etcd's limits. It links no etcd server: the one
// that refship serve runs inside is deploy/etcd/embedded.
//
//   - [Dial] connects to an etcd, or to the [Socket] of a running server. [Ping] asks whether it answers.
//   - [DialStream] speaks to one over a stream, such as a process's standard input and output. deploy/etcd/gate is what
//     may be on the other side. [StreamConn] is the connection that both sides make of their stream.
//   - [Bounded] gives each request a time limit, and sends it again while a dead member or an election may be the
//     reason for no answer. [Grant] does the same for a lease.
//   - [Exist] and [Writer] batch. [ReadSpace] tells how much of the quota is left, and
//     [MakeRoom] gives back what overwritten and deleted keys take of it.
//   - [Classify] sorts the client's errors into [ErrUnreachable], [ErrFull] and [ErrDenied], with a remedy. Those of
//     everything above are sorted already. If the remedy is a setting of [Config], the error has a Reason, too: a
//     program with flags words it.
//   - [TakeSnapshot] copies all that an etcd holds.
//   - [Observed] and [ObservedLease] tell of each request how long it took and how it ended.
//
// # Trouble
//
// A restart of etcd or an election costs a push some seconds and nothing else:
//
//	what happens                                            given up after
//	no endpoint can be connected to                         3 s: a restart of etcd
//	no member answers, on connections that stand            5 s
//	members answer, and have no leader or are overloaded    10 s: an election takes one to three seconds
//	members answer, and the request is slow                 30 s
//
// The first try is cut off after 3 s: the member that it went to may have died, or may stand still. If there are
// several endpoints, it is cut off after 1 s, and a second try goes to the next member. After 3 s members are asked
// whether they are there at all, for 2 s. Each try may take twice as long as the one before, so that a slow etcd is
// not asked for the same too often. Each try requires a leader: by itself, a member without one would wait.
//
// On a stream there is one try of 10 minutes, since the line may be slow: the other side has the bounds above. A line
// that says nothing for 30 s is dead. When it ends, calls end at once.
//
// A call that meets a learner, which refuses it, or a member that says nothing makes the client ask all endpoints how
// they stand. Learners are left out, and so are silent members while another one answers, until they answer as voters
// do. Calls that are made meanwhile wait for that, for 1 s at most.
//
// A user's token expires (after 5 minutes by default). Restarts and changed roles end it, too. The client logs in
// again by itself, over a connection that carries no token, since etcd 3.4 refuses a login that comes with an expired
// one.
//
// The role of a server needs readwrite on the prefix NAMESPACE/ of each namespace and nothing else, that of a reader
// read. Any user who has logged in may use leases, and may ask for a member's status, which has the alarms and (from
// 3.6 on) the quota.
//
// # Limits
//
//	limit                value                here          source
//	operations a txn     128 (each of         MaxOps        etcd --max-txn-ops
//	                     compare, then, else)
//	request              1.5 MiB              BatchBytes,   etcd --max-request-bytes
//	                                          MaxValue
//	message sent         2 MiB                the same      clientv3 MaxCallSendMsgSize
//	message received     2 GiB - 1            the same      clientv3 MaxCallRecvMsgSize
//	quota                2 GiB; embedded      ReadSpace     etcd --quota-backend-bytes
//	                     8 GiB
//	client pings         one in 5 s           10 s          etcd --grpc-keepalive-min-time
//
// A txn that names one key twice is refused (ErrDuplicateKey); [Writer] puts such a key once. ErrNoSpace and a
// message over the client's limit both come as gRPC's ResourceExhausted, so nothing is classified by that code.
//
// # Invariants
//
//   - When [Writer.Barrier] returns nil, every put before it is acknowledged, and so on the disk of an etcd with
//     fsync.
//   - No txn of a layer starts before the previous Barrier has returned nil.
//   - After an error a Writer sends nothing more.
//   - A Get or Txn of Bounded may be applied twice. [CountTries] tells.
//   - A write that failed may have been applied, even with ErrFull: only reading tells. Puts are repeated because
//     they are idempotent.
//
// # Concurrency
//
// Clients and all functions may be used from several goroutines. A Writer is for one at a time, except for
// [Writer.Written]. Nothing here outlives its context or its client.
package etcd
