package embedded

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"refship/deploy/disk"
)

// logFound is what etcd's log holds, its WAL. The zero logFound: there is none.
type logFound struct {
	there    bool
	whole    bool   // its first file is the first that etcd has made: none was removed since
	last     uint64 // index of the newest entry
	commit   uint64 // index of the newest entry that etcd has said to be committed
	snapshot uint64 // index up to which the database has it all; 0: the log has it all, from the first entry on
	requests bool   // an entry is a client's request
	torn     bool   // the last record is not whole: it was never acknowledged, and etcd takes it out

	newest []byte // entry, not parsed yet
}

// readLog reads the log in dir, a record after the other, as etcd will: etcd's own wal.Verify does not tell what is in
// it, and gives its errors as panics, some of them.
func readLog(dir string) (found logFound, err error) {
	names, err := logNames(dir)
	if err != nil || len(names) == 0 {
		return logFound{}, err
	}
	found.there, found.whole = true, names[0] == firstLogFile
	var readers []fileutil.FileReader
	for _, name := range names {
		f, err := disk.Open(filepath.Join(dir, name), math.MaxInt64)
		if err != nil {
			return found, err
		}
		defer f.Close()
		readers = append(readers, fileutil.NewFileReader(f))
	}
	decoder, record, records := wal.NewDecoder(readers...), new(walpb.Record), 0
	for err = decoder.Decode(record); err == nil; err = decoder.Decode(record) {
		records++
		if err = found.take(decoder, record); err != nil {
			return found, fmt.Errorf("record %d: %w", records, err)
		}
	}
	if parse := found.parseNewest(); parse != nil {
		return found, parse
	}
	switch {
	case records == 0:
		return found, errors.New("there is no record in it")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		found.torn = !errors.Is(err, io.EOF)
		return found, nil
	}
	return found, fmt.Errorf("record %d: %w", records+1, err)
}

// firstLogFile is the name of the first file of a log: its number, and the index of its first entry.
const firstLogFile = "0000000000000000-0000000000000000.wal"

// logNames are the log's files, the oldest first. Beside them etcd keeps the next one ready, "0.tmp" or "1.tmp".
func logNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".wal" {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names) // they begin with a number of fixed length
	return names, err
}

func (l *logFound) take(decoder wal.Decoder, record *walpb.Record) error {
	switch record.GetType() {
	case wal.CrcType: // at the start of each file: the checksum of all before it
		sum := decoder.LastCRC()
		if sum != 0 {
			if err := record.Validate(sum); err != nil {
				return err
			}
		}
		decoder.UpdateCRC(record.GetCrc())
	case wal.EntryType:
		l.newest = record.Data
		if !l.requests { // parsing each of them takes as long as all the rest
			return l.parseNewest()
		}
	case wal.StateType:
		var state raftpb.HardState
		if err := proto.Unmarshal(record.Data, &state); err != nil {
			return err
		}
		l.commit = state.GetCommit()
	case wal.SnapshotType:
		var snapshot walpb.Snapshot
		if err := proto.Unmarshal(record.Data, &snapshot); err != nil {
			return err
		}
		l.snapshot = snapshot.GetIndex()
		l.last = max(l.last, l.snapshot)
	}
	return nil
}

func (l *logFound) parseNewest() error {
	if l.newest == nil {
		return nil
	}
	var entry raftpb.Entry
	if err := proto.Unmarshal(l.newest, &entry); err != nil {
		return fmt.Errorf("an entry: %w", err)
	}
	l.last = max(entry.GetIndex(), l.snapshot)
	l.requests = l.requests || isRequest(&entry)
	l.newest = nil
	return nil
}

// isRequest tells whether an entry of the log is a client's request, and not one that etcd makes for itself at its
// start: its members, their addresses, its version. What cannot be read counts as a request.
func isRequest(entry *raftpb.Entry) bool {
	if entry.GetType() != raftpb.EntryNormal || len(entry.GetData()) == 0 {
		return false
	}
	var request pb.InternalRaftRequest
	if err := proto.Unmarshal(entry.GetData(), &request); err != nil {
		return true
	}
	return request.ClusterVersionSet == nil && request.ClusterMemberAttrSet == nil && request.DowngradeInfoSet == nil &&
		request.DowngradeVersionTest == nil
}
