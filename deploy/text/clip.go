package text

// maxClip is how many bytes Clip keeps.
const maxClip = 120

// Clip shortens what a message quotes from outside.
func Clip(s string) string {
	if len(s) > maxClip {
		return s[:maxClip] + "…"
	}
	return s
}
