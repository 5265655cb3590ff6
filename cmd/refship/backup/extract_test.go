package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// entry is one of a test's archive.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600}, content}
}

const infoText = `{"format": 1, "time": "2026-11-29T10:00:00Z", "server": "h1", "version": "v1", "etcd": false}`

// manifestOf is right for these entries.
func manifestOf(entries ...entry) entry {
	var lines strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256([]byte(e.content)), e.Name)
	}
	return file(manifestEntry, lines.String())
}

// archiveOf writes entries, with their sizes where they have none.
func archiveOf(entries ...entry) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.Size == 0 {
			e.Size = int64(len(e.content))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(e.content)); err != nil && e.Typeflag == tar.TypeReg {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// whole is archiveOf of a backup with these entries, begun and ended as it must be.
func whole(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	all := append([]entry{file(infoEntry, infoText)}, entries...)
	archive, err := archiveOf(append(all, manifestOf(all...))...)
	if err != nil {
		tb.Fatal(err)
	}
	return archive
}

// extractTo takes an archive apart below dir.
func extractTo(tb testing.TB, dir string, archive io.Reader) (*extraction, error) {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	defer root.Close()
	x := &extraction{ctx: tb.Context(), tar: tar.NewReader(archive), root: root, progress: func(text.Progress) {}}
	return x, x.run()
}

// filesOf is readAll, without errors.
func filesOf(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	all, err := readAll(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	script := file("repos/team/config.git/hooks/pre-receive", "#!/bin/sh\n")
	script.Mode = 0o700
	x, err := extractTo(t, dir, bytes.NewReader(whole(t,
		file("etcd.snapshot", "e"), file("keys/authorized_keys", ""), file("repos/team/config.git/HEAD", "ref: x\n"),
		script,
		file("repos/team/config.git/objects/"+strings.Repeat("long/", 60)+"name", "deep"))))
	if err != nil {
		t.Fatal(err)
	}
	if x.info.Server != "h1" || x.counts.Repositories != 1 || x.counts.Keys != 1 || x.counts.Files != 6 {
		t.Errorf("%+v, %+v", x.info, x.counts)
	}
	for name, mode := range map[string]fs.FileMode{
		"keys": 0o700 | fs.ModeDir, "keys/authorized_keys": 0o600, script.Name: 0o700,
		"repos/team/config.git/refs": 0o700 | fs.ModeDir,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// Each of these is refused, and nothing is made outside of the directory.
func TestHostileArchives(t *testing.T) {
	head := file(infoEntry, infoText)
	of := func(change func(*entry)) []entry {
		e := file("keys/x", "content")
		change(&e)
		return []entry{head, e, manifestOf(head, e)}
	}
	named := func(name string) []entry { return of(func(e *entry) { e.Name = name }) }
	kind := func(flag byte) []entry {
		return of(func(e *entry) { e.Typeflag, e.Linkname, e.content = flag, "../../canary", "" })
	}
	cases := map[string][]entry{
		"nothing":            {},
		"no info":            {file("keys/x", ""), manifestOf(file("keys/x", ""))},
		"info twice":         {head, head, manifestOf(head, head)},
		"no manifest":        {head, file("keys/x", "")},
		"empty manifest":     {head, file("keys/x", ""), manifestOf(head)},
		"wrong sum":          {head, file("keys/x", "a"), manifestOf(head, file("keys/x", "b"))},
		"a line too much":    {head, manifestOf(head, file("keys/x", ""))},
		"after the manifest": {head, manifestOf(head), file("keys/x", "")},
		"twice": {head, file("keys/x", ""), file("keys/x", ""),
			manifestOf(head, file("keys/x", ""), file("keys/x", ""))},
		"a file and its own":  {head, file("repos/a.git/x", ""), file("repos/a.git/x/y", ""), manifestOf(head)},
		"a directory and it":  {head, file("repos/a.git/x/y", ""), file("repos/a.git/x", ""), manifestOf(head)},
		"refs as a file":      {head, file("repos/a.git/refs", ""), file("repos/a.git/HEAD", ""), manifestOf(head)},
		"info is no JSON":     {file(infoEntry, "{"), manifestOf(file(infoEntry, "{"))},
		"info is long":        {file(infoEntry, strings.Repeat(" ", maxInfo)+infoText), manifestOf()},
		"a later format":      {file(infoEntry, `{"format": 2}`), manifestOf(file(infoEntry, `{"format": 2}`))},
		"no format":           {file(infoEntry, `{}`), manifestOf(file(infoEntry, `{}`))},
		"symbolic link":       kind(tar.TypeSymlink),
		"link":                kind(tar.TypeLink),
		"character device":    kind(tar.TypeChar),
		"block device":        kind(tar.TypeBlock),
		"directory":           kind(tar.TypeDir),
		"FIFO":                kind(tar.TypeFifo),
		"mode 0644":           of(func(e *entry) { e.Mode = 0o644 }),
		"set user id":         of(func(e *entry) { e.Mode = 0o4700 }),
		"extended attributes": of(func(e *entry) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"} }),
		"a comment":           of(func(e *entry) { e.PAXRecords = map[string]string{"comment": "y"} }),
		"GNU's format":        of(func(e *entry) { e.Format = tar.FormatGNU }),
	}
	for _, name := range []string{
		"../canary", "/tmp/canary", "keys/../../canary", "keys/..", "keys/./x", "keys//x", "./keys/x", "keys", "", ".",
		"keys/a/b", "etcd/member/snap/db", "lock", "run/ssh-port", "repos", "repos/x", "repos/a.git", "repos/../a.git/x",
		"repos/a.git/../../x", "repos/.git/x", "repos/deploy.git/x", "repos/-a.git/x", "repos/a/b/c/x",
		"repos/A B.git/x", "keys/a\nb", "keys/a\\b", "keys/\x7f", "Keys/x", "etcd.snapshot/x", "manifest/x",
	} {
		cases["name "+name] = named(name)
	}
	for what, entries := range cases {
		archive, err := archiveOf(entries...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		outside := t.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "canary"), []byte("sings"), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(outside, "a", "dir")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err = extractTo(t, dir, bytes.NewReader(archive))
		if !fault.Is(err, fault.Corrupt) && !strings.Contains(fmt.Sprint(err), "format") {
			t.Errorf("%s: %v", what, err)
		}
		for path, content := range filesOf(t, outside) {
			if path != "canary" && !strings.HasPrefix(path, "a/dir/") || path == "canary" && content != "sings" {
				t.Errorf("%s: made %s", what, path)
			}
		}
	}
}

// A file with holes is a few bytes in the archive and any number of them on the disk.
func TestHoles(t *testing.T) {
	records := "\x31\n\x30\n\x30\n" // the sparse map, version 1.0: one region, of no bytes, at 0
	content := records + strings.Repeat("\x00", 512-len(records))
	e := file("keys/x", content)
	e.Format = tar.FormatPAX
	archive := whole(t, e)
	// Go writes no such record. This one is put in by hand.
	pax := paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") +
		paxRecord("GNU.sparse.name", "keys/x") + paxRecord("GNU.sparse.realsize", "1099511627776")
	extended, err := archiveOf(entry{tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o600}, pax})
	if err != nil {
		t.Fatal(err)
	}
	extended[156] = tar.TypeXHeader
	copy(extended[148:], fmt.Sprintf("%06o\x00 ", sumOf(extended[:512])))
	at := 512 + 512 // behind the info
	archive = slices.Concat(archive[:at], extended[:1024], archive[at:])
	if h, err := second(archive); err != nil || h.Size != 1<<40 {
		t.Fatalf("no file with holes: %+v, %v", h, err)
	}
	if _, err := extractTo(t, t.TempDir(), bytes.NewReader(archive)); !fault.Is(err, fault.Corrupt) ||
		!strings.Contains(err.Error(), "GNU.sparse") {
		t.Errorf("%v", err)
	}
}

func second(archive []byte) (*tar.Header, error) {
	r := tar.NewReader(bytes.NewReader(archive))
	if _, err := r.Next(); err != nil {
		return nil, err
	}
	return r.Next()
}

func paxRecord(key, value string) string {
	for size := len(key) + len(value); ; size++ {
		if record := fmt.Sprintf("%d %s=%s\n", size, key, value); len(record) == size {
			return record
		}
	}
}

// sumOf is the checksum of a header, whose own field counts as spaces.
func sumOf(header []byte) (sum int) {
	for i, b := range header {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	return sum
}

// Whatever byte of a backup is another one, it is refused, or gives exactly the same. Wherever it is cut off, it is
// refused. (Of the zeros that fill blocks and fields, and of the cuts, one in a few is tried.)
func TestEveryByte(t *testing.T) {
	archive := whole(t,
		file("etcd.snapshot", "e"), file("keys/authorized_keys", "key"), file("repos/a.git/HEAD", "ref: x\n"))
	dir := t.TempDir()
	if _, err := extractTo(t, dir, bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	want := filesOf(t, dir)
	dir = filepath.Join(t.TempDir(), "dir")
	check := func(what string, changed []byte) (refused bool) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		_, err := extractTo(t, dir, bytes.NewReader(changed))
		if err == nil && !maps.Equal(filesOf(t, dir), want) {
			t.Errorf("%s: accepted, and gives something else", what)
		}
		return err != nil
	}
	refused := 0
	for at, b := range archive {
		if b == 0 && at%29 != 0 {
			continue
		}
		changed := slices.Clone(archive)
		changed[at] ^= 0x01
		if check(fmt.Sprint("byte ", at), changed) {
			refused++
		}
	}
	if refused < len(archive)/10 {
		t.Errorf("%d of %d changes were refused", refused, len(archive))
	}
	end := bytes.LastIndex(archive, []byte("repos/a.git/HEAD\n")) + len("repos/a.git/HEAD\n")
	for size := 0; size < end; size += 17 {
		if !check(fmt.Sprint("cut at ", size), archive[:size]) {
			t.Errorf("cut at %d of %d: accepted", size, end)
		}
	}
}

// A model: what is accepted is what was put in, all of it and nothing else.
func TestAcceptedIsWhatWasPutIn(t *testing.T) {
	element := rapid.SampledFrom([]string{
		"keys", "repos", "a.git", "team", ".git", "..", ".", "", "x", "HEAD", "refs", "objects", "etcd.snapshot",
		"manifest", "refship-backup", "etcd", "lock", strings.Repeat("n", 120), "ü", "\xff", "a b",
	})
	rapid.Check(t, func(t *rapid.T) {
		outside, err := os.MkdirTemp("", "backup-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outside)
		dir := filepath.Join(outside, "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		entries := []entry{file(infoEntry, infoText)}
		want := map[string]string{}
		for range rapid.IntRange(0, 6).Draw(t, "entries") {
			name := strings.Join(rapid.SliceOfN(element, 1, 4).Draw(t, "name"), "/")
			e := file(name, rapid.StringN(0, 3, 9).Draw(t, "content"))
			kinds := []byte{tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeSymlink, tar.TypeDir}
			e.Typeflag = rapid.SampledFrom(kinds).Draw(t, "kind")
			if e.Typeflag != tar.TypeReg {
				e.content, e.Linkname = "", "../.."
			}
			entries = append(entries, e)
			want[e.Name] = e.content
		}
		archive, err := archiveOf(append(entries, manifestOf(entries...))...)
		if err != nil {
			t.Skip("no tar can have that")
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		x := &extraction{
			ctx: t.Context(), tar: tar.NewReader(bytes.NewReader(archive)), root: root, progress: func(text.Progress) {},
		}
		err = x.run()
		found, walkErr := readAll(outside)
		if walkErr != nil {
			t.Fatal(walkErr)
		}
		for name := range found {
			if !strings.HasPrefix(name, "dir/") {
				t.Fatalf("made %s", name)
			}
		}
		if err == nil {
			got := map[string]string{}
			for name, content := range found {
				got[strings.TrimPrefix(name, "dir/")] = content
			}
			if len(entries) != len(want)+1 || !maps.Equal(got, want) {
				t.Fatalf("accepted %q, and made %q", want, got)
			}
		}
	})
}

// readAll reads all that is below dir. What is no regular file or directory is an error.
func readAll(dir string) (map[string]string, error) {
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if !e.Type().IsRegular() {
			return errors.New(path + " is no regular file")
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = string(content)
		return err
	})
	return all, err
}

// FuzzExtract: no archive makes it panic, or write outside.
func FuzzExtract(f *testing.F) {
	f.Add(whole(f, file("keys/authorized_keys", "key"), file("repos/a.git/HEAD", "ref: x\n")))
	f.Add(whole(f))
	f.Fuzz(func(t *testing.T, archive []byte) {
		outside := t.TempDir()
		dir := filepath.Join(outside, "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = extractTo(t, dir, io.LimitReader(bytes.NewReader(archive), 1<<20))
		for name := range filesOf(t, outside) {
			if !strings.HasPrefix(name, "dir/") {
				t.Errorf("made %s", name)
			}
		}
	})
}
