package deploy

import (
	"context"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// WatchStory tells, until stop is called, when there may be a new deploy, or a hold or its end: see etcd.Watch.
func (c *Chain) WatchStory(ctx context.Context) (changed <-chan struct{}, stop func()) {
	return etcd.Changes(ctx, c.client, etcd.Span{Key: string(c.ns) + "/deploy/", Below: true},
		etcd.Span{Key: c.Key(record.EventPrefix), Below: true})
}

// WatchNodes tells, until stop is called, when a node may have said something new.
func (c *Chain) WatchNodes(ctx context.Context) (changed <-chan struct{}, stop func()) {
	return etcd.Changes(ctx, c.client, etcd.Span{Key: c.Key(record.NodeKeys), Below: true},
		etcd.Span{Key: c.Key(record.AliveKeys), Below: true},
		etcd.Span{Key: string(c.ns) + record.HostKeys, Below: true})
}
