package embedded

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.uber.org/zap"

	"refship/deploy/etcd"
)

// What etcd logs before it would end the process, or panic, ends its goroutine, and is told.
func TestFatalAndPanic(t *testing.T) {
	for name, end := range map[string]func(*zap.Logger, error){
		"fatal": func(log *zap.Logger, err error) { log.Fatal("no more", zap.Error(err)) },
		"panic": func(log *zap.Logger, err error) { log.Panic("no more", zap.Error(err)) },
		"sugar": func(log *zap.Logger, err error) { log.Sugar().Panicf("no more: %v", err) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, fail := context.WithCancelCause(t.Context())
			hook := fatalHook{fail, new(atomic.Pointer[etcdserver.EtcdServer])}
			log := etcd.NewZap(nil, func() slog.Level { return slog.LevelError }, hook)
			ended := make(chan any)
			go func() {
				defer func() { ended <- recover() }()
				end(log, errors.New("disk on fire"))
			}()
			if p := <-ended; p != nil {
				t.Errorf("panic: %v", p)
			}
			if err := context.Cause(ctx); err == nil || err.Error() != "no more: disk on fire" {
				t.Errorf("told: %v", err)
			}
		})
	}
}

// A request ends with its context, or with etcd, and not when what it waits for comes.
func TestCall(t *testing.T) {
	failed, fail := context.WithCancelCause(context.Background())
	c := &calls{failed: failed, fail: fail}
	goOn := make(chan struct{})
	hang := func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
		<-goOn
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := call(c, ctx, nil, hang); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with its context: %v", err)
	}
	boom := func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) { panic("boom") }
	if _, err := call(c, t.Context(), nil, boom); !errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("of a panic: %v", err)
	}
	if err := context.Cause(failed); err == nil || err.Error() != "panic: boom" {
		t.Errorf("told: %v", err)
	}
	if _, err := call(c, t.Context(), nil, hang); !errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("after a failure: %v", err)
	}
	close(goOn)
	c.close()
	if _, err := call(c, t.Context(), nil, hang); err == nil || errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("after close: %v", err)
	}
}
