package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
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

// Free writes what is free on a disk, and how much of that is for others: "2 GiB are free", "2 GiB are free, 1 GiB of
// them for other pushes".
func Free(free, others int64) string {
	if others == 0 {
		return Size(free) + " are free"
	}
	return Size(free) + " are free, " + Size(others) + " of them for other pushes"
}

// ParseSize reads a number of bytes from 1, with or without a unit: KiB, MiB, GiB, or KB, MB, GB of powers of ten.
func ParseSize(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size above 0, such as 100MiB, 1GiB or 1048576", s)
	}
	return int64(n), nil
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

// Age writes how long ago something was: "just now", "12 minutes ago", "yesterday"; of a later time "in 3 years".
func Age(d time.Duration) string {
	d = max(d, -math.MaxInt64) // so that -d is not negative
	days := int(d.Hours() / 24)
	switch {
	case d <= -24*time.Hour && d > -48*time.Hour:
		return "in 1 day"
	case d <= -time.Minute:
		return "in " + strings.TrimSuffix(Age(-d), " ago")
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

// More stands for so many lines that are not shown: "… and 3 more".
func More(n int) string { return fmt.Sprintf("… and %d more", n) }

// First lists names, but not more than so many: "a, b", "a, b, c and 3 more".
func First(most int, names []string) string {
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// FirstFew is First of five.
func FirstFew(names []string) string { return First(5, names) }
