package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.uber.org/zap/zapcore"
)

// fatalHook takes the error that etcd logs at the levels fatal and panic, because it cannot go on: mostly after a
// failed write. It ends the goroutine that logged it, so etcd acknowledges nothing more, and the program can end in
// order. Other goroutines may wait for that one for good. Once etcd has started, the goroutine ends when etcd stops:
// its applier would be handed work before that, and a send to one that has ended panics.
type fatalHook struct {
	fail   context.CancelCauseFunc
	server *atomic.Pointer[etcdserver.EtcdServer] // holds nil while etcd starts
}

// OnWrite implements zapcore.CheckWriteHook.
func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(entry.Message)
	for _, field := range fields {
		if cause, ok := field.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", entry.Message, cause)
		}
	}
	h.fail(err) // the first one counts
	if server := h.server.Load(); server != nil {
		<-server.StoppingNotify()
	}
	runtime.Goexit()
}
