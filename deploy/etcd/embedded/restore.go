package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap/zapcore"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// raisedBy is how much higher the revisions of a restored etcd are than those of its snapshot: more than the etcd that
// it was taken from can have made since. It is the number of etcd's own manual (op-guide/recovery).
const raisedBy = 1_000_000_000

// Restore makes the files of an etcd for [Start] out of a snapshot, a file. dir, its Config.Dir, must not exist or be
// empty. Revisions go on far above the snapshot's, and all that is older counts as compacted: a client that watches
// from a revision of the lost etcd gets an error and reads again; otherwise it would wait for that revision. It writes
// with fsync. A snapshot that is damaged is fault.Corrupt.
func Restore(dir, snapshotFile string, log *slog.Logger) (err error) {
	damaged := func(err error) error {
		return &fault.Error{Kind: fault.Corrupt, What: "restore etcd: its snapshot is damaged: " + err.Error(),
			Remedy: "take another backup", Cause: err}
	}
	if _, err := readDB(snapshotFile); err != nil { // it would panic
		return damaged(err)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(fmt.Errorf("panic: %v", p))
		}
	}()
	warn := func() slog.Level { return slog.LevelWarn }
	err = snapshot.NewV3(etcd.NewZap(log, warn, panicHook{})).Restore(snapshot.RestoreConfig{
		SnapshotPath:        snapshotFile,
		Name:                memberName,
		OutputDataDir:       dir,
		PeerURLs:            []string{peerURL.String()},
		InitialCluster:      memberName + "=" + peerURL.String(),
		InitialClusterToken: embed.NewConfig().InitialClusterToken,
		RevisionBump:        raisedBy,
		MarkCompacted:       true,
	})
	switch {
	case disk.CannotStore(err):
		return fmt.Errorf("restore etcd: %w", err)
	case err != nil: // of the snapshot's own sha256, mostly
		return damaged(err)
	}
	return nil
}

// panicHook makes a panic of what etcd logs at the levels fatal and panic.
type panicHook struct{}

// OnWrite implements zapcore.CheckWriteHook.
func (panicHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	for _, field := range fields {
		if cause, ok := field.Interface.(error); ok {
			panic(fmt.Errorf("%s: %w", entry.Message, cause))
		}
	}
	panic(errors.New(entry.Message))
}
