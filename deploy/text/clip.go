package text

import "strings"

// Clip shortens what a message quotes from outside.
func Clip(s string) string { return Shorten(s, 120) }

// Shorten cuts a text to so many bytes, whole characters only, and an ellipsis.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
