package text

// Progress is told as it happens. A total of 0 is not known.
type Progress struct {
	Step              string // "reading" or "storing"
	Files, FilesTotal int    // contents
	Bytes, BytesTotal int64
}
