// Package notify tells other programs what becomes of a target: by signed HTTP requests, from a queue on disk, in no
// push's way.
//
// # Words
//
// An event is what is told. A receiver is one URL of a target's setting notify. A delivery is one event on its way to a
// receiver; both have the same id.
//
// # Where events come from
//
// Etcd is what is told of, and not what a process has seen: a [Notifier] watches the chain of each target that has
// receivers (follow.go), and notes how far it has told of it. So it tells also what others did there while no server
// ran, and what was cut off by a kill.
//
//	published, rolled-back      a deploy that is new
//	held, resumed               NS/refship/events
//	nodes-failed, nodes-done    NS/refship/node of the head's deploy: once for each node that fails, and when all nodes
//	                            that are alive run it: once, and once more after some failed
//	refused, not-deployed       of no chain: the engine says it (report.Refusal). Lost if the server is killed before it
//	                            is queued, which the push waits for, a second at most
//
// # The request
//
// POST, with an [Event] as JSON, or with {"text": …} for Slack, and the headers
//
//	X-Refship-Event: published
//	X-Refship-Delivery: ea97377cfe5fd60ae858bb23323a8928
//	X-Hub-Signature-256: sha256=…       see package webhook; the key is that of Secret
//
// An answer 2xx within 10 s is a success. All else is a failure: it is tried again after 5 s, then after twice as long
// each time, up to an hour, with chance in it; Retry-After is heeded. After a day an event is given up, with a line of
// the log. Redirects are not followed.
//
// # Format
//
// Below <GIT_DIR>/refship/notify/, which has mode 0700:
//
//	secret                        64 hex digits at random, the seed of all secrets of the repository
//	<target>/told.json            how far its chain is told of
//	<target>/to-<16 hex>/         a queue; the digits are of the sha256 of the receiver as it stands in the setting
//	    <20 digits>-<id>          {"queued": time, "body": event}
//
// A queue has at most 1,000 entries and 4 MiB. When it is full, the oldest are given up. Refused pushes, which anybody
// may cause who may push, take half of it at most.
//
// # Invariants
//
//   - Each event is told at least once to each receiver that answers within a day, and always with the same id.
//   - What a receiver hears of a target comes in the order in which it was queued: the next one is sent when the one
//     before was taken or given up.
//   - How far a chain is told of is noted after the events are on disk.
//   - No log line, error or metric has a receiver's URL, but for its host.
//
// # Concurrency
//
// One Notifier at a time may run on a repository. Its methods may be called at the same time; Run once. Each target has
// a goroutine, and each receiver one; 16 requests run at a time.
package notify
