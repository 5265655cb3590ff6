package tree_test

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
	"strings"
	"sync"
	"syscall"
	"testing"

	"refship/deploy/tree"
)

// TestBlobs reads 3,000 blobs whole, in part and not at all, and each is the one that was asked for.
func TestBlobs(t *testing.T) {
	g := newGitRepo(t)
	_, oids := g.files(3000, 700)
	r := g.open()
	next := 0
	err := r.Blobs(t.Context(), oids, func(i int, size int64, content io.Reader) error {
		if i != next || size != 700 {
			return fmt.Errorf("blob %d of size %d where %d was to come", i, size, next)
		}
		next++
		want := fileContent(i, 700)[:[]int{700, 0, 1, 699}[i%4]]
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
	sizes, err := r.Sizes(t.Context(), oids)
	if err != nil || len(sizes) != len(oids) {
		t.Fatalf("%d sizes, %v", len(sizes), err)
	}
	for i, n := range sizes {
		if n != 700 {
			t.Fatalf("blob %d has size %d", i, n)
		}
	}
}

func TestBlobsOfNothing(t *testing.T) {
	r := newGitRepo(t).open()
	if err := r.Blobs(t.Context(), nil, readNothing); err != nil {
		t.Error(err)
	}
	if sizes, err := r.Sizes(t.Context(), nil); err != nil || len(sizes) != 0 {
		t.Error(sizes, err)
	}
}

// TestFullPipes asks for far more than fits the pipe to git, of which each answer is larger than the pipe from git:
// whoever wrote all requests before reading, or the other way round, would hang here.
func TestFullPipes(t *testing.T) {
	g := newGitRepo(t)
	large := g.blob(fileContent(1, 100_000))
	oids := make([]tree.OID, 2500) // 125 KB of requests, where a pipe holds 64
	for i := range oids {
		oids[i] = large
	}
	n := 0
	err := g.open().Blobs(t.Context(), oids, func(_ int, size int64, content io.Reader) error {
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
	g := newGitRepo(t)
	content := strings.Repeat(fileContent(1, 1<<20), size>>20)
	oid := g.blob(content)
	want := sha256.Sum256([]byte(content))
	r := g.open()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := r.Blobs(t.Context(), []tree.OID{oid}, func(_ int, size int64, rd io.Reader) error {
		blob, sum := tree.HashBlob(size), sha256.New()
		n, err := io.CopyBuffer(io.MultiWriter(blob, sum), rd, make([]byte, 64<<10))
		if n != size || tree.FromSHA1([20]byte(blob.Sum(nil))) != oid || !bytes.Equal(sum.Sum(nil), want[:]) {
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
func works(t *testing.T, r *tree.Repository, oids []tree.OID) {
	t.Helper()
	n := 0
	err := r.Blobs(context.Background(), oids, func(i int, size int64, content io.Reader) error {
		n++
		b, err := io.ReadAll(content)
		if string(b) != fileContent(i, int(size)) {
			return fmt.Errorf("blob %d has other bytes", i)
		}
		return err
	})
	if err != nil || n != len(oids) {
		t.Fatalf("afterwards: %d blobs, %v", n, err)
	}
}

func TestBlobsStopped(t *testing.T) {
	g := newGitRepo(t)
	_, oids := g.files(2500, 3000)
	stop := errors.New("enough")
	for _, at := range []int{0, 1, 499, 500, 2499} {
		t.Run(fmt.Sprint("error at ", at), func(t *testing.T) {
			r := g.open()
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
		r := g.open()
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
		r := g.open()
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
		r := g.open()
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
		var git *tree.GitError
		if !errors.As(err, &git) || !strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), g.dir) {
			t.Error(err)
		}
		works(t, r, oids)
	})
	t.Run("git killed between", func(t *testing.T) {
		r := g.open()
		if err := syscall.Kill(r.GitPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var git *tree.GitError
		if _, err := r.Sizes(t.Context(), oids); !errors.As(err, &git) || !strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
		works(t, r, oids)
	})
	t.Run("pack gone bad", func(t *testing.T) {
		bad := newGitRepo(t)
		_, oids := bad.files(300, 3000)
		packs, err := filepath.Glob(filepath.Join(bad.dir, "objects/pack/*.pack"))
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
		r := bad.open()
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
	g := newGitRepo(t)
	_, oids := g.files(2, 3000)
	var kept io.Reader
	err := g.open().Blobs(t.Context(), oids, func(i int, _ int64, content io.Reader) error {
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
	g := newGitRepo(t)
	_, oids := g.files(2500, 3000)
	r, err := tree.OpenRepository(t.Context(), g.dir, nil)
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
	if err := <-done; !errors.Is(err, tree.ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Raw(oids[0]); !errors.Is(err, tree.ErrClosed) {
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
	g := newGitRepo(t)
	_, oids := g.files(2500, 3000)
	stop := errors.New("server stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := tree.OpenRepository(ctx, g.dir, nil)
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
	g := newGitRepo(t)
	_, oids := g.files(2, 10)
	r := g.open()
	err := r.Blobs(t.Context(), oids, func(int, int64, io.Reader) error {
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() {
			_, err := r.Sizes(ctx, oids)
			waited <- err
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
	g := newGitRepo(t)
	commit, oids := g.files(600, 900)
	r := g.open()
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
					if string(b) != fileContent(i, 900) {
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
