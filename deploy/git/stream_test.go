package git_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
)

// TestBlobs reads 3,000 blobs whole, in part and not at all, and each is the one that was asked for.
func TestBlobs(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(3000, 700)
	r := open(g)
	next := 0
	err := r.Blobs(t.Context(), oids, func(i int, size int64, content io.Reader) error {
		if i != next || size != 700 {
			return fmt.Errorf("blob %d of size %d where %d is next", i, size, next)
		}
		next++
		want := fixture.Content(i, 700)[:[]int{700, 0, 1, 699}[i%4]]
		got := make([]byte, len(want))
		if _, err := io.ReadFull(content, got); err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("blob %d has other bytes", i)
		}
		if n, err := content.Read(make([]byte, 1)); i%4 == 0 && (n != 0 || err != io.EOF) {
			return fmt.Errorf("at the end of blob %d: %d, %w", i, n, err)
		}
		return nil
	})
	if err != nil || next != len(oids) {
		t.Fatalf("%d blobs, %v", next, err)
	}
}

func TestBlobsOfNothing(t *testing.T) {
	r := open(fixture.NewRepository(t))
	if err := r.Blobs(t.Context(), nil, readNothing); err != nil {
		t.Error(err)
	}
}

// TestSizes learns the sizes of more blobs than are asked for together, and reads none.
func TestSizes(t *testing.T) {
	g := fixture.NewRepository(t)
	want, oids := []int64{}, []git.OID{}
	for i := range 5 {
		want, oids = append(want, int64(i*i)), append(oids, g.Blob(strings.Repeat("x", i*i)))
	}
	_, many := g.ManyFiles(600, 700)
	for range many {
		want = append(want, 700)
	}
	r := open(g)
	got, err := r.Sizes(t.Context(), slices.Concat(oids, many))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, oid := range []git.OID{g.OID("mktree"), fixture.OID(strings.Repeat("ab", 20))} {
		if _, err := r.Sizes(t.Context(), []git.OID{oids[0], oid}); !errors.Is(err, git.ErrNotFound) {
			t.Errorf("%s: %v", oid, err)
		}
	}
	if got, err := r.Sizes(t.Context(), nil); len(got) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	works(t, r, many)
}

// TestFullPipes asks for far more than fits the pipe to git, of which each answer is larger than the pipe from git:
// a program that wrote all requests before reading, or the other way round, would hang here.
func TestFullPipes(t *testing.T) {
	g := fixture.NewRepository(t)
	large := g.Blob(fixture.Content(1, 100_000))
	oids := make([]git.OID, 2500) // 125 KB of requests, where a pipe holds 64
	for i := range oids {
		oids[i] = large
	}
	n := 0
	err := open(g).Blobs(t.Context(), oids, func(_ int, size int64, content io.Reader) error {
		n++
		_, err := content.Read(make([]byte, 1000))
		return err
	})
	if err != nil || n != len(oids) {
		t.Errorf("%d blobs, %v", n, err)
	}
}

func TestLargeBlobInBoundedMemory(t *testing.T) {
	const size = 50 << 20
	g := fixture.NewRepository(t)
	content := strings.Repeat(fixture.Content(1, 1<<20), size>>20)
	oid := g.Blob(content)
	want := sha256.Sum256([]byte(content))
	r := open(g)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := r.Blobs(t.Context(), []git.OID{oid}, func(_ int, size int64, rd io.Reader) error {
		blob, sum := tree.HashBlob(tree.FormatSHA1, size), sha256.New()
		n, err := io.CopyBuffer(io.MultiWriter(blob, sum), rd, make([]byte, 64<<10))
		if n != size || blob.OID() != oid || !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("%d bytes, other hashes", n)
		}
		return err
	})
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Error(err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("allocated %d bytes for a blob of %d", got, size)
	}
}

// works is for the tests that stop a stream: the Repository must go on working afterwards.
func works(t *testing.T, r *git.Repository, oids []git.OID) {
	t.Helper()
	n := 0
	err := r.Blobs(context.Background(), oids, func(i int, size int64, content io.Reader) error {
		n++
		b, err := io.ReadAll(content)
		if string(b) != fixture.Content(i, int(size)) {
			return fmt.Errorf("blob %d has other bytes", i)
		}
		return err
	})
	if err != nil || n != len(oids) {
		t.Fatalf("afterwards: %d blobs, %v", n, err)
	}
}

