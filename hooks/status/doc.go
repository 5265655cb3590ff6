// Package status tells how each target's ref relates to its chain's head, and what to do where they differ.
//
// [Reader.Read] compares; it changes nothing. [Write] puts the result into words, a few lines a target:
//
//	default: main → /refship/config
//	  ref    5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90
//	  head   1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d, deploy 7 by laptop, 2 hours ago
//	  state  ahead by 3 commits
//	  hint   deploy it with: ssh HOST deploy config:default
//
// [Reader.Waiting] tells of what pushes that were broken off left undeployed, and [Since] what their chain has decided
// since. [WriteLog] prints the chain of one target.
//
// A Reader may be used by many goroutines.
package status
