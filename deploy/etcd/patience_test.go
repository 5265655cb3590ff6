package etcd_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// sick is an etcd in trouble: every request takes some time, and ends with an error or without.
type sick struct {
	clientv3.KV
	clientv3.Maintenance
	takes   time.Duration // of a request; the caller goes before that if it has less patience
	fails   error         // nil: the request is done
	answers bool          // tells its status
	elects  bool          // has no leader
	tries   int
	hangs   int  // how many tries it takes to notice that it has no leader
	far     bool // it is reached over a stream
}

// leaderless refuses a request that requires a leader, as a member does that has none.
func (s *sick) leaderless(ctx context.Context) error {
	if md, _ := metadata.FromOutgoingContext(ctx); s.elects && len(md.Get(rpctypes.MetadataRequireLeaderKey)) > 0 {
		return rpctypes.ErrNoLeader
	}
	return nil
}

func (s *sick) Do(ctx context.Context, _ clientv3.Op) (clientv3.OpResponse, error) {
	s.tries++
	if err := s.leaderless(ctx); err != nil && s.tries > s.hangs {
		return clientv3.OpResponse{}, err
	}
	select {
	case <-time.After(s.takes):
		return clientv3.OpResponse{}, s.fails
	case <-ctx.Done():
		return clientv3.OpResponse{}, ctx.Err()
	}
}

func (s *sick) Status(ctx context.Context, _ string) (*clientv3.StatusResponse, error) {
	if s.answers {
		return &clientv3.StatusResponse{}, s.leaderless(ctx)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// How long a request is tried depends on what is wrong. The clock is synctest's.
func TestPatience(t *testing.T) {
	const forever = time.Hour
	down := status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: `+
		`dial tcp 127.0.0.1:1: connect: connection refused"`)
	for name, test := range map[string]struct {
		sick          sick
		from, to      time.Duration // the request fails after this long
		words, remedy string        // "" for words: it succeeds
	}{
		"down": {
			sick{fails: down},
			1 * time.Second, 3 * time.Second, "connection refused", "is etcd running",
		},
		"no answer": {
			sick{takes: forever},
			4 * time.Second, 6 * time.Second, "no answer within 5s", "endpoint health",
		},
		"no leader": {
			sick{fails: rpctypes.ErrNoLeader},
			8 * time.Second, 11 * time.Second, "no leader", "most of etcd's members",
		},
		"waits, electing": {
			sick{takes: forever, answers: true, elects: true},
			8 * time.Second, 11 * time.Second, "no leader", "most of etcd's members",
		},
		"leader is lost": {
			sick{takes: forever, answers: true, elects: true, hangs: 1},
			8 * time.Second, 11 * time.Second, "no leader", "most of etcd's members",
		},
		"overloaded": {
			sick{fails: rpctypes.ErrTooManyRequests},
			8 * time.Second, 11 * time.Second, "too many requests", "overloaded",
		},
		"stuck": {
			sick{takes: forever, answers: true},
			30 * time.Second, 30 * time.Second, "no answer within 30s", "too slow",
		},
		"slow line": {
			sick{takes: 9 * time.Minute, far: true}, 9 * time.Minute, 9 * time.Minute, "", "",
		},
		"stuck line": {
			sick{takes: forever, far: true}, 10 * time.Minute, 10 * time.Minute, "no answer within 10m0s", "too slow",
		},
		"slow":    {sick{takes: 10 * time.Second, answers: true}, 19 * time.Second, 19 * time.Second, "", ""},
		"refused": {sick{fails: rpctypes.ErrPermissionDenied}, 0, 0, "permission denied", "grant-permission"},
		"full":    {sick{fails: rpctypes.ErrNoSpace}, 0, 0, "space exceeded", "compact"},
		"other":   {sick{fails: errors.New("other")}, 0, 0, "other", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := clientv3.NewCtxClient(t.Context())
				if test.sick.far {
					client = unusedStream(t)
				}
				client.KV, client.Maintenance = &test.sick, &test.sick
				began := time.Now()
				_, err := etcd.Bounded(client).Get(t.Context(), "key")
				took := time.Since(began)
				if took < test.from || took > test.to {
					t.Errorf("took %s, want %s to %s", took, test.from, test.to)
				}
				if test.words != "" {
					fixture.WantError(t, etcd.Classify(err), nil, test.words, test.remedy)
				} else if err != nil {
					t.Error(err)
				}
				if (test.to == 0 || test.sick.far) && test.sick.tries != 1 {
					t.Errorf("%d tries", test.sick.tries)
				}
			})
		})
	}
}

// unusedStream is a client as DialStream makes it, without its stream.
func unusedStream(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.StreamEndpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
