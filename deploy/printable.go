package deploy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside safe for a terminal: what is no printable character is escaped as in a Go string,
// so that a commit's subject or a file's name can move no cursor and hide nothing.
func Printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += size
	}
	return b.String()
}

// Bytes writes a number of bytes for reading: "712 B", "3.1 KiB", "8 GiB".
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit {
		value, units = value/unit, units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + units[:1] + "iB"
}

// Count writes a number with its noun: "1 file", "3 files".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Ago writes how long ago something was: "just now", "12 minutes ago", "yesterday".
func Ago(d time.Duration) string {
	days := int(d.Hours() / 24)
	switch {
	case d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return Count(int(d.Seconds()), "second") + " ago"
	case d < time.Hour:
		return Count(int(d.Minutes()), "minute") + " ago"
	case d < 24*time.Hour:
		return Count(int(d.Hours()), "hour") + " ago"
	case days == 1:
		return "yesterday"
	case days < 60:
		return Count(days, "day") + " ago"
	case days < 730:
		return Count(days/30, "month") + " ago"
	}
	return Count(days/365, "year") + " ago"
}
