package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
)

// Source is what a backup is made of.
type Source struct {
	Repos repos.Dir
	Keys  string // the directory
	// Etcd begins a snapshot, and tells its size in bytes. nil: the backup has none.
	Etcd func(ctx context.Context) (size int64, snapshot io.ReadCloser, err error)

	Time            time.Time
	Server, Version string // of Info

	Progress func(text.Progress)
	Say      func(words string) // tells of a wait; from another goroutine
}

// Write makes the backup file, whole and on disk, with mode 0600, or nothing. A file that exists is refused.
func Write(ctx context.Context, file string, s Source) (_ *Counts, err error) {
	if err := checkNew(file); err != nil {
		return nil, err
	}
	temporary, err := disk.CreateTemporary(file)
	if err != nil {
		return nil, fmt.Errorf("make backup: %w", err)
	}
	defer func() {
		if err != nil {
			_ = temporary.Close() // err says what went wrong
			_ = os.Remove(temporary.Name())
		}
	}()
	counts, err := s.write(ctx, temporary)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return nil, fmt.Errorf("make backup: %w", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := checkNew(file); err != nil { // another may have made it meanwhile
		return nil, err
	}
	return counts, disk.Rename(temporary.Name(), file)
}

func checkNew(file string) error {
	_, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("make backup: %w", err)
	}
	return fault.New(fault.Failed, file+" exists already", "give another name: a backup replaces nothing")
}

// write writes all of a backup in the order of the package's doc.
func (s *Source) write(ctx context.Context, file io.Writer) (*Counts, error) {
	const buffer = 1 << 20
	to := bufio.NewWriterSize(file, buffer)
	a := &archive{
		ctx: ctx, tar: tar.NewWriter(to), time: s.Time.UTC().Truncate(time.Second), progress: s.Progress,
	}
	all, release, err := s.use()
	defer release()
	if err != nil {
		return nil, err
	}
	info, err := json.MarshalIndent(Info{format, a.time, s.Server, s.Version, s.Etcd != nil}, "", " ")
	if err != nil {
		return nil, err
	}
	if err := a.addText(infoEntry, append(info, '\n')); err != nil {
		return nil, err
	}
	if s.Etcd != nil {
		if err := s.writeSnapshot(a); err != nil {
			return nil, err
		}
	}
	if err := s.writeKeys(a); err != nil {
		return nil, err
	}
	for _, name := range all {
		if err := s.writeRepository(a, name); err != nil {
			return nil, fmt.Errorf("back up repository %s: %w", name, err)
		}
	}
	if err := a.close(); err != nil {
		return nil, err
	}
	return &a.counts, to.Flush()
}

// use keeps all repositories from being renamed and removed, until release is called. One that is renamed while they
// are listed is in the next list.
func (s *Source) use() (names []string, release func(), err error) {
	held := make(map[string]func())
	release = func() {
		for _, letGo := range held {
			letGo()
		}
	}
	for {
		names, err = s.Repos.Names()
		if err != nil {
			return nil, release, err
		}
		added := false
		for _, name := range names {
			if held[name] != nil {
				continue
			}
			letGo, err := s.Repos.Use(name)
			switch {
			case errors.Is(err, repos.ErrUnknown): // it has another name now, or none
			case err != nil:
				return nil, release, err
			default:
				held[name] = letGo
			}
			added = true
		}
		if !added {
			return names, release, nil
		}
	}
}

func (s *Source) writeSnapshot(a *archive) (err error) {
	size, snapshot, err := s.Etcd(a.ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := snapshot.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := a.add(snapshotEntry, plain, size, snapshot); err != nil {
		return err
	}
	if n, err := snapshot.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) { // its end says whether it is sound
		return fmt.Errorf("back up etcd: its snapshot has not ended: %w", err)
	}
	return nil
}

func (s *Source) writeKeys(a *archive) error {
	entries, err := os.ReadDir(s.Keys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up keys: %w", err)
	}
	for _, e := range entries {
		if isPassing(e.Name()) {
			continue
		}
		if err := addFile(a, "keys/"+e.Name(), filepath.Join(s.Keys, e.Name())); err != nil {
			return fmt.Errorf("back up keys: %w", err)
		}
		a.counts.Keys++
	}
	return nil
}

// isPassing tells by its name a file that belongs to a process that runs, or that has died.
func isPassing(name string) bool { return strings.HasSuffix(name, ".lock") || disk.IsTemporary(name) }

// addFile takes a regular file, or the one that a symbolic link leads to.
func addFile(a *archive, name, path string) error {
	f, err := disk.Open(path, math.MaxInt64)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := int64(plain)
	if info.Mode()&0o100 != 0 {
		mode = executable
	}
	return a.add(name, mode, info.Size(), f)
}

// sortedKeys are a map's keys in order, so that a backup has one order.
func sortedKeys[V any](m map[string]V) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
