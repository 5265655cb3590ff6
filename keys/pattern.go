package keys

import "strings"

// maxPattern bounds one pattern of a list, in bytes, as OpenSSH does: with a longer one, the list matches nothing.
const maxPattern = 1022

// matchList tells whether a pattern list matches s, which is not empty (ssh_config(5), PATTERNS): one of its patterns
// does, and none that begins with '!'. Case counts.
func matchList(s, list string) bool {
	found := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		switch {
		case len(pattern) > maxPattern:
			return false
		case !matchPattern(s, pattern):
		case negated:
			return false
		default:
			found = true
		}
	}
	return found
}

// matchPattern tells whether a pattern matches all of s: '?' stands for one byte, '*' for any number. It takes at most
// len(s) times len(pattern) steps: after a mismatch, only the last '*' can take more.
func matchPattern(s, pattern string) bool {
	star, taken := -1, 0 // the last '*', and where in s what follows it began
	at, p := 0, 0
	for at < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, at
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[at]):
			at++
			p++
		case star >= 0:
			taken++
			at, p = taken, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
