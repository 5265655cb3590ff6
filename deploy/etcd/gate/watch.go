package gate

import (
	"context"
	"errors"
	"io"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"refship/deploy/etcd"
)

// watch forwards a stream of watches in both directions.
func (s *session) watch(ctx context.Context, down grpc.ServerStream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	up, err := s.conn.NewStream(ctx, &pb.Watch_ServiceDesc.Streams[0], pb.Watch_Watch_FullMethodName,
		s.callOptions(maxAnswer)...)
	if err != nil {
		return err
	}
	w := &watches{session: s, live: map[int64]bool{}}
	defer w.end()
	go func() { // it ends when down does, which is when this function returns
		if err := w.requests(ctx, down, up); err != nil {
			cancel(err)
		}
	}()
	return relay(ctx, up, func(response *pb.WatchResponse) error {
		w.count(response)
		return w.send(down, response)
	})
}

// relay hands on what etcd says on a stream until it ends, or ctx does, whose cause it gives then.
func relay[M any](ctx context.Context, up grpc.ClientStream, hand func(*M) error) error {
	for {
		response := new(M)
		if err := up.RecvMsg(response); err != nil {
			switch cause := context.Cause(ctx); {
			case cause != nil:
				return cause
			case errors.Is(err, io.EOF):
				return nil
			}
			return err
		}
		if err := hand(response); err != nil {
			return err
		}
	}
}

// watches are those of one stream.
type watches struct {
	session *session
	live    map[int64]bool // those that etcd has made; for the goroutine that reads from etcd
	sending sync.Mutex

	held  int // with those that etcd is asked for; guarded by session.mu, as is the next
	ended bool
}

// requests forwards what the client asks for.
func (w *watches) requests(ctx context.Context, down grpc.ServerStream, up grpc.ClientStream) error {
	for {
		request := new(pb.WatchRequest)
		if err := down.RecvMsg(request); err != nil {
			if errors.Is(err, io.EOF) {
				return up.CloseSend()
			}
			return err
		}
		err := w.session.rules.check(request, w.session.checkPut)
		if err == nil && request.GetCreateRequest() != nil {
			err = w.take()
		}
		if err == nil {
			err = w.session.pace.wait(ctx)
		}
		isPast := false
		if create := request.GetCreateRequest(); err == nil && create.GetStartRevision() > 0 {
			isPast, err = w.answerPast(ctx, down, create)
		}
		if err == nil && !isPast {
			err = up.SendMsg(request)
		}
		if err != nil && !errors.Is(err, io.EOF) { // the other goroutine learns why etcd has ended the stream
			return err
		}
	}
}

// answerPast answers a watch that begins too far back as etcd answers one where revisions were compacted, and tells
// whether it is one. etcd would read all that was written since, in every namespace, and let no write go on meanwhile.
func (w *watches) answerPast(ctx context.Context, down grpc.ServerStream, create *pb.WatchCreateRequest) (bool, error) {
	s := w.session
	count := &pb.RangeRequest{Key: []byte(s.rules.spaces[0]), CountOnly: true} // its header has the last revision
	reply := new(pb.RangeResponse)
	err := etcd.Repeat(ctx, s.client, func(ctx context.Context) error {
		return s.conn.Invoke(ctx, pb.KV_Range_FullMethodName, count, reply, s.callOptions(countAnswer)...)
	})
	if err != nil || create.StartRevision >= reply.Header.GetRevision()-maxBehind {
		return false, err
	}
	w.give(1)
	return true, w.send(down, &pb.WatchResponse{
		Header: reply.Header, WatchId: clientv3.InvalidWatchID, Created: true, Canceled: true,
		CancelReason: rpctypes.ErrCompacted.Error(),
	})
}

// send sends to the client. Both goroutines do.
func (w *watches) send(down grpc.ServerStream, response *pb.WatchResponse) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	return down.SendMsg(response)
}

// take counts a watch that is asked for.
func (w *watches) take() error {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	if w.ended || w.session.watches == maxWatches {
		return refuse("there are %d watches already", w.session.watches)
	}
	w.held++
	w.session.watches++
	return nil
}

// count keeps account of the watches that etcd has made and ended.
func (w *watches) count(response *pb.WatchResponse) {
	id := response.WatchId
	switch {
	case response.Created && !response.Canceled:
		w.live[id] = true
	case response.Created: // it was not made
		w.give(1)
	case response.Canceled && w.live[id]:
		delete(w.live, id)
		w.give(1)
	}
}

// give takes watches off the account.
func (w *watches) give(n int) {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	w.held -= n
	w.session.watches -= n
}

// end gives back what the stream has.
func (w *watches) end() {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	w.session.watches -= w.held
	w.held, w.ended = 0, true
}
