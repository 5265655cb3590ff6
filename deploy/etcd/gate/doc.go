// Package gate lets a client speak etcd's own API through a stream, such as a channel of SSH, as far as a rule allows.
//
// [Server] is the server's side. It answers gRPC on the stream, looks at each request, and forwards it over the
// server's own client, with that one's token. The client's side is etcd.DialStream. So whatever reads a chain from an
// etcd reads it through a gate, with the same code.
//
// # What passes
//
// A gate is for one namespace NS, which the header refship-namespace of each answer names. Its client may read:
//
//	KV.Range     a key, or a range of keys
//	KV.Txn       of at most 128 ranges in each branch, and 128 compares; no txn in it, no delete
//	Watch.Watch  keys and ranges of keys; at most 64 watches a gate, each from at most 100 revisions back
//
// A node, which is a client with a name, may also write. By KV.Put and in txns it puts
//
//	NS/refship/node/NAME    its report, at most 16 KiB
//	NS/refship/alive/NAME   that it lives, on a lease that was granted through this gate
//
// where NAME is its name, or that and .suffix, for several that share a key. Lease.LeaseGrant grants it 16 leases a
// gate, of at most 10 minutes, with ids of etcd's choice. Lease.LeaseKeepAlive and Lease.LeaseRevoke are about these.
//
// All else of etcd's services is refused, and all other services. So are fields that this program does not know.
//
// Each key, and each range from its first key to its end, lies wholly below one of
//
//	NS/deploy/   NS/storage/   NS/fs/   NS/refship/   NS/strings/refship/
//
// A sibling such as NS-staging/ is not below them. Contents are below NS/storage/, NS/fs/, NS/refship/tree/ and
// NS/refship/object/; their values are large, and there are many of them.
//
//	a range                         where no contents are           where contents are
//	without a limit                 of keys or counts only          of counts only
//	with a limit                    up to 1,024 keys in all         up to 128 keys in all
//	sorted, or of some revisions    with a limit, or keys only      not at all
//	compared                        yes                             not at all
//
// etcd reads all values of a range before it sorts, filters or compares them, and older versions read them where only
// keys are asked for. It also counts all keys of a range, so a request has at most 8 ranges. A key by itself counts as
// one in the row "with a limit".
//
// A watch that begins earlier is answered as one from a revision that was compacted: etcd would read all that was
// written since, in every namespace, and let no write go on meanwhile.
//
// # Invariants
//
//   - What is forwarded is the request as it was understood, written anew, and never the bytes that came. Two readers
//     may take the same bytes for different requests: to etcd 3.4 an empty range_end that is written out means all keys
//     from a key on, and to others that key alone.
//   - Of the client's metadata only hasleader passes. Its token, if it has one, does not.
//   - Nothing that was not asked for here is sent to the client: answers are those of requests that were let through.
//
// # Bounds
//
//	request               256 KiB
//	answer                64 MiB, 16 MiB of at most 4 values, 1 MiB of counts
//	answers in memory     128 MiB of all gates of a key, 256 MiB in all; further requests wait
//	requests at a time    4, further ones wait
//	requests a second     500, after the first 1,000 further ones wait; so do messages of watches
//	calls at a time       32, watches among them
//	etcd's answer         30 s, as with etcd.Bounded: it is asked again while that may help
//	pings                 one in 5 s; who sends more gets GOAWAY (too_many_pings)
//	silence               90 s: a client that answers no ping is gone
//	first words           30 s
//
// An answer counts with the most that it may have from when etcd is asked, and with what it has until the client has
// read it. A watch that a slow client does not read is not read from etcd either.
//
// # The end
//
// A gate ends with its context: the server ends that when the key is removed or loses the rule. Calls and watches then
// end with the context's cause, as PermissionDenied if its kind is fault.Refused, else as Unavailable. After 2 s the
// connection is closed in any case.
//
// # Concurrency
//
// Serve may be called for many streams of one Server. Nothing outlives it.
package gate
