package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// extraction takes a backup apart, below a directory that was empty.
type extraction struct {
	ctx      context.Context // of the whole extraction
	tar      *tar.Reader
	root     *os.Root
	info     Info
	manifest bytes.Buffer // as it must be
	counts   Counts
	progress func(text.Progress)
}

// broken is the error of a backup that is none, or not whole.
func broken(format string, args ...any) error {
	return fault.New(fault.Corrupt, "the backup is damaged: "+fmt.Sprintf(format, args...),
		"take another backup, or another copy of this one")
}

// run takes all entries, up to the manifest, which must be right.
func (x *extraction) run() error {
	for {
		header, err := x.tar.Next()
		switch {
		case errors.Is(err, io.EOF):
			return broken("its end is missing")
		case err != nil:
			return x.cannotRead("it", err)
		}
		if err := x.check(header); err != nil {
			return err
		}
		switch header.Name {
		case infoEntry:
			err = x.readInfo()
		case manifestEntry:
			return x.readManifest()
		default:
			err = x.extract(header)
		}
		if err != nil {
			return err
		}
	}
}

// check refuses an entry that no backup has.
func (x *extraction) check(h *tar.Header) error {
	name := text.Mention(text.Clip(h.Name))
	first := x.counts.Files == 0
	switch why := badEntry(h.Name); {
	case first != (h.Name == infoEntry):
		return broken("%s is not where it belongs, or this is no backup of refship's", name)
	case why != "":
		return broken("%s %s", name, why)
	case h.Typeflag != tar.TypeReg || h.Format&(tar.FormatUSTAR|tar.FormatPAX) == 0:
		return broken("%s is not stored as a regular file", name)
	case h.Mode != plain && h.Mode != executable:
		return broken("%s has mode %04o", name, h.Mode)
	case h.Size < 0:
		return broken("%s has size %d", name, h.Size)
	}
	for key := range h.PAXRecords { // such as those of files with holes, which make much out of little
		if key != "path" && key != "size" {
			return broken("%s has the extension %s", name, text.Mention(text.Clip(key)))
		}
	}
	return nil
}

// cannotRead is the error of reading an entry, which the disk may have made, or the context.
func (x *extraction) cannotRead(name string, err error) error {
	switch {
	case x.ctx.Err() != nil:
		return context.Cause(x.ctx)
	case disk.CannotStore(err):
		return fmt.Errorf("restore: %w", err)
	}
	return broken("%s cannot be read: %v", name, err)
}

func (x *extraction) readInfo() error {
	content, err := io.ReadAll(io.LimitReader(x.tar, maxInfo+1))
	switch {
	case err != nil:
		return x.cannotRead(infoEntry, err)
	case len(content) > maxInfo:
		return broken("%s is too long", infoEntry)
	}
	if err := json.Unmarshal(content, &x.info); err != nil {
		return broken("%s cannot be read: %v", infoEntry, err)
	}
	if x.info.Format != format {
		return fault.New(fault.Failed,
			fmt.Sprintf("the backup has format %d, and this refship knows %d", x.info.Format, format),
			"restore it with the refship that made it, version "+
				text.Printable(text.Clip(x.info.Version))+", or a newer one")
	}
	x.counts.Bytes += int64(len(content))
	x.took(infoEntry, sha256.Sum256(content))
	return nil
}

// took notes an entry for the manifest.
func (x *extraction) took(name string, sum [sha256.Size]byte) {
	fmt.Fprintf(&x.manifest, "%x  %s\n", sum, name)
	x.counts.Files++
	if strings.HasPrefix(name, "keys/") {
		x.counts.Keys++
	}
}

// extract writes one file.
func (x *extraction) extract(h *tar.Header) (err error) {
	if err := x.root.MkdirAll(path.Dir(h.Name), 0o700); err != nil {
		return x.cannotMake(h.Name, err)
	}
	f, err := x.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode))
	if err != nil {
		return x.cannotMake(h.Name, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum, x), x.tar); err != nil {
		return x.cannotRead(text.Mention(h.Name), err)
	}
	if err := f.Chmod(fs.FileMode(h.Mode)); err != nil { // whatever the umask is
		return err
	}
	x.took(h.Name, [sha256.Size]byte(sum.Sum(nil)))
	return x.finishRepository(h.Name)
}

// cannotMake is the error of making a file or its directory.
func (x *extraction) cannotMake(name string, err error) error {
	if disk.CannotStore(err) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	return broken("%s comes twice, or as a directory, too: %v", text.Mention(text.Clip(name)), err)
}

// finishRepository makes the directories that git wants in a repository, also where they are empty.
func (x *extraction) finishRepository(name string) error {
	rest, ok := strings.CutPrefix(name, "repos/")
	if !ok {
		return nil
	}
	repository, file := splitRepository(rest)
	if file != "HEAD" {
		return nil
	}
	x.counts.Repositories++
	for _, dir := range []string{"refs", "objects"} {
		if err := x.root.MkdirAll(path.Join("repos", repository+gitSuffix, dir), 0o700); err != nil {
			return x.cannotMake(name, err)
		}
	}
	return nil
}

// Write counts what is extracted, and ends that with the context.
func (x *extraction) Write(b []byte) (int, error) {
	if x.ctx.Err() != nil {
		return 0, context.Cause(x.ctx)
	}
	x.counts.Bytes += int64(len(b))
	x.progress(text.Progress{Step: "restoring", Files: x.counts.Files, Bytes: x.counts.Bytes})
	return len(b), nil
}

// readManifest compares the manifest with what came before it, and expects the end.
func (x *extraction) readManifest() error {
	got, err := io.ReadAll(io.LimitReader(x.tar, int64(x.manifest.Len())+1))
	if err != nil {
		return x.cannotRead(manifestEntry, err)
	}
	if want := x.manifest.Bytes(); !bytes.Equal(got, want) {
		return broken("%s is not what the manifest says", firstDifference(got, want))
	}
	if _, err := x.tar.Next(); !errors.Is(err, io.EOF) {
		return broken("something comes after its manifest")
	}
	return nil
}

// firstDifference names the entry of the first line in which two manifests differ.
func firstDifference(got, want []byte) string {
	lines := strings.SplitAfter(string(got), "\n")
	for i, line := range strings.SplitAfter(string(want), "\n") {
		if i >= len(lines) || lines[i] != line {
			_, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
			if name == "" {
				break
			}
			return text.Mention(name)
		}
	}
	return "what follows the last entry"
}
