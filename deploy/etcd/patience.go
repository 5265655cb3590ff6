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

	"refship/deploy/fault"
)

// How long a request is tried. The package's documentation tells what for.
const (
	requestTimeout    = 30 * time.Second // with all of its tries
	downTime          = 3 * time.Second  // without a connection
	electionTime      = 10 * time.Second // without a leader, or overloaded
	firstTries        = 3 * time.Second  // one try, or two of several endpoints
	firstTryOfSeveral = 1 * time.Second
	askTimeout        = 2 * time.Second        // for members that are asked whether they are there
	firstPause        = 100 * time.Millisecond // between two tries
	maxPause          = time.Second
	standstill        = time.Second // a try that ends so long after its limit was ended by a clock that jumped
)

// patience sends requests again while that may help.
type patience struct{ client *Client }

// triesKey is where CountTries keeps its counter.
type triesKey struct{}

// CountTries gives a context that counts in tries how often a Get or Txn of Bounded was sent. A request that was sent
// more than once may be applied once more after its answer. A counter is for one request.
func CountTries(ctx context.Context, tries *int) context.Context {
	return context.WithValue(ctx, triesKey{}, tries)
}

// try calls send until it succeeds, fails for good, or time is up. It sends again what may have been applied, too.
func (p patience) try(ctx context.Context, send func(context.Context) error) error {
	start, limit, pause := time.Now(), firstTries, firstPause
	stood := false
	waited := time.Duration(0) // for an etcd that comes back; a machine may have stood still itself, which is no waiting
	tries, ok := ctx.Value(triesKey{}).(*int)
	if !ok {
		tries = new(int)
	}
	whole := requestTimeout
	switch {
	case isStream(p.client): // there is no other member to send it to
		limit, whole = streamTimeout, streamTimeout
	case len(p.client.Endpoints()) > 1:
		limit = firstTryOfSeveral
	}
	all, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	for {
		*tries++
		sent := time.Now()
		one, cancelOne := context.WithTimeout(clientv3.WithRequireLeader(all), limit)
		err := send(one)
		took := time.Since(sent)
		late := one.Err() != nil || isLate(err) && took > limit-limit/10
		cancelOne()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case late:
			if all.Err() == nil && took > limit+standstill && !stood {
				stood = true
				continue // this machine stood still, which counts once: it was no try
			}
			if all.Err() != nil || time.Since(start) >= firstTries && !p.answers(all) {
				return noAnswer(time.Since(start), all.Err() != nil)
			}
			waited += took
			limit *= 2
			continue
		case !isTransient(err):
			return err
		}
		wait := electionTime
		if isDown(err) {
			wait = downTime
		}
		if waited += min(took, maxPause) + pause; waited > wait || !sleep(all, pause) {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// noAnswer is the error of a request without an answer. slow: etcd answers other requests.
func noAnswer(waited time.Duration, slow bool) error {
	a := unknownTrouble
	if slow {
		a = advice{remedy: "etcd is there and too slow: look at its disk and its load (etcdctl check perf)"}
	}
	return classified(ErrUnreachable, &fault.Error{
		What:  fmt.Sprintf("no answer within %s", waited.Round(time.Second)),
		Cause: context.DeadlineExceeded,
	}, a)
}

// maxAsked is how many members are asked at once: more than half of a cluster of five.
const maxAsked = 3

// answers tells whether one of several members tells its status, which needs neither its disk nor a leader.
func (p patience) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	asked := max(1, min(maxAsked, len(p.client.Endpoints())))
	failures := make(chan error, asked)
	for range asked { // the client takes one member after the other
		go func() {
			_, err := readStatus(ctx, p.client)
			failures <- err
		}()
	}
	for range asked {
		if <-failures == nil {
			return true
		}
	}
	return false
}

// readStatus asks the member whose turn it is. An in-process client asks its own etcd.
func readStatus(ctx context.Context, client *Client) (*clientv3.StatusResponse, error) {
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
	return codeOf(named) == codes.Unavailable && !isTLS(named) && !isLearner(err)
}

// isLate tells whether etcd says that time is up. It knows how long a request may take, and may notice before the
// client. 3.4 says so in words only.
func isLate(err error) bool {
	var grpcErr interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &grpcErr) {
		return false
	}
	s := grpcErr.GRPCStatus()
	return s.Code() == codes.DeadlineExceeded ||
		s.Code() == codes.Unknown && s.Message() == context.DeadlineExceeded.Error()
}

// isDown tells whether the client could connect to no endpoint. gRPC says so in words only.
func isDown(err error) bool {
	return strings.Contains(err.Error(), "connection error: desc = ")
}

// sleep waits, and tells whether ctx is still open then.
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