func TestBlobsStopped(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(2500, 3000)
	stop := errors.New("enough")
	for _, at := range []int{0, 1, 499, 500, 2499} {
		t.Run(fmt.Sprint("error at ", at), func(t *testing.T) {
			r := open(g)
			err := r.Blobs(t.Context(), oids, func(i int, _ int64, content io.Reader) error {
				if i == at {
					_, _ = content.Read(make([]byte, 10))
					return stop
				}
				return nil
			})
			if !errors.Is(err, stop) {
				t.Error(err)
			}
			works(t, r, oids)
		})
	}
	t.Run("panic", func(t *testing.T) {
		r := open(g)
		func() {
			defer func() {
				if got := recover(); got != any(stop) {
					t.Error(got)
				}
			}()
			_ = r.Blobs(t.Context(), oids, func(i int, _ int64, _ io.Reader) error {
				if i == 700 {
					panic(stop)
				}
				return nil
			})
		}()
		works(t, r, oids)
	})
	t.Run("context", func(t *testing.T) {
		r := open(g)
		ctx, cancel := context.WithCancelCause(t.Context())
		last := 0
		err := r.Blobs(ctx, oids, func(i int, _ int64, content io.Reader) error {
			last = i
			if i == 700 {
				cancel(stop)
			}
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if !errors.Is(err, stop) || last > 701 {
			t.Errorf("at %d: %v", last, err)
		}
		works(t, r, oids)
		if err := r.Blobs(ctx, oids, readNothing); !errors.Is(err, stop) {
			t.Error(err)
		}
		if err := r.Blobs(ctx, nil, readNothing); !errors.Is(err, stop) {
			t.Error(err)
		}
		works(t, r, oids)
	})
	t.Run("git killed", func(t *testing.T) {
		r := open(g)
		pid := r.GitPID()
		err := r.Blobs(t.Context(), oids, func(i int, _ int64, content io.Reader) error {
			if i == 700 {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			_, err := io.Copy(io.Discard, content)
			return err
		})
		var failed *git.Error
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
		works(t, r, oids)
	})
	t.Run("git killed between", func(t *testing.T) {
		r := open(g)
		if err := syscall.Kill(r.GitPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var failed *git.Error
		if err := r.Blobs(t.Context(), oids, readNothing); !errors.As(err, &failed) ||
			!strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
		works(t, r, oids)
	})
	t.Run("pack gone bad", func(t *testing.T) {
		bad := fixture.NewRepository(t)
		_, oids := bad.ManyFiles(300, 3000)
		packs, err := filepath.Glob(filepath.Join(bad.Dir, "objects/pack/*.pack"))
		if err != nil || len(packs) != 1 {
			t.Fatal(packs, err)
		}
		b, err := os.ReadFile(packs[0])
		if err != nil {
			t.Fatal(err)
		}
		for i := len(b) / 2; i < len(b)/2+6000; i++ {
			b[i] ^= 0x55
		}
		if err := os.Chmod(packs[0], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(packs[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(bad)
		err = r.Blobs(t.Context(), oids, func(i int, size int64, content io.Reader) error {
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if err == nil {
			t.Error("not noticed")
		}
		t.Log(err)
		works(t, r, oids[:10])
	})
}

func TestContentAfterCallback(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(2, 3000)
	var kept io.Reader
	err := open(g).Blobs(t.Context(), oids, func(i int, _ int64, content io.Reader) error {
		if i == 1 {
			if n, err := kept.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		}
		kept = content
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCloseWhileReading: Close ends a running call, which says so, and leaves no process.
func TestCloseWhileReading(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(2500, 3000)
	r, err := git.OpenRepository(t.Context(), g.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	pid := r.GitPID()
	started, done := make(chan struct{}), make(chan error)
	var once sync.Once
	go func() {
		for {
			err := r.Blobs(context.Background(), oids, func(int, int64, io.Reader) error {
				once.Do(func() { close(started) })
				return nil
			})
			if err != nil {
				done <- err
				return
			}
		}
	}()
	<-started
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, git.ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Raw(oids[0]); !errors.Is(err, git.ErrClosed) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error("closed twice:", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("git %d is still there: %v", pid, err)
	}
}

func TestContextOfOpenEndsGit(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(2500, 3000)
	stop := errors.New("server stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := git.OpenRepository(ctx, g.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = r.Blobs(context.Background(), oids, func(i int, _ int64, _ io.Reader) error {
		if i == 5 {
			cancel(stop)
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := r.Raw(oids[0]); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestWaitingForATurnEnds: a call that waits for another leaves when its own context ends.
func TestWaitingForATurnEnds(t *testing.T) {
	g := fixture.NewRepository(t)
	_, oids := g.ManyFiles(2, 10)
	r := open(g)
	err := r.Blobs(t.Context(), oids, func(int, int64, io.Reader) error {
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() {
			waited <- r.Blobs(ctx, oids, readNothing)
		}()
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	g := fixture.NewRepository(t)
	commit, oids := g.ManyFiles(600, 900)
	r := open(g)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 5 {
				c, err := r.Commit(commit)
				if err != nil || c.OID != commit {
					t.Error(c, err)
				}
				err = r.Blobs(context.Background(), oids, func(i int, _ int64, content io.Reader) error {
					if w%2 == 0 && i == 300 {
						return io.ErrClosedPipe
					}
					b, err := io.ReadAll(content)
					if string(b) != fixture.Content(i, 900) {
						t.Errorf("blob %d has other bytes", i)
					}
					return err
				})
				if (w%2 == 0) != errors.Is(err, io.ErrClosedPipe) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
