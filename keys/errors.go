package keys

import (
	"errors"
	"fmt"

	"refship/deploy/fault"
)

// withRemedy makes an error of format and args that says what to do about it.
func withRemedy(remedy, format string, args ...any) error {
	err := fault.Newf(fault.Failed, format, args...)
	err.Remedy = remedy
	return err
}

// ErrLine is wrapped by errors about one line of authorized_keys or of allowed signers that is not usable; the others
// go on working.
var ErrLine = errors.New("line is not usable")

// lineError says why a line is not usable; line counts from 1.
func lineError(path string, line int, why error) error {
	return &fault.Error{What: fmt.Sprintf("%s:%d: %v", path, line, why), Cause: errors.Join(why, ErrLine)}
}
