package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/gitserver/repos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a data directory, and a repository in it.
type place struct {
	*testing.T
	dir string
	g   *fixture.Repository
	Source
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{T: t, dir: t.TempDir()}
	p.Source = Source{
		Repos: repos.Dir{Path: filepath.Join(p.dir, "repos")}, Keys: filepath.Join(p.dir, "keys"),
		Time: time.Date(2026, 11, 29, 10, 0, 0, 5, time.UTC), Server: "h1", Version: "v1",
		Etcd: func(context.Context) (int64, io.ReadCloser, error) {
			return 8, io.NopCloser(strings.NewReader("snapshot")), nil
		},
		Progress: func(text.Progress) {}, Say: func(string) {},
	}
	r, err := p.Repos.Create(t.Context(), "team/config", git.FormatSHA1, "refs/heads/main", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.g = &fixture.Repository{TB: t, Dir: r.Dir, Env: fixture.GitEnv(t.TempDir(), "GIT_DIR="+r.Dir)}
	p.put("keys/authorized_keys", "a key\n")
	return p
}

// put writes a file of the data directory.
func (p *place) put(name, content string) {
	p.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.Fatal(err)
	}
}

// restore restores a backup into a new directory.
func (p *place) restore(file string) (dir string) {
	p.Helper()
	dir = filepath.Join(p.TempDir(), "new")
	if _, err := Restore(p.Context(), file, destination(dir)); err != nil {
		p.Fatal(err)
	}
	return dir
}

// destination keeps the snapshot as DIR/etcd/db.
func destination(dir string) Destination {
	return Destination{
		Dir: dir, EtcdDir: "etcd", Progress: func(text.Progress) {},
		Etcd: func(snapshot, dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Link(snapshot, filepath.Join(dir, "db")))
		},
	}
}

