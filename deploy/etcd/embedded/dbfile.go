package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// dbLockTime is how long another process may have the lock on the database.
	dbLockTime = time.Second
	// newDB is the size in bytes of a database in which nothing was stored yet.
	newDB = 4 * 4096
)

// dbFound is what etcd's database holds. The zero dbFound: there is none.
type dbFound struct {
	there bool
	size  int64
	keys  bool   // there is a key of a client, or was
	index uint64 // of the newest entry of the log that is in it
}

// readDB opens the database at path as etcd will, without changing it: its two meta pages, one of which must be
// whole, its size, and each page with keys. Values are not looked at. etcd reads it through memory. Where a page is
// missing, the kernel kills the process; here that is an error.
func readDB(path string) (found dbFound, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return dbFound{}, nil
	}
	if err != nil {
		return dbFound{}, err
	}
	found = dbFound{there: true, size: info.Size()}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a page is damaged: %v", p)
		}
	}()
	if found.size == 0 {
		return found, errors.New("the file is empty")
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		ReadOnly: true, Timeout: dbLockTime, MmapFlags: readAhead,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return found, fault.New(fault.Conflict, "etcd database "+path+" is in use by another process",
			"stop that process, or use another directory")
	case err != nil:
		return found, err
	}
	err = db.View(found.read)
	return found, errors.Join(err, db.Close())
}

func (d *dbFound) read(tx *bolt.Tx) error {
	if tx.Size() > d.size {
		return fmt.Errorf("%s of %s are there", text.Size(d.size), text.Size(tx.Size()))
	}
	if meta := tx.Bucket([]byte("meta")); meta != nil {
		if index := meta.Get([]byte("consistent_index")); len(index) == 8 {
			d.index = binary.BigEndian.Uint64(index)
		}
	}
	if keys := tx.Bucket([]byte("key")); keys != nil {
		first, _ := keys.Cursor().First()
		d.keys = first != nil
	}
	return tx.ForEach(readKeys)
}

// readKeys reads all keys of a bucket, which are in order unless it is damaged.
func readKeys(name []byte, bucket *bolt.Bucket) error {
	var last []byte
	keys := bucket.Cursor()
	for key, _ := keys.First(); key != nil; key, _ = keys.Next() {
		if last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("a page of the bucket %q is damaged: its keys are out of order", name)
		}
		last = key
	}
	return nil
}
