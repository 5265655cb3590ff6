// Package reply holds back what git receive-pack reports to a client until it is known whether what was pushed is
// deployed, and then tells the truth: git writes its report before the post-receive hook has run.
//
// # Words
//
// The answer is all that git receive-pack writes. It begins with the advertisement, the list of refs. The report says
// what became of each ref update. A band is one of the streams that side-band-64k puts into one: 1 is the report, 2 is
// what the client shows ("remote: …"), 3 is a fatal error.
//
// # Format
//
// gitprotocol-pack(5), "Report Status", and gitprotocol-capabilities(5). All of it is made of pkt-lines. A report of
// two refs, of which one was not moved:
//
//	000eunpack ok LF
//	0017ok refs/heads/main LF
//	0031ng refs/heads/side pre-receive hook declined LF
//	0000
//
// With report-status-v2 there may be lines "option …" after an "ok", which are about its ref. With side-band-64k each
// pkt-line begins with its band, and the report's own pkt-lines are cut into such pieces anywhere:
//
//	0014 \x02 "refship: hello" LF
//	0005 \x01                                   keeps the connection alive
//	0017 \x01 "000eunpack ok" LF "0017"
//	0018 \x01 "ok refs/heads/main" LF
//	0009 \x01 "0000"
//	0000
//
// Without it the report follows the advertisement as it is. git receive-pack knows no other side-band: a client that
// asks for "side-band" gets none (receive-pack.c, queue_command and read_head_info).
//
// # What is changed
//
//   - The advertisement, bands 2 and 3, and what keeps the connection alive are passed on at once.
//   - The report is held to the end. A ref that is denied there gets "ng <ref> <why>" in the place of "ok <ref>" and
//     the options that follow it. All else stays what git wrote, in pieces of another size.
//   - What is not in this format is held, too. It is passed on where no ref is denied. Where one is, it is dropped: the
//     client must not read an "ok" in it, and takes the push for failed.
//
// # Concurrency
//
// A [Reply] is safe for concurrent use: git writes while the client's list is read.
package reply
