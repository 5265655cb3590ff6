package embedded_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// files of a member that has done something.
type files struct {
	testing.TB
	dir string
}

// newFiles lets an etcd write n keys, and ends it.
func newFiles(t testing.TB, n int) files {
	t.Helper()
	f := files{t, fixture.ShortDir(t)}
	e := start(t, embedded.Config{Dir: f.dir})
	for i := range n {
		if _, err := e.Client().Put(t.Context(), fmt.Sprintf("key/%d", i), strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	closeEtcd(t, e)
	return f
}

func (f files) in(name string) string { return filepath.Join(f.dir, name) }
func (f files) db() string            { return f.in("member/snap/db") }

// wal is the newest file of the log.
func (f files) wal() string {
	f.Helper()
	names, err := filepath.Glob(f.in("member/wal/*.wal"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no log: %v", err)
	}
	return names[len(names)-1]
}

func (f files) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// put puts another file, or none (nil), in the place of one, and gives what puts the first back.
func (f files) put(path string, data []byte) (back func()) {
	f.Helper()
	f.must(os.Rename(path, path+".was"))
	if data != nil {
		f.must(os.WriteFile(path, data, 0o600))
	}
	return func() {
		f.must(os.RemoveAll(path))
		f.must(os.Rename(path+".was", path))
	}
}

func (f files) read(path string) []byte {
	f.Helper()
	data, err := os.ReadFile(path)
	f.must(err)
	return data
}

// keyPage is where the page with the keys' root is in the database.
func (f files) keyPage() (offset, size int) {
	f.Helper()
	db, err := bolt.Open(f.db(), 0o600, &bolt.Options{ReadOnly: true})
	f.must(err)
	defer db.Close()
	f.must(db.View(func(tx *bolt.Tx) error {
		size = db.Info().PageSize
		offset = size * int(tx.Bucket([]byte("key")).Root())
		return nil
	}))
	return offset, size
}

// Damage that would end the process, or hang it, is an error that says what is broken and what to do.
func TestDamage(t *testing.T) {
	t.Parallel()
	f := newFiles(t, 250) // etcd has taken two snapshots
	db, wal := f.read(f.db()), f.read(f.wal())
	wal = bytes.TrimRight(wal, "\x00")
	page, size := f.keyPage()
	flipped := bytes.Clone(wal)
	flipped[len(wal)/2] ^= 1
	zeroed := func(from, to int) []byte {
		return append(append(bytes.Clone(db[:from]), make([]byte, to-from)...), db[to:]...)
	}
	early := newFiles(t, 1)
	for _, c := range []struct {
		name, path string
		data       []byte // nil: none
		want       string
	}{
		{"log without a byte", f.wal(), []byte{}, "its log wal cannot be read: there is no record in it"},
		{"log cut", f.wal(), wal[:20_000], "the log's end is missing"},
		{"log of another time", f.wal(), early.read(early.wal()), "the log's end is missing"},
		{"log damaged", f.wal(), flipped, "its log wal cannot be read: record "},
		{"log gone", f.in("member/wal"), nil, "its log wal is missing"},
		{"database without a byte", f.db(), []byte{}, "snap/db cannot be opened: the file is empty"},
		{"database cut to a page", f.db(), db[:size], "snap/db cannot be opened: "},
		{"database cut to four pages", f.db(), db[:4*size], "snap/db cannot be opened: 16 KiB of "},
		{"database cut", f.db(), db[:page+size-1], "snap/db cannot be opened: "},
		{"no meta page is whole", f.db(), zeroed(0, 2*size), "snap/db cannot be opened: invalid database"},
		{"a page is zeroed", f.db(), zeroed(page, page+size), "snap/db cannot be opened: a page is damaged: "},
		{"a page is another", f.db(), append(append(bytes.Clone(db[:page]), db[:size]...), db[page+size:]...),
			"snap/db cannot be opened: a page is damaged: "},
		{"database of another time", f.db(), early.read(early.db()), "it is an older one"},
		{"database gone", f.db(), nil, "its database snap/db is missing"},
		{"all gone", f.in("member"), nil, "it is gone, and etcd has run here; if it was moved away, move it back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer f.put(c.path, c.data)()
			_, err := embedded.Start(t.Context(), embedded.Config{Dir: f.dir, Log: fixture.Log(t)})
			fixture.WantError(t, err, nil, "start etcd in "+f.dir+": etcd is broken: "+f.in("member")+": ", "")
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q in it", err, c.want)
			}
			fixture.WantReason(t, fault.Unavailable, err, "etcd-broken "+f.dir)
		})
	}
	f.wantKeys(250)
}

// logEnd is where the last record of the log's file ends, in bytes: what follows is zeros, and it may end in zeros,
// too.
func (f files) logEnd() int64 {
	f.Helper()
	file, err := os.Open(f.wal())
	f.must(err)
	defer file.Close()
	decoder, record := wal.NewDecoder(fileutil.NewFileReader(file)), new(walpb.Record)
	for err = decoder.Decode(record); err == nil; err = decoder.Decode(record) {
		if record.GetType() == wal.CrcType {
			decoder.UpdateCRC(record.GetCrc())
		}
	}
	if !errors.Is(err, io.EOF) {
		f.Fatal(err)
	}
	return decoder.LastOffset()
}

// Nothing waits for a FIFO in the place of a file of etcd's.
func TestFIFOInTheMember(t *testing.T) {
	t.Parallel()
	f := newFiles(t, 1)
	for path, want := range map[string]string{f.wal(): "is a FIFO, not a file", f.db(): "the file is empty"} {
		back := f.put(path, nil)
		f.must(unix.Mkfifo(path, 0o600))
		_, err := embedded.Start(t.Context(), embedded.Config{Dir: f.dir, Log: fixture.Log(t)})
		fixture.WantReason(t, fault.Unavailable, err, "etcd-broken "+f.dir)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
		back()
	}
	f.wantKeys(1)
}

// A record that was cut off while it was written was never acknowledged: etcd takes it out, and leaves nothing behind.
func TestTornLog(t *testing.T) {
	t.Parallel()
	f := newFiles(t, 150)
	torn := f.read(f.wal())[:f.logEnd()]
	torn = binary.LittleEndian.AppendUint64(torn, 1<<20) // a record of 1 MiB, in a file that ends before
	f.put(f.wal(), append(torn, torn[len(torn)/2:len(torn)/2+100]...))
	// And a file that an earlier run had ready for its log.
	f.must(os.WriteFile(f.in("member/wal/1.tmp"), []byte("stale"), 0o600))
	log := fixture.NewJournal(t)
	f.must(fixture.StartEtcd(t, embedded.Config{Dir: f.dir, Log: slog.New(log)}).Close())
	if !strings.Contains(log.Text(), "etcd: its log ended in a record that was cut off") {
		t.Error("nothing is told of the torn record")
	}
	f.wantKeys(150)
	if stale, err := os.ReadFile(f.in("member/wal/1.tmp")); string(stale) == "stale" {
		t.Errorf("1.tmp is left behind: %v", err)
	}
	if copies, err := filepath.Glob(f.in("member/wal/*.broken")); err != nil || len(copies) > 0 {
		t.Errorf("left behind: %v, %v", copies, err)
	}
}

// wantKeys starts etcd and wants all keys that newFiles wrote.
func (f files) wantKeys(n int) {
	f.Helper()
	e := start(f, embedded.Config{Dir: f.dir})
	defer closeEtcd(f, e)
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("key/%d", i))
	}
	exist, err := etcd.Exist(f.Context(), e.Client(), keys)
	f.must(err)
	for i, ok := range exist {
		if !ok {
			f.Errorf("%s is gone", keys[i])
		}
	}
}

