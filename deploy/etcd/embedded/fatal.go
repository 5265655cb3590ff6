package embedded

import (
	"errors"
	"fmt"
	"runtime"

	"go.uber.org/zap/zapcore"
)

// fatalHook takes the error that etcd logs at fatal level, because it cannot go on: mostly after a failed write. It
// ends the goroutine that logged it, so etcd acknowledges nothing more, and the program can end in order.
type fatalHook chan error

// OnWrite implements zapcore.CheckWriteHook.
func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(entry.Message)
	for _, field := range fields {
		if cause, ok := field.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", entry.Message, cause)
		}
	}
	select {
	case h <- err:
	default: // the first one counts
	}
	runtime.Goexit()
}
