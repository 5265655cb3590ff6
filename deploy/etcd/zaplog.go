package etcd

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapCore passes etcd's log records on to slog, warnings and errors only: etcd logs several hundred lines at info
// level for one start and stop.
type zapCore struct {
	log *slog.Logger
	max func() slog.Level // records above it are lowered to it
}

// NewZap makes a logger for etcd, client or server, that writes to log (nil: nowhere), at most at level max(). At
// fatal level zap would exit the process, at panic level it would panic: onFatal does something else, and must not
// return. A client logs nothing at those levels.
func NewZap(log *slog.Logger, max func() slog.Level, onFatal zapcore.CheckWriteHook) *zap.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var options []zap.Option
	if onFatal != nil {
		options = append(options, zap.WithFatalHook(onFatal), zap.WithPanicHook(onFatal))
	}
	return zap.New(zapCore{log: log, max: max}, options...)
}

// Enabled implements zapcore.Core.
func (c zapCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{log: slog.New(c.log.Handler().WithAttrs(attrs(fields))), max: c.max}
}

// Check implements zapcore.Core.
func (c zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

// Write implements zapcore.Core.
func (c zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if isNoise(entry, fields) {
		return nil
	}
	level := slog.LevelWarn
	if entry.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	c.log.LogAttrs(context.Background(), min(level, c.max()), "etcd: "+entry.Message, attrs(fields)...)
	return nil
}

// Sync implements zapcore.Core.
func (c zapCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	encoder := zapcore.NewMapObjectEncoder()
	list := make([]slog.Attr, 0, len(fields))
	for _, field := range fields {
		if field.Type == zapcore.ErrorType {
			list = append(list, slog.Any(field.Key, field.Interface))
			continue
		}
		field.AddTo(encoder)
		if value, ok := encoder.Fields[field.Key]; ok {
			list = append(list, slog.Any(field.Key, value))
		}
	}
	return list
}

// noise are words of records that are dropped: etcd finds some of refship's settings unusual, and some errors reach the
// caller anyway.
var noise = [...]string{
	"Running http and grpc server on single port",
	"simple token is not cryptographically signed",
	"scheme is http or unix while", // the socket has no TLS, and a port beside it may have
	"failed to apply request",
	"still pending configuration changes to apply", // the first election came a tick too early
}

func isNoise(entry zapcore.Entry, fields []zapcore.Field) bool {
	for _, words := range noise {
		if strings.Contains(entry.Message, words) {
			return true
		}
	}
	for _, field := range fields {
		// A new etcd complains that its storage version is missing until its first snapshot.
		if err, ok := field.Interface.(error); ok && strings.Contains(err.Error(), "missing term information") {
			return true
		}
	}
	return false
}
