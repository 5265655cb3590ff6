package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// member is the directory of etcd's own files.
type member struct {
	dir     string // Config.Dir
	started bool   // etcd has answered here once
	db      dbFound
	log     logFound
}

const startedWords = "etcd has answered here: what is in the directory member is never made anew from now on\n"

func dbPath(dir string) string        { return filepath.Join(dir, "member", "snap", "db") }
func (m *member) path() string        { return filepath.Join(m.dir, "member") }
func (m *member) startedPath() string { return filepath.Join(m.dir, "started") }

// openMember looks at what is there before etcd does: where etcd finds damage it panics, in goroutines of its own. What
// a first start has left that was killed is removed. The caller has the lock.
func openMember(dir string, log *slog.Logger) (*member, error) {
	m := &member{dir: dir}
	started, err := exists(m.startedPath())
	if err != nil {
		return nil, err
	}
	m.started = started
	there, err := exists(m.path())
	switch {
	case err != nil:
		return nil, err
	case !there && started:
		return nil, m.broken(errors.New("it is gone, and etcd has run here; if it was moved away, move it back"))
	case !there:
		return m, nil
	}
	var dbErr, logErr error
	m.db, dbErr = readDB(dbPath(m.dir))
	if fault.Is(dbErr, fault.Conflict) {
		return nil, dbErr
	}
	m.log, logErr = readLog(filepath.Join(m.path(), "wal"))
	if m.isUnfinished(dbErr, logErr) {
		if log != nil {
			log.Warn("etcd: its first start was broken off before it had answered: begun anew", "removed", m.path())
		}
		m.db, m.log = dbFound{}, logFound{}
		return m, disk.RemoveAll(m.path())
	}
	switch {
	case dbErr != nil:
		return nil, m.broken(fmt.Errorf("its database snap/db cannot be opened: %w", dbErr))
	case logErr != nil:
		return nil, m.broken(fmt.Errorf("its log wal cannot be read: %w", logErr))
	}
	if err := m.compare(); err != nil {
		return nil, err
	}
	// The files that were kept ready for the log, of 64 MB: etcd makes one anew and may forget about the other.
	return m, m.removeLogFiles(".tmp", func(string) {})
}

// removeLogFiles removes files from the log's directory whose names end so, and that the log does not need, and tells
// of each.
func (m *member) removeLogFiles(suffix string, tell func(path string)) error {
	dir := filepath.Join(m.path(), "wal")
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != suffix {
			continue
		}
		path := filepath.Join(dir, e.Name())
		removeErr := disk.Remove(path)
		if removeErr == nil {
			tell(path)
		}
		err = errors.Join(err, removeErr)
	}
	return err
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// isUnfinished tells whether etcd was killed here before it could acknowledge anything. A log that can be read proves
// that by itself, if it goes from its first file to the newest entry that etcd has said to be committed. The
// database must have no keys, too, or not be made yet. Whatever else there is may be somebody's data, put
// there without the file "started": a restored backup.
func (m *member) isUnfinished(dbErr, logErr error) bool {
	log := m.log
	switch {
	case m.started || logErr != nil || log.requests || log.snapshot > 0:
		return false
	case log.there && (!log.whole || log.commit > log.last):
		return false
	case dbErr != nil:
		return log.there && !log.torn || m.db.size <= newDB
	}
	return !m.db.keys
}

// compare finds out whether the database and the log belong together.
func (m *member) compare() error {
	db, log := m.db, m.log
	switch {
	case !log.there:
		return m.broken(errors.New("its log wal is missing"))
	case log.commit > log.last:
		return m.broken(fmt.Errorf("its log wal ends at entry %d, and has had entry %d: its end is missing",
			log.last, log.commit))
	case db.index > log.last:
		return m.broken(fmt.Errorf("its log wal ends at entry %d, and the database has entry %d: the log's end is missing",
			log.last, db.index))
	case log.snapshot > 0 && !db.there:
		return m.broken(errors.New("its database snap/db is missing"))
	case db.index < log.snapshot:
		return m.broken(fmt.Errorf("its database snap/db ends at entry %d, and has had entry %d: it is an older one",
			db.index, log.snapshot))
	}
	return nil
}

// broken is the error of a member that cannot be started.
func (m *member) broken(err error) error { return broken(m.dir, fmt.Errorf("%s: %w", m.path(), err)) }

func broken(dir string, err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, What: "etcd is broken: " + err.Error(),
		Remedy: "restore " + dir + " from a backup, or move it away: etcd then begins empty",
		Reason: ReasonBroken, About: []string{dir}, Cause: err,
	}
}

// isOn notes that etcd has answered: what is there from now on may be data. The copy of a log file that etcd makes
// before it takes a torn record out, and never removes, is not needed any more.
func (m *member) isOn(log *slog.Logger) error {
	err := m.removeLogFiles(".broken", func(path string) {
		if log != nil {
			log.Warn("etcd: its log ended in a record that was cut off, and etcd has taken that out: nothing is lost",
				"removed", path)
		}
	})
	if err != nil || m.started {
		return err
	}
	return disk.WriteFile(m.startedPath(), []byte(startedWords), 0o600)
}
