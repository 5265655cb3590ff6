// Package turns shares out how many deploys are read and stored at a time, so that no key keeps the others waiting.
//
// A run takes as many turns as it reads trees at once; one that needs all of git's memory takes all of them. A key may
// have half of the turns, whatever it has waiting.
//
// Quiet keeps deploys away while something must run alone.
package turns
