package etcd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How the endpoints are looked at.
const (
	lookTime     = 1 * time.Second        // a member that says nothing for so long counts as silent
	lookGrace    = 300 * time.Millisecond // once a voter has answered, for the others
	lookPause    = 1 * time.Second        // between two looks for calls without an answer
	lookAgain    = 5 * time.Second        // for those that are left out
	learnerTries = 3                      // of one call that learners refuse
)

// members keeps a client's calls away from members that cannot serve them. etcd's client takes one endpoint after the
// other, and a learner refuses all that matters here; a member that stands still keeps its connections, and so would
// get its share of the calls until their keepalive ends them, some 13 s later.
//
// When a call meets such a member, all endpoints are asked. Learners are left out, and silent members if another one
// answers. Later calls wait for that. Those that are left out are asked again when a connection fails, and with a call
// now and then: learners are promoted, and silent members come back.
type members struct {
	conf clientv3.Config // to ask one endpoint: with no user, and without the interceptors below
	all  []string
	log  *slog.Logger

	mu      sync.Mutex
	clients []*Client
	used    []string      // of all
	asking  bool          // a look is under way
	wait    chan struct{} // if calls wait for it: closed when it ends
	looked  time.Time     // when the last one ended
}

func newMembers(conf clientv3.Config, log *slog.Logger) *members {
	conf.Username, conf.Password = "", ""
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &members{conf: conf, all: conf.Endpoints, used: conf.Endpoints, log: log}
}

// options make a client's calls heed the members. There is nothing to choose with one endpoint.
func (m *members) options() []grpc.DialOption {
	if len(m.all) == 1 {
		return nil
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}
}

// add is for a client that has these options, before its first call.
func (m *members) add(client *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients = append(m.clients, client)
	if len(m.used) < len(m.all) {
		client.SetEndpoints(m.used...)
	}
}

// unary sends a call that a learner has refused again: nothing was done.
func (m *members) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	for try := 1; ; try++ {
		m.before(ctx)
		err := invoke(ctx, method, req, reply, conn, opts...)
		m.after(err)
		if try == learnerTries || !isLearner(err) {
			return err
		}
	}
}

// stream tells etcd's client, which opens watches and keepalives again by itself, that it may do so after a learner has
// refused one: from 3.5 on etcd gives that a code that ends a watch for good.
func (m *members) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	m.before(ctx)
	stream, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		m.after(err)
		return nil, err
	}
	return memberStream{stream, m}, nil
}

type memberStream struct {
	grpc.ClientStream
	members *members
}

// RecvMsg implements grpc.ClientStream.
func (s memberStream) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	s.members.after(err)
	if isLearner(err) {
		return status.Error(codes.Unavailable, err.Error())
	}
	return err
}

// isLearner tells whether a learner has refused a call. The code differs between etcd's versions.
func isLearner(err error) bool {
	return err != nil && asEtcd(err).Error() == rpctypes.ErrorDesc(rpctypes.ErrGRPCNotSupportedForLearner)
}

// before waits for the look that an earlier call has found needful.
func (m *members) before(ctx context.Context) {
	m.mu.Lock()
	if len(m.used) < len(m.all) && time.Since(m.looked) > lookAgain {
		m.look()
	}
	wait := m.wait
	m.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done(): // the call says so
		}
	}
}

// after looks at the members if a call's error may come from the choice among them.
func (m *members) after(err error) {
	if err == nil {
		return
	}
	code := status.Code(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case isLearner(err):
	case time.Since(m.looked) < lookPause:
		return
	case code == codes.DeadlineExceeded:
	case code == codes.Unavailable && len(m.used) < len(m.all):
	default:
		return
	}
	if m.wait == nil {
		m.wait = make(chan struct{})
	}
	m.look()
}

// look asks the members, beside what else happens. The caller has the mutex.
func (m *members) look() {
	if m.asking || len(m.clients) == 0 {
		return
	}
	m.asking = true
	alive := m.clients[0].Ctx()
	go func() {
		ctx, cancel := context.WithTimeout(alive, lookTime)
		defer cancel()
		used := m.choose(m.ask(ctx))
		m.mu.Lock()
		defer m.mu.Unlock()
		if alive.Err() == nil && !slices.Equal(used, m.used) {
			m.log.Debug("etcd's endpoints in use have changed", "endpoints", used)
			m.used = used
			for _, client := range m.clients {
				client.SetEndpoints(used...)
			}
		}
		m.asking, m.looked = false, time.Now()
		if m.wait != nil {
			close(m.wait)
			m.wait = nil
		}
	}()
}

// standing is how a member has answered.
type standing int

const (
	silent standing = iota
	gone            // no connection: gRPC takes none of the calls there
	learner
	voter
)

// ask finds out how each endpoint stands.
func (m *members) ask(ctx context.Context) []standing {
	type answer struct {
		of int
		is standing
	}
	answers := make(chan answer, len(m.all))
	for i, endpoint := range m.all {
		go func() { answers <- answer{i, m.askOne(ctx, endpoint)} }()
	}
	found := make([]standing, len(m.all))
	var grace <-chan time.Time
	for range m.all {
		select {
		case a := <-answers:
			found[a.of] = a.is
			if a.is == voter && grace == nil {
				grace = time.After(lookGrace)
			}
		case <-grace:
			return found
		}
	}
	return found
}

// askOne asks over a connection of its own, for something that a voter gives without its cluster.
func (m *members) askOne(ctx context.Context, endpoint string) standing {
	conf := m.conf
	conf.Endpoints, conf.Context = []string{endpoint}, ctx
	client, err := clientv3.New(conf)
	if err != nil {
		return gone
	}
	defer client.Close()
	_, err = pb.NewClusterClient(client.ActiveConnection()).MemberList(ctx, &pb.MemberListRequest{})
	switch {
	case isLearner(err):
		return learner
	case err != nil && ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return silent
	case status.Code(err) == codes.Unavailable:
		return gone
	}
	return voter // whatever it thinks of a call without a user
}

// choose gives the endpoints to use: those of voters, and those that are gone, to which gRPC connects again. If no
// voter answers it leaves out learners alone, and nothing if there is nothing else.
func (m *members) choose(found []standing) []string {
	anyVoter := slices.Contains(found, voter)
	var used []string
	for i, endpoint := range m.all {
		if found[i] == voter || found[i] == gone || found[i] == silent && !anyVoter {
			used = append(used, endpoint)
		}
	}
	if len(used) == 0 {
		return m.all
	}
	return used
}
