package embedded

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// keepSnapshot keeps a snapshot that is read by a remote client from a defragmentation. That would wait for the
// snapshot's end, and every write would wait with it: for minutes, where a backup writes to a slow disk.
func (e *Etcd) keepSnapshot(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	if info.FullMethod == pb.Maintenance_Snapshot_FullMethodName {
		e.snapshots.RLock()
		defer e.snapshots.RUnlock()
	}
	return handler(srv, stream)
}

// refuseDefrag refuses a defragmentation while a snapshot is read.
func (e *Etcd) refuseDefrag(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	if _, ok := req.(*pb.DefragmentRequest); !ok {
		return handler(ctx, req)
	}
	if !e.snapshots.TryLock() {
		return nil, status.Error(codes.FailedPrecondition, "a backup reads a snapshot of etcd: try again when it has ended")
	}
	defer e.snapshots.Unlock()
	return handler(ctx, req)
}
