// Package site is what a node has on its disk: the releases, the link to the one that runs, and what it remembers.
//
// # Words
//
// A release is a deploy's tree in a directory of its own. It is ready when it is whole and prepared. The release that
// the link leads to runs.
//
// # Format
//
//	ROOT/LINK                       the link, relative: .worktrees/7-5d6e7f8…
//	ROOT/.worktrees/7-5d6e7f8…      a release: the deploy's id, and its hash ("tree-" in place of "tree:")
//	ROOT/.worktrees/.refship-…      a release that is being fetched
//	ROOT/.refship/lock              flock of the agent that uses ROOT
//	ROOT/.refship/releases/7-…      JSON of a [Release] that is ready; its time is when it was made, or ceased to run
//	ROOT/.refship/id                JSON of a random text, by which the node knows its own key in etcd again
//	ROOT/.refship/lists/7-…         what a release has, where somebody asks for that: package files
//	ROOT/.refship/seen              JSON of the head that the node has seen last, a [Seen]
//	ROOT/.refship/refused           JSON of a head that does not extend it
//	ROOT/.refship/accepted          the same, once an operator has accepted it
//
// In place, LINK is a directory, and a release is removed once it is copied there:
//
//	ROOT/.refship/filled            JSON of the [Release] that the directory has, and whether it is whole
//	ROOT/.refship/filled-list       what that release has
//	ROOT/.refship/filling           what that has, and the next one, while the directory is filled
//
// # Invariants
//
//   - The link is made anew beside itself and renamed, so that it leads to the old or to the new release at every
//     moment.
//   - It leads to ready releases only: every byte and name of one, and the file that says that it is ready, are on
//     disk before the link is.
//   - A release that is removed is first not ready. So a half-removed one, and one that was being fetched or prepared
//     when the process was killed, are told by the missing file, and removed at the next start.
//   - What is linked is never removed.
//   - Only a link is replaced. A file or a directory at its place is somebody's: nothing is done then.
//   - Nothing is written or removed through a symbolic link below ROOT: all of it goes through os.Root.
//   - In place, what deploys have brought is in one of the two lists before it is in the directory, until it is not there
//     any more. What is in neither is somebody's: it is not replaced and not removed, and nothing is done where it is in
//     the way. The directory is not whole from before the first replacement until all of the release is on disk and was
//     looked at.
//
// # Concurrency
//
// One goroutine uses a Site. [Accept] works beside it, in another process.
package site