// What a killed first start has left holds nothing, and the next start serves.
func TestUnfinishedFirstStart(t *testing.T) {
	t.Parallel()
	ended := newFiles(t, 0)
	db, wal := ended.read(ended.db()), ended.read(ended.wal())
	bare := wal[:bytes.LastIndexByte(wal[:512], 0)] // less than its first entries
	for _, c := range []struct {
		name  string
		files map[string][]byte // below member; nil: a directory
	}{
		{"directories", map[string][]byte{"snap": nil}},
		{"database not made", map[string][]byte{"snap/db": {}}},
		{"database half made", map[string][]byte{"snap/db": make([]byte, 2*4096)}},
		{"database alone", map[string][]byte{"snap/db": db}},
		{"log being made", map[string][]byte{"snap/db": db, "wal.tmp/0000000000000000-0000000000000000.wal": wal[:100]}},
		{"log without entries", map[string][]byte{"snap/db": db, "wal/0000000000000000-0000000000000000.wal": bare}},
		{"log without a database", map[string][]byte{"wal/0000000000000000-0000000000000000.wal": wal}},
		{"a database that a power cut took", map[string][]byte{
			"snap/db": make([]byte, len(db)), "wal/0000000000000000-0000000000000000.wal": wal}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := files{t, fixture.ShortDir(t)}
			for name, data := range c.files {
				path := f.in("member/" + name)
				if data == nil {
					f.must(os.MkdirAll(path, 0o700))
					continue
				}
				f.must(os.MkdirAll(filepath.Dir(path), 0o700))
				f.must(os.WriteFile(path, data, 0o600))
			}
			f.wantKeys(0)
			if _, err := os.Stat(f.in("started")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Data is never thrown away, however it came there: a restored backup has no file "started".
func TestDataWithoutStarted(t *testing.T) {
	t.Parallel()
	t.Run("in the database", func(t *testing.T) {
		f := newFiles(t, 1)
		f.must(os.Remove(f.in("started")))
		f.wantKeys(1)
	})
	t.Run("in the log", func(t *testing.T) {
		f := newFiles(t, 1)
		f.must(os.Remove(f.in("started")))
		f.put(f.db(), nil)
		f.wantKeys(1)
	})
	t.Run("in snapshots", func(t *testing.T) {
		f := newFiles(t, 250)
		f.must(os.Remove(f.in("started")))
		f.wantKeys(250)
	})
	for name, damage := range map[string]func(f files){
		"log gone":     func(f files) { f.put(f.in("member/wal"), nil) },
		"log unread":   func(f files) { f.put(f.wal(), []byte{}) },
		"all unread":   func(f files) { f.put(f.wal(), []byte{}); f.must(os.Truncate(f.db(), 6*4096)) },
		"db cut":       func(f files) { f.must(os.Truncate(f.db(), 6*4096)) },
		"both cut":     func(f files) { f.must(os.Truncate(f.wal(), 8)); f.must(os.Truncate(f.db(), 6*4096)) },
		"db cut alone": func(f files) { f.put(f.in("member/wal"), nil); f.must(os.Truncate(f.db(), 6*4096)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t, 40)
			f.must(os.Remove(f.in("started")))
			damage(f)
			before := f.read(f.db())
			_, err := embedded.Start(t.Context(), embedded.Config{Dir: f.dir, Log: fixture.Log(t)})
			fixture.WantReason(t, fault.Unavailable, err, "etcd-broken "+f.dir)
			if !bytes.Equal(before, f.read(f.db())) {
				t.Error("the database has changed")
			}
		})
	}
}
