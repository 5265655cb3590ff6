package keys

import "fmt"

// hinted is an error that knows the remedy.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Hint says what to do about it.
func (e *hinted) Hint() string { return e.hint }

// withHint makes an error of format and args that carries a remedy.
func withHint(hint, format string, args ...any) error {
	return &hinted{err: fmt.Errorf(format, args...), hint: hint}
}

// LineError is one line of authorized_keys that is not usable; the others go on working.
type LineError struct {
	Path string // of the file
	Line int    // 1-based
	Err  error  // why; it may carry a Hint() string
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }
