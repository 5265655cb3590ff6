package embedded

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	_ "unsafe" // for go:linkname

	"refship/deploy/etcd"
)

// Room that etcd needs for a while, in bytes.
const (
	// roomToWrite must be free before etcd counts as one that takes writes again: gc's locks and marks, and what the
	// deletion of keys costs until they are compacted.
	roomToWrite = 8 << 20
	// MoreRoom is what an etcd may be started with beyond its quota, so that gc can write.
	MoreRoom = 64 << 20
)

// defragLimit is how many keys etcd copies in one transaction when it defragments: 10,000. It has all of them in
// memory, three times: 1 GiB of values of 1 MiB took 2.9 GiB. It is no setting of etcd's.
//
//go:linkname defragLimit go.etcd.io/etcd/server/v3/storage/backend.defragLimit
var defragLimit int

// boundedDefragLimit takes 0.4 GiB for values of 1 MiB.
const boundedDefragLimit = 128

// boundDefrag has each etcd of this process defragment in little memory.
var boundDefrag = sync.OnceFunc(func() { defragLimit = boundedDefragLimit })

// Reclaim is etcd.MakeRoom, if the alarm NOSPACE is on, and tells how much etcd holds then. Where this start has a
// larger quota than the one before, there is room without that, and the alarm alone is taken back. NoSpace is set where
// there is too little room for gc after that.
func (e *Etcd) Reclaim(ctx context.Context) (etcd.Space, error) {
	space, err := etcd.ReadSpace(ctx, e.client)
	if err != nil || !space.NoSpace {
		return space, err
	}
	if HasRoom(space) {
		err = etcd.Disarm(ctx, e.remote)
	} else {
		_, err = e.MakeRoom(ctx)
	}
	if err != nil {
		return space, err
	}
	space, err = etcd.ReadSpace(ctx, e.client)
	space.NoSpace = !HasRoom(space)
	return space, err
}

// HasRoom tells whether an embedded etcd has room for what gc writes.
func HasRoom(space etcd.Space) bool { return space.Quota-space.Used >= roomToWrite }

// MakeRoom is etcd.MakeRoom.
func (e *Etcd) MakeRoom(ctx context.Context) (etcd.Made, error) { return etcd.MakeRoom(ctx, e.remote) }

// BeforeDefrag has each defragmentation that begins from now on, of any client, call begin, and done at its end: etcd
// answers nothing meanwhile. An error of begin is the client's, and nothing is done. Its context is the client's.
func (e *Etcd) BeforeDefrag(begin func(context.Context) (done func(), err error)) {
	e.beforeDefrag.Store(&begin)
}

func (e *Etcd) guardDefrag(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	begin := e.beforeDefrag.Load()
	if _, ok := req.(*pb.DefragmentRequest); !ok || begin == nil {
		return handler(ctx, req)
	}
	done, err := (*begin)(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return handler(ctx, req)
}
