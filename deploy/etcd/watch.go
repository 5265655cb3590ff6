package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// afterWatch is the pause before a watch that has ended begins anew.
const afterWatch = 2 * time.Second

// Span is a key, or all keys that begin with it.
type Span struct {
	Key   string
	Below bool
}

// Changes tells of changes of keys until stop is called, and each time that a watch has begun anew. Several changes may
// be told as one.
func Changes(ctx context.Context, client *Client, spans ...Span) (changed <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	tell := make(chan struct{}, 1)
	var watches sync.WaitGroup
	for _, s := range spans {
		watches.Go(func() {
			options := []clientv3.OpOption{clientv3.WithCreatedNotify()}
			if s.Below {
				options = append(options, clientv3.WithPrefix())
			}
			for ctx.Err() == nil {
				heard(clientv3.WithRequireLeader(ctx), client, s.Key, options, tell)
				sleep(ctx, afterWatch)
			}
		})
	}
	return tell, func() {
		cancel()
		watches.Wait()
	}
}

// heard tells of changes until one watch ends.
func heard(ctx context.Context, client *Client, key string, options []clientv3.OpOption, changed chan<- struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range client.Watch(ctx, key, options...) {
		if resp.Err() != nil {
			return
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}
