package text

import (
	"strconv"
	"strings"
)

// Progress is told as it happens. A total of 0 is not known.
type Progress struct {
	Step              string // "reading" or "storing"
	Files, FilesTotal int    // contents
	Bytes, BytesTotal int64
}

// String puts it into words: "reading 412 of 812 files", "storing 3.1 MiB of 20 MiB", "checking …".
func (p Progress) String() string {
	var parts []string
	switch {
	case p.FilesTotal > 0:
		parts = append(parts, strconv.Itoa(p.Files)+" of "+Count(p.FilesTotal, "file"))
	case p.Files > 0:
		parts = append(parts, Count(p.Files, "file"))
	}
	switch {
	case p.BytesTotal > 0:
		parts = append(parts, Size(p.Bytes)+" of "+Size(p.BytesTotal))
	case p.Bytes > 0:
		parts = append(parts, Size(p.Bytes))
	}
	if len(parts) == 0 {
		return p.Step + " …"
	}
	return p.Step + " " + strings.Join(parts, ", ")
}
