// Package permit tells what a push asks for, and whether it may have it.
//
// A [Push] is what a user asks for: updates of refs of a repository, with push options. [Push.Read] reads it as git
// hands it to pre-receive, and [Push.Check] permits or refuses it. Neither looks at a chain: what that says to the push
// is the verdict (package deploy).
//
// # What is permitted
//
// Each ref update is asked about by itself, and all that is wrong is told. A ref that no target deploys takes the rule
// push, one that a target deploys takes deploy, and force to override the chain's head (package keys). A push that
// another git server let in has no key: its user may deploy but not force. Whatever the rules say, no push
//
//   - deletes a ref that a target deploys,
//   - moves a target's ref by another name, through a symbolic ref,
//   - makes a ref that is in the way of a target's ref: git has no ref below another one,
//   - touches refs/notes/deploys, or what begins with refs/refship/, which is refship's own.
//
// # Push options
//
// "git push -o" hands them over. Those that do not begin with "deploy." belong to other programs and are only kept in
// the intent. A misspelt one, one that is there twice, and two that contradict each other refuse the push. One without
// a value may have an empty one: go-git sends "deploy.dry-run=".
//
//	deploy.reason=TEXT   for the record: one line of UTF-8, at most 10,000 bytes
//	deploy.force         override what the previous hash refuses; needs a reason, and the permission force
//	deploy.dry-run       check and read without a lock, write nothing, say what would be deployed, refuse the push
//	deploy.skip          store, take no lock, deploy nothing
//
// # Who pushes
//
// Where refship's own server has authenticated a key, that is the pusher. Elsewhere [PusherFromEnv] reads the
// environment that the other git server made.
//
// A Push belongs to one goroutine at a time.
package permit
