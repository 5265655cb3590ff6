// Package web shows chains to people, in a browser. It only reads.
//
// # Words
//
// A [Viewer] is a person who looks, and what they may read: package session finds out who that is. A page shows one
// thing; the part of it that changes by itself is live. A row is a deploy or an event on a timeline. A proof is what
// verifying one deploy has found. A [Push] is a delivery on its way, as the engine tells it.
//
// # Addresses
//
//	/                                   all chains; after=REPO:TARGET: those that follow
//	/chain/REPO:TARGET                  a timeline, 50 deploys a page: from=ID (and down), path, by, commit, since, until
//	/chain/REPO:TARGET/-/nodes          nodes, by ring
//	/chain/REPO:TARGET/-/compare        two deploys: from=ID, to=ID, path; from "" is the one before, to "" the head
//	/chain/REPO:TARGET/-/deploy/ID      one deploy
//	/chain/…/-/deploy/ID/files/PATH     a directory, or a file's text, as the deploy has it
//	/chain/…/-/deploy/ID/raw/PATH       a file's bytes, to be saved
//	/events                             a stream of events of all chains; chain=REPO:TARGET: of one
//	/static/page.css, page.js, icon.svg
//
// A repository with one target needs no :TARGET. No element of a repository's name begins with "-", so /-/ ends it. A
// PATH is raw bytes, percent-encoded. part=live answers with the live part of a page alone.
//
// An event says that something has changed, and nothing else: the script then loads the live part anew, as any request,
// under the rules as they are then. Changes come from etcd (Config.Changes) and from the engine ([Web.Push]).
//
// # What a browser gets
//
// HTML by html/template, one stylesheet and one script, all embedded. The Content-Security-Policy allows these two and
// nothing inline; nothing is loaded from elsewhere, no page may be in a frame, and no address leaks by a referrer.
// Answers are private to the browser. Without the script all can be read; it puts times into the reader's zone, and
// loads live parts. Colors of code are classes of the stylesheet,
// light and dark, which package code finds.
//
// # Invariants
//
//   - What a Viewer may not read is answered as what is not there, byte for byte: 404.
//   - The rules are looked up at each request, and before each event of a stream, which ends when they have changed.
//     Every 15 seconds it is looked whether there is more to read, or a target has another chain.
//   - Only GET and HEAD are answered, and nothing is written anywhere.
//   - Text from outside (names, subjects, paths, contents, values of etcd) is data in a template, and what is not
//     printable in it is escaped visibly. No template.HTML, .JS or .URL is ever made.
//   - A file's bytes come as an attachment of no type, in a sandbox: no browser shows them as a page of this server.
//   - A content is checked before it is shown. A download that turns out to be damaged is broken off.
//
// # Bounds
//
// A request reads 64 MiB of etcd at most and takes 10 seconds at most, and 8 are answered at the same time; a slow
// browser takes no turn. A timeline looks at 2,000 deploys a page, and its next page goes on below. What a page shows
// of files, lines, nodes, commits and changes is bounded by constants beside the code, and it says what it leaves out.
// Verifying has 2 seconds and 64 MiB, colors 2 seconds, downloads half an hour, 16 at a time, and half a minute in which
// the browser takes nothing. 200 streams are open at the same time, 10 of one viewer, each for half an hour.
// 100 pushes are remembered, a minute after their end.
//
// # Concurrency
//
// A [Web] is for many goroutines. A stream has the goroutine of its request, and one for each chain that a stream waits
// for; it ends with the last of these streams.
package web
