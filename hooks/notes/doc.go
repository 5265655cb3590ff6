// Package notes tells a repository's own history of its deploys: each is a line of git's note on its commit, at
// refs/notes/deploys, which plain git shows.
//
//	git fetch REMOTE refs/notes/deploys:refs/notes/deploys
//	git log --notes=deploys
//
// # Format
//
// A note has two lines for a deploy of the commit that was replaced, and one for a head. Where a commit was deployed
// more than once, or into more than one chain, it has the lines of all, by chain and number:
//
//	deploy 7 of /refship/config: 2026-11-29T18:20:11Z by laptop, push
//	deploy 7 of /refship/config: replaced 2026-11-29T19:02:40Z by deploy 8, 1a2b3c4, by ops, rollback to 6: cache broke login
//
// The message of the ref's newest commit says of each chain up to which deploy it was noted, so that nothing else has
// to remember that:
//
//	/refship/config 8
//
// # Invariants
//
//   - The notes say what the chains say and can be made anew from them. They prove nothing: a user who can write the
//     repository can write them.
//   - A deploy that was noted late, since a process died, is noted with the next one.
//   - Only commits that the repository has get a note: not plain directories, nor what came from another repository.
//
// # Concurrency
//
// Two processes may do it at once: one of them begins anew.
package notes
