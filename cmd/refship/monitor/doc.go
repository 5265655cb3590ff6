// Package monitor answers over HTTP whether a server lives, whether it is ready, and what it does.
//
// It answers from before the server listens until after it has stopped. There is no password: every client that can
// reach the address may ask.
//
// # What /livez and /readyz promise
//
// Each runs its probes at the same time and answers 200 if all of them pass, else 503. A 200 is "ok", or with
// ?verbose one line for each probe; a 503 always has the lines, in the manner of etcd's and Kubernetes' own
// endpoints:
//
//	[+]ssh ok
//	[-]etcd failed: etcd unreachable: no answer within 2s
//	[!]etcd-write warning: /team: etcd's role may not read and write there, its pushes are refused; …
//	readyz check failed
//
// A line says why, and what to do if that is known. A warning is about a part that the server can do without: the
// probe passes.
//
// /livez fails only if a restart of the server helps. Its probes:
//
//   - ssh: a client that connects to the port gets the server's version
//   - hooks: git can run the server's hooks, and their socket is there
//
// /readyz is 200 if a push would be taken and deployed. Its probes are those of /livez, and:
//
//   - etcd: it answers a read that needs a leader
//   - etcd-space: no alarm NOSPACE, and 16 MiB of the quota are free
//   - etcd-write: etcd's authentication lets the server read and write below the targets' namespaces. It names each
//     namespace where it does not, and fails only if there is no other
//   - disk: 256 MiB are free for the data directory, which takes a file, and so do the repositories whose disk did not
//     take a push
//   - serving: the server has finished what an earlier run left behind, and was not told to stop
//   - refs: never fails. It warns of refs whose files are empty, up to a minute late: git takes no push to a repository
//     with one
//   - chains: never fails. It warns of what is odd about a chain though it goes on, such as a time far ahead
//   - scrub: never fails. It warns of what the last scrub repaired, could not repair, or could not look into
//
// An answer takes 3 seconds at most, no matter what etcd does: each probe waits for 2. It is used again for a second,
// so that etcd is asked once a second no matter how many clients ask.
//
// # What /metrics promises
//
// Prometheus' text format. Names and labels stay as they are:
//
//	refship_pushes_total{result}                     result as in the log's lines
//	refship_deploys_total{kind,result}               kind push, deploy; result published, failed, refused
//	refship_push_duration_seconds                    histogram
//	refship_lock_wait_seconds                        histogram
//	refship_stored_bytes_total
//	refship_ref_ahead{repository,target}             1: the ref is not what the chain deployed; 0: it is
//	refship_ref_checks_failed_total                  comparisons for refship_ref_ahead that could not be made
//	refship_etcd_request_duration_seconds{op}        histogram
//	refship_etcd_requests_failed_total{op,code}      gRPC's code
//	refship_etcd_db_size_bytes                       absent while etcd does not answer
//	refship_etcd_quota_bytes                         absent also if etcd does not tell it
//	refship_scrub_keys_read_total, refship_scrub_bytes_read_total
//	refship_scrub_damaged_total, refship_scrub_repaired_total
//	refship_scrub_failed                             what the last scrub could not repair
//	refship_scrub_last_run_timestamp_seconds         0: no scrub has ended
//	refship_connections, refship_sessions            once the server listens, as are the next three
//	refship_connections_without_login
//	refship_connections_refused_total{how}           dropped, turned away
//	refship_git_memory_bytes                         what git processes of clients may take, of --git-memory
//	refship_upkeeps_total{result}                    repositories packed anew; result done, failed
//	refship_upkeep_seconds_total                     how long that took
//	refship_stale_locks_removed_total                of git
//	refship_notify_queue_length                      events that wait to be sent, once the server listens
//	refship_notify_tries_total{result}               result delivered, failed, given up
//	refship_notify_last_success_timestamp_seconds    0: none has been delivered
//	refship_build_info{version,revision}, go_*, process_*
//
// Counters are there from the start, with 0. Only refship_ref_ahead has series that depend on what the server holds;
// what clients send makes no series.
//
// # The watch over refs
//
// It compares each target's ref with the head of its chain: all once a minute, and a repository's soon after a push
// or deploy. What cannot be compared keeps its value. Nothing is deployed by it.
//
// # Concurrency
//
// Config and Server do not change. All methods of a Monitor may be called at the same time; Start and Run once.
package monitor