// TestRoundTrip: what a repository holds comes back, with all refs and with objects that no ref leads to. What belongs
// to a push that runs, or to a git that died, does not.
func TestRoundTrip(t *testing.T) {
	p := newPlace(t)
	last := p.g.Packs("main", 3, git.OID{})
	p.g.Blob("loose, and no ref leads to it")
	p.g.Git("update-ref", "refs/refship/replaced/"+last.String(), last.String())
	p.g.Git("tag", "-a", "-m", "annotated", "v1", "main")
	p.g.Git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
	p.g.Git("config", "refship.default.ref", "refs/heads/main")
	p.g.Git("commit-graph", "write", "--reachable", "--split")
	const in = "repos/team/config.git/"
	left := []string{
		"keys/authorized_keys.lock", "keys/.host_ed25519.123.refship-tmp", "lock", "changes", "run/ssh-port",
		"etcd/member/snap/db",
		"repos/.lock", "repos/team/.new-1/config", "repos/x", "repos/.removed-1/git/HEAD",
		in + "refship/pending/0f0f.json", in + "refship/pending/0f0f.json.bad", in + "config.lock", in + "config.refship",
		in + "refs/heads/main.lock", in + "packed-refs.lock", in + "gc.pid",
		in + "objects/tmp_objdir-incoming-1/pack/tmp_pack_2", in + "objects/incoming-1/x", in + "objects/pack/tmp_pack_3",
		in + "objects/pack/.tmp-17-pack-12.pack", in + "objects/aa/tmp_obj_1", in + "objects/pack/pack-12.keep",
		in + "objects/pack/pack-34.idx", in + "objects/pack/pack-34.rev", in + "objects/pack/pack-56.pack",
	}
	for _, name := range left {
		p.put(name, "x")
	}
	file := filepath.Join(t.TempDir(), "backup")
	made, err := Write(t.Context(), file, p.Source)
	if err != nil {
		t.Fatal(err)
	}
	if made.Repositories != 1 || made.Keys != 1 {
		t.Errorf("%+v", made)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	dir := p.restore(file)
	files := filesOf(t, dir)
	for _, name := range left {
		if _, ok := files[name]; ok {
			t.Errorf("%s was taken", name)
		}
	}
	if files["etcd/db"] != "snapshot" || files["keys/authorized_keys"] != "a key\n" || files["etcd.snapshot"] != "" {
		t.Errorf("restored: %q, %q", files["etcd/db"], files["keys/authorized_keys"])
	}
	restored := &fixture.Repository{
		TB: t, Dir: filepath.Join(dir, in), Env: fixture.GitEnv(t.TempDir(), "GIT_DIR="+dir+"/"+in),
	}
	restored.Git("fsck", "--strict")
	for _, name := range left {
		_ = os.Remove(filepath.Join(p.dir, name)) // git complains of them
	}
	for _, args := range [][]string{
		{"for-each-ref"}, {"cat-file", "--batch-all-objects", "--batch-check"}, {"config", "--list", "--local"},
		{"symbolic-ref", "HEAD"}, {"symbolic-ref", "refs/heads/alias"},
	} {
		if got, want := restored.Git(args...), p.g.Git(args...); got != want {
			t.Errorf("git %s:\n%s\nwant:\n%s", args, got, want)
		}
	}
	hook := filepath.Join(dir, in, "hooks", "pre-receive")
	if info, err := os.Stat(hook); err != nil || info.Mode() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestEmpty: a data directory without anything, and a repository that nothing was pushed to.
func TestEmpty(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	dir := p.restore(file)
	names, err := repos.Dir{Path: filepath.Join(dir, "repos")}.Names()
	if err != nil || len(names) != 1 || names[0] != "team/config" {
		t.Errorf("%q, %v", names, err)
	}
	p.Source.Repos.Path, p.Source.Keys, p.Source.Etcd = filepath.Join(p.dir, "no"), filepath.Join(p.dir, "no"), nil
	file += "2"
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	if files := filesOf(t, p.restore(file)); len(files) != 0 {
		t.Errorf("%q", files)
	}
}

// Refs that git keeps in tables are there after a restore, too, with the branch that HEAD names.
func TestReftable(t *testing.T) {
	fixture.NeedGit(t, "init", "-q", "--bare", "--ref-format=reftable")
	p := newPlace(t)
	g := fixture.NewRepository(t, "--ref-format=reftable")
	commit := g.CommitTree(g.Tree(), "one").String()
	for _, ref := range []string{"refs/heads/main", "refs/heads/team/x", "refs/tags/v1"} {
		g.Git("update-ref", ref, commit)
	}
	g.Git("symbolic-ref", "HEAD", "refs/heads/team/x")
	if err := os.RemoveAll(p.g.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.Dir, p.g.Dir); err != nil {
		t.Fatal(err)
	}
	want := p.g.Git("for-each-ref") + p.g.Git("symbolic-ref", "HEAD")
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	restored := &fixture.Repository{TB: t, Dir: filepath.Join(p.restore(file), "repos/team/config.git")}
	restored.Env = fixture.GitEnv(t.TempDir(), "GIT_DIR="+restored.Dir)
	if got := restored.Git("for-each-ref") + restored.Git("symbolic-ref", "HEAD"); got != want || !strings.Contains(got, commit) {
		t.Errorf("restored:\n%s\nwant:\n%s", got, want)
	}
	restored.Git("fsck", "--strict")
}

// TestRefusedSources: what a backup would not have all of is refused, and no file is left.
func TestRefusedSources(t *testing.T) {
	errSnapshot := errors.New("no snapshot")
	for what, c := range map[string]struct {
		change func(p *place)
		want   string
	}{
		"alternates": {func(p *place) {
			p.put("repos/team/config.git/objects/info/alternates", "/elsewhere\n")
		}, "alternates"},
		"a reftable that lacks a table": {func(p *place) {
			p.put("repos/team/config.git/reftable/tables.list", "0x01-0x02-a.ref\n")
		}, "0x01-0x02-a.ref"},
		"a directory elsewhere": {func(p *place) {
			p.put("elsewhere/x", "")
			if err := os.Symlink(filepath.Join(p.dir, "elsewhere"), filepath.Join(p.g.Dir, "info")); err != nil {
				p.Fatal(err)
			}
		}, "is a directory, not a file"},
		"a FIFO": {func(p *place) {
			if err := syscall.Mkfifo(filepath.Join(p.g.Dir, "fifo"), 0o600); err != nil {
				p.Fatal(err)
			}
		}, "is a FIFO, not a file"},
		"a name": {func(p *place) { p.put("keys/a\nb", "") }, "control character"},
		"an etcd": {func(p *place) {
			p.Source.Etcd = func(context.Context) (int64, io.ReadCloser, error) { return 0, nil, errSnapshot }
		}, errSnapshot.Error()},
		"a snapshot that breaks off": {func(p *place) {
			p.Source.Etcd = func(context.Context) (int64, io.ReadCloser, error) {
				return 9, io.NopCloser(strings.NewReader("snapshot")), nil
			}
		}, "shorter"},
		"a snapshot that goes on": {func(p *place) {
			p.Source.Etcd = func(context.Context) (int64, io.ReadCloser, error) {
				return 7, io.NopCloser(strings.NewReader("snapshot")), nil
			}
		}, "has not ended"},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPlace(t)
			c.change(p)
			dir := t.TempDir()
			_, err := Write(t.Context(), filepath.Join(dir, "backup"), p.Source)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if files := filesOf(t, dir); len(files) > 0 {
				t.Errorf("left: %q", files)
			}
		})
	}
}

// TestExisting: a backup replaces nothing.
func TestExisting(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(p.dir, "keys", "authorized_keys")
	_, err := Write(t.Context(), file, p.Source)
	if !fault.Is(err, fault.Failed) || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("%v", err)
	}
	if files := filesOf(t, filepath.Join(p.dir, "keys")); len(files) != 1 || files["authorized_keys"] != "a key\n" {
		t.Errorf("%q", files)
	}
}

