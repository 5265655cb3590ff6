package text

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size writes a number of bytes for reading: "712 B", "3.1 KiB", "8 GiB".
func Size(n int64) string {
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

// ExactSize writes a number of bytes for reading, and to the byte where that may round: "712 B", "3.1 KiB (3174
// bytes)".
func ExactSize(n int64) string {
	if n < 1024 {
		return Size(n)
	}
	return fmt.Sprintf("%s (%d bytes)", Size(n), n)
}

// Count writes a number with its noun: "1 file", "3 files".
func Count(n int, noun string) string { return Plural(n, noun, noun+"s") }

// Plural is Count for what takes more than an s: "1 repository", "3 repositories".
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// Age writes how long ago something was: "just now", "12 minutes ago", "yesterday".
func Age(d time.Duration) string {
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

// Took writes how long something took: "11 ms", from ten seconds on "12s", "1m20s".
func Took(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return d.Round(time.Second).String()
}

// FirstFew lists names, but not more than five: "a, b", "a, b, c, d, e, …".
func FirstFew(names []string) string {
	const few = 5
	if len(names) > few {
		return strings.Join(names[:few], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
