package report

import (
	"context"
	"log/slog"
	"time"

	"refship/deploy/record"
	"refship/deploy/text"
)

// What one log line holds at most: bytes of a value and of an error, and values of a list.
const (
	MaxValue = 300
	MaxError = 2000
	MaxList  = 50
)

// Report is what became of one push, or of one deploy that was asked for.
type Report struct {
	Kind       record.Kind   // push, deploy or rollback
	Repository string        // name
	Result     string        // one of Results, as in the log line
	Deploys    int           // published
	Took       time.Duration // from its beginning to its end, without waiting for nodes
	LockWait   time.Duration // of Took, waiting for chain locks
	Stored     int64         // bytes that were put into etcd
}

// The results of pushes and deploys, as log lines and reports name them.
const (
	Nothing    = "nothing"      // the push updated no ref
	DryRun     = "dry-run"      // refused, as asked for
	Refused    = "refused"      // no ref moved
	Undeployed = "not deployed" // a ref moved, or is where it was, and a deploy of it was not published
	Deployed   = "deployed"     // at least one deploy was published
	Already    = "already deployed"
	Unchanged  = "unchanged" // nothing below a target's path
	Skipped    = "skipped"   // stored and, as asked for, not deployed
	Stored     = "stored"    // no target's ref
	NotMoved   = "not moved" // git itself refused every ref after the hook, or was killed
)

// Results are all of them.
func Results() []string {
	return []string{
		Deployed, Already, Unchanged, Skipped, Stored, Refused, DryRun, Undeployed, NotMoved, Nothing,
	}
}

// Line is the one line that the log has of a push or deploy.
type Line struct {
	Report
	Who       record.Pusher
	Published []string // "/refship/config 7"
	Err       error
	About     []slog.Attr // what was asked for
	More      []slog.Attr // what came of it
}

// Write writes the line.
func (x *Line) Write(ctx context.Context, log *slog.Logger) {
	attrs := append([]slog.Attr{
		slog.String("repository", x.Repository), slog.String("user", x.Who.Name), slog.String("key", x.Who.Key),
	}, x.About...)
	attrs = append(attrs, slog.String("result", x.Result), List("deploys", x.Published))
	attrs = append(append(attrs, x.More...), slog.Int64("stored_bytes", x.Stored),
		slog.Int64("lock_wait_ms", x.LockWait.Milliseconds()), slog.Int64("ms", x.Took.Milliseconds()))
	if x.Err != nil {
		attrs = append(attrs, Error(x.Err))
	}
	log.LogAttrs(ctx, slog.LevelInfo, string(x.Kind), attrs...)
}

// Value is a value that a user has sent.
func Value(key, value string) slog.Attr { return slog.String(key, text.Shorten(value, MaxValue)) }

// Error is an error, under the key "error".
func Error(err error) slog.Attr { return slog.String("error", text.Shorten(err.Error(), MaxError)) }

// List is a list of values, the first of them and how many more there are. An empty list is one in JSON, too.
func List(key string, values []string) slog.Attr {
	kept := []string{}
	for _, value := range values[:min(len(values), MaxList)] {
		kept = append(kept, text.Shorten(value, MaxValue))
	}
	if more := len(values) - MaxList; more > 0 {
		kept = append(kept, text.More(more))
	}
	return slog.Any(key, kept)
}