// TestAnotherGit: objects that somebody's git takes away while they are being copied end the backup.
func TestAnotherGit(t *testing.T) {
	p := newPlace(t)
	p.g.Packs("main", 5, git.OID{})
	packs := filepath.Join(p.g.Dir, "objects", "pack")
	reached := false
	p.Progress = func(done text.Progress) {
		if done.Files < 6 || reached { // info, snapshot, key, packed-refs, HEAD, config: the list is read
			return
		}
		reached = true
		if err := os.RemoveAll(packs); err != nil {
			t.Error(err)
		}
	}
	dir := t.TempDir()
	_, err := Write(t.Context(), filepath.Join(dir, "backup"), p.Source)
	if !fault.Is(err, fault.Conflict) || !reached {
		t.Errorf("%v", err)
	}
	if files := filesOf(t, dir); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
}

// TestRenamedMeanwhile: no repository is renamed or removed while a backup runs; pushes go on.
func TestRenamedMeanwhile(t *testing.T) {
	p := newPlace(t)
	p.Etcd = func(ctx context.Context) (int64, io.ReadCloser, error) {
		short, cancel := context.WithCancel(ctx)
		cancel()
		if err := p.Repos.Rename(short, "team/config", "config", func(string) error { return nil }); err == nil {
			t.Error("renamed")
		}
		use, err := p.Repos.Use("team/config")
		if err != nil {
			t.Error(err)
		} else {
			use()
		}
		return 8, io.NopCloser(strings.NewReader("snapshot")), nil
	}
	if _, err := Write(t.Context(), filepath.Join(t.TempDir(), "backup"), p.Source); err != nil {
		t.Fatal(err)
	}
	if err := p.Repos.Rename(t.Context(), "team/config", "config", func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestInterrupted: at whatever moment they are told to end, a backup and a restore leave nothing.
func TestInterrupted(t *testing.T) {
	p := newPlace(t)
	p.g.Packs("main", 3, git.OID{})
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	errEnd := errors.New("told to end")
	// interrupt ends a run at its nth step, and tells whether it had so many.
	interrupt := func(n int, run func(ctx context.Context, progress func(text.Progress)) error) (reached bool) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		err := run(ctx, func(text.Progress) {
			if n--; n == 0 {
				reached = true
				cancel(errEnd)
			}
		})
		if reached != errors.Is(err, errEnd) {
			t.Errorf("reached: %v, %v", reached, err)
		}
		return reached
	}
	for n := 1; ; n++ {
		dir := t.TempDir()
		again := interrupt(n, func(ctx context.Context, progress func(text.Progress)) error {
			s := p.Source
			s.Progress = progress
			_, err := Write(ctx, filepath.Join(dir, "backup"), s)
			return err
		})
		if !again {
			break
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("a backup that was told to end at step %d has left %v, %v", n, left, err)
		}
	}
	for n := 1; ; n++ {
		dir := t.TempDir()
		again := interrupt(n, func(ctx context.Context, progress func(text.Progress)) error {
			d := destination(filepath.Join(dir, "new"))
			d.Progress = progress
			_, err := Restore(ctx, file, d)
			return err
		})
		if !again {
			break
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("a restore that was told to end at step %d has left %v, %v", n, left, err)
		}
	}
}

// TestPlaces: a restore takes a place where nothing is, and no other.
func TestPlaces(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	in := func(name string) string { return filepath.Join(at, name) }
	if err := errors.Join(os.Mkdir(in("empty"), 0o755), os.Mkdir(in("full"), 0o700),
		os.WriteFile(in("full/x"), nil, 0o600), os.WriteFile(in("file"), nil, 0o600),
		os.Symlink(in("empty"), in("link"))); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(in("empty"), 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"full", "file", "link", "full/x/y", "no/parent"} {
		if _, err := Restore(t.Context(), file, destination(in(bad))); err == nil {
			t.Errorf("%s: restored", bad)
		}
	}
	if _, err := Restore(t.Context(), file, destination(in("empty"))); err != nil {
		t.Error(err)
	}
	err := filepath.WalkDir(in("empty"), func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if os.Geteuid() == 0 && (stat.Uid != 4711 || stat.Gid != 4712) || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %s, of %d:%d", path, info.Mode(), stat.Uid, stat.Gid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if want := []string{"empty", "file", "full", "link"}; !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
}

// TestRestoreOnlyWhereNobodyElseMayWrite: a place where another user could put something else is refused.
func TestRestoreOnlyWhereNobodyElseMayWrite(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Restore(t.Context(), file, destination(filepath.Join(open, "new")))
	if err == nil || !strings.Contains(err.Error(), "others may write to it") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(open); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestDamagedEtcd: what cannot be made of the snapshot leaves nothing.
func TestDamagedEtcd(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Write(t.Context(), file, p.Source); err != nil {
		t.Fatal(err)
	}
	dir, errDamaged := t.TempDir(), errors.New("damaged")
	d := destination(filepath.Join(dir, "new"))
	d.Etcd = func(string, string) error { return errDamaged }
	if _, err := Restore(t.Context(), file, d); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
