package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// RequestTimeout bounds one request with all of its tries. How long is waited for what:
//
//	what happens                                           given up after
//	no endpoint can be connected to                        3 s: a restart of etcd
//	nobody answers on connections that stand               5 s: firstTry + askTimeout
//	members answer, and have no leader or are overloaded   10 s: an election takes one to three seconds
//	etcd is well, and slow                                 30 s
//
// The first try is cut off early, since the member that it went to may have died or stand still, and the next one goes
// to another; earlier where there are several endpoints. Each further try may take twice as long as the one before, so
// that a slow etcd is not asked for the same too often.
const (
	RequestTimeout = 30 * time.Second

	downTime         = 3 * time.Second
	electionTime     = 10 * time.Second
	firstTry         = 3 * time.Second
	firstTryOfOthers = 1 * time.Second
	askTimeout       = 2 * time.Second
	firstPause       = 100 * time.Millisecond
	maxPause         = time.Second
)

// patience sends requests again that can stand it.
type patience struct{ client *clientv3.Client }

// triesKey is where CountTries keeps its counter.
type triesKey struct{}

// CountTries gives a context under which tries counts how often a Get or Txn of Bounded was sent: what was sent more
// than once may be applied once more later, after its answer. A counter is for one request.
func CountTries(ctx context.Context, tries *int) context.Context {
	return context.WithValue(ctx, triesKey{}, tries)
}

// try calls send until it succeeds, fails for good, or time is up. What may have been applied is sent again, too.
func (p patience) try(ctx context.Context, send func(context.Context) error) error {
	start, limit, pause := time.Now(), firstTry, firstPause
	tries, ok := ctx.Value(triesKey{}).(*int)
	if !ok {
		tries = new(int)
	}
	if len(p.client.Endpoints()) > 1 {
		limit = firstTryOfOthers
	}
	all, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	for {
		*tries++
		sent := time.Now()
		one, cancelOne := context.WithTimeout(all, limit)
		err := send(one)
		late := one.Err() != nil || isLate(err) && time.Since(sent) > limit-limit/10
		cancelOne()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case late:
			if limit, err = p.noAnswer(all, start, 2*limit); err != nil {
				return err
			}
			continue
		case !isTransient(err):
			return err
		}
		wait := electionTime
		if isDown(err) {
			wait = downTime
		}
		if time.Since(start)+pause > wait || !sleep(all, pause) {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// noAnswer says how long the next try of a request may take, at most, that has had no answer since start, or gives the
// error that ends it.
func (p patience) noAnswer(ctx context.Context, start time.Time, most time.Duration) (time.Duration, error) {
	if ctx.Err() == nil {
		switch p.ask(ctx) {
		case alive:
			return most, nil
		case leaderless:
			if left := electionTime - time.Since(start); left > 0 {
				return min(most, max(left, askTimeout)), nil
			}
			return 0, rpctypes.ErrNoLeader
		}
	}
	return 0, &silenceError{waited: time.Since(start).Round(time.Second), slow: ctx.Err() != nil}
}

// silenceError says that a request had no answer in time.
type silenceError struct {
	waited time.Duration
	slow   bool // etcd answers otherwise
}

func (e *silenceError) Error() string { return fmt.Sprintf("no answer within %s", e.waited) }
func (*silenceError) Unwrap() error   { return context.DeadlineExceeded }

// health is how the members say they are.
type health int

const (
	silent     health = iota // none says anything
	leaderless               // none of those that answer knows a leader
	alive
)

// maxAsked is how many members are asked at once: more than half of a cluster of five.
const maxAsked = 3

// ask asks several members for their status, which needs neither their disk nor their leader, and gives the best answer.
func (p patience) ask(ctx context.Context) health {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan health)
	asked := max(1, min(maxAsked, len(p.client.Endpoints())))
	for range asked { // the balancer gives them to one member after the other
		go func() {
			said := silent
			if own, err := readStatus(ctx, p.client); err == nil {
				said = leaderless
				if own.Leader != 0 {
					said = alive
				}
			}
			answers <- said
		}()
	}
	best := silent
	for range asked {
		if best = max(best, <-answers); best == alive {
			cancel() // the others' answers do not count any more
		}
	}
	return best
}

// readStatus asks the member whose turn it is; an in-process client its own etcd.
func readStatus(ctx context.Context, client *clientv3.Client) (*clientv3.StatusResponse, error) {
	conn := client.ActiveConnection()
	if conn == nil {
		return client.Status(ctx, "")
	}
	resp, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	return (*clientv3.StatusResponse)(resp), err
}

// isTransient tells whether the same request may succeed in a moment.
func isTransient(err error) bool {
	named := asEtcd(err)
	if errors.Is(named, rpctypes.ErrTooManyRequests) || errors.Is(named, rpctypes.ErrAuthOldRevision) || isLate(err) {
		return true
	}
	return codeOf(named) == codes.Unavailable && !isTLS(named)
}

// isLate tells whether etcd says that time is up: it is told how long a request may take, and may notice before we do;
// 3.4 says so in words only.
func isLate(err error) bool {
	var grpcErr interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &grpcErr) {
		return false
	}
	s := grpcErr.GRPCStatus()
	return s.Code() == codes.DeadlineExceeded || s.Code() == codes.Unknown && s.Message() == context.DeadlineExceeded.Error()
}

// isDown tells whether no endpoint could be connected to; gRPC says so in words only.
func isDown(err error) bool {
	return strings.Contains(err.Error(), "connection error: desc = ")
}

// sleep waits and tells whether ctx is still open then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
