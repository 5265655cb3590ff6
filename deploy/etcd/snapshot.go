package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Snapshot is a copy of all that one member holds at one moment, as `etcdctl snapshot save` writes it: the database
// file, and behind that its sha256, 32 bytes.
type Snapshot struct {
	Size int64 // bytes in all

	cancel context.CancelFunc
	stream pb.Maintenance_SnapshotClient
	come   []byte // of the stream, not read yet
	left   int64  // bytes that were not read yet
	sum    hash.Hash
	trail  []byte // of what was read, the last 32 bytes: not in sum
}

// TakeSnapshot begins a snapshot, which is of this moment, however long it is read. A user must be root. ctx bounds all
// of it. The client must have a connection, which the embedded etcd's own has not. The caller closes the snapshot.
// Errors are classified.
func TakeSnapshot(ctx context.Context, client *Client) (*Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Snapshot{cancel: cancel, sum: sha256.New()}
	var first *pb.SnapshotResponse
	var err error
	// etcd's own client hides how much remains, and a tar wants to know a size before the content.
	maintenance := pb.NewMaintenanceClient(client.ActiveConnection())
	if s.stream, err = maintenance.Snapshot(ctx, &pb.SnapshotRequest{}); err == nil {
		first, err = s.stream.Recv()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("take etcd snapshot: %w", Classify(err))
	}
	s.come = first.GetBlob()
	s.Size = int64(len(s.come)) + int64(first.GetRemainingBytes()) + sha256.Size
	s.left = s.Size
	return s, nil
}

// Read gives the snapshot's bytes, and io.EOF after exactly Size of them that match their sha256; else an error.
func (s *Snapshot) Read(b []byte) (int, error) {
	for len(s.come) == 0 {
		next, err := s.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return 0, s.end()
		case err != nil:
			return 0, fmt.Errorf("read etcd snapshot: %w", Classify(err))
		}
		s.come = next.GetBlob()
	}
	n := copy(b, s.come)
	s.come = s.come[n:]
	if s.left -= int64(n); s.left < 0 {
		return 0, errors.New("read etcd snapshot: it is longer than etcd has said")
	}
	s.trail = append(s.trail, b[:n]...)
	if more := len(s.trail) - sha256.Size; more > 0 {
		s.sum.Write(s.trail[:more])
		s.trail = append(s.trail[:0], s.trail[more:]...)
	}
	return n, nil
}

func (s *Snapshot) end() error {
	switch {
	case s.left > 0:
		return fmt.Errorf("read etcd snapshot: %w: %d bytes are missing", io.ErrUnexpectedEOF, s.left)
	case !bytes.Equal(s.trail, s.sum.Sum(nil)):
		return errors.New("read etcd snapshot: its sha256 does not match")
	}
	return io.EOF
}

// Close ends a snapshot, read to its end or not.
func (s *Snapshot) Close() error {
	s.cancel()
	return nil
}
