package keys

import (
	"fmt"

	"refship/deploy/fault"
)

// withRemedy makes an error of format and args that says what to do about it.
func withRemedy(remedy, format string, args ...any) error {
	err := fault.Newf(fault.Failed, format, args...)
	err.Remedy = remedy
	return err
}

// LineError is one line of authorized_keys that is not usable; the others go on working.
type LineError struct {
	Path string // of the file
	Line int    // 1-based
	Err  error  // why; it may have a remedy
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }
