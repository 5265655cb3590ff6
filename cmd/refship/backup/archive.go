package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// archive writes entries.
type archive struct {
	ctx      context.Context // of the whole backup
	tar      *tar.Writer
	time     time.Time
	manifest strings.Builder
	counts   Counts
	progress func(text.Progress)
}

// add writes an entry of exactly size bytes. What content has beyond them is not read.
func (a *archive) add(name string, mode, size int64, content io.Reader) error {
	if why := badEntry(name); why != "" {
		return fault.New(fault.Failed, text.Mention(name)+" cannot be in a backup: its name "+why, "rename or remove it")
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: a.time}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	sum := sha256.New()
	from := io.LimitReader(content, size)
	written, err := io.Copy(io.MultiWriter(a.tar, sum, a), from)
	switch {
	case err != nil:
		return err
	case written < size:
		return fault.New(fault.Failed, fmt.Sprintf("%s has become shorter while it was read", name), "try again")
	}
	fmt.Fprintf(&a.manifest, "%x  %s\n", sum.Sum(nil), name)
	a.counts.Files++
	return nil
}

func (a *archive) addText(name string, content []byte) error {
	return a.add(name, plain, int64(len(content)), bytes.NewReader(content))
}

// Write counts what goes into the archive, and ends that with the context.
func (a *archive) Write(b []byte) (int, error) {
	if a.ctx.Err() != nil {
		return 0, context.Cause(a.ctx)
	}
	a.counts.Bytes += int64(len(b))
	a.progress(text.Progress{Step: "backing up", Files: a.counts.Files, Bytes: a.counts.Bytes})
	return len(b), nil
}

// close writes the manifest and the end.
func (a *archive) close() error {
	text := a.manifest.String()
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: manifestEntry, Mode: plain, Size: int64(len(text)), ModTime: a.time,
	}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.WriteString(a.tar, text); err != nil {
		return err
	}
	return a.tar.Close()
}
