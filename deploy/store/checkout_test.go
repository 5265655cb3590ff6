package store_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// oneDeploy is a chain with a deploy of three files, and the last one's content may be damaged.
func oneDeploy(t *testing.T, damaged bool) (*store.Chain, *record.Deploy) {
	t.Helper()
	b := newBundle()
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 3, dir{"a": "1", "b": "2", "sub": dir{"c": "3"}})
	if damaged {
		b.keys[chain.ContentKey(sha256.Sum256([]byte("3")))] = "x"
	}
	d, err := chain.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return chain, d
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestCheckoutOnlyWhereNobodyElseMayWrite: another account that may write to the directory could put a link where root
// is about to write.
func TestCheckoutOnlyWhereNobodyElseMayWrite(t *testing.T) {
	chain, d := oneDeploy(t, false)
	for mode, refused := range map[os.FileMode]bool{
		0o755: false, 0o777: true, 0o757: true, 0o777 | os.ModeSticky: false,
	} {
		parent := t.TempDir()
		if err := os.Chmod(parent, mode); err != nil {
			t.Fatal(err)
		}
		err := chain.Checkout(t.Context(), d, filepath.Join(parent, "out"), func(text.Progress) {})
		if !refused {
			if err != nil || !slices.Equal(names(t, filepath.Join(parent, "out")), []string{"a", "b", "sub"}) {
				t.Errorf("%v: %v, there is %q", mode, err, names(t, parent))
			}
			continue
		}
		fixture.WantFault(t, fault.Refused, err, "others may write to it", "only you may write to")
		if left := names(t, parent); len(left) > 0 {
			t.Errorf("%v: there is %q", mode, left)
		}
	}
	for _, there := range []string{"/", ".", ".."} {
		err := chain.Checkout(t.Context(), d, there, func(text.Progress) {})
		fixture.WantFault(t, fault.Failed, err, "is there already", "")
	}
}

// TestCheckoutStaysInTheDirectoryThatItOpened: its path leads somewhere else half-way.
func TestCheckoutStaysInTheDirectoryThatItOpened(t *testing.T) {
	for _, ends := range []bool{false, true} {
		chain, d := oneDeploy(t, ends)
		scratch := t.TempDir()
		parent, moved, victim := filepath.Join(scratch, "p"), filepath.Join(scratch, "moved"), filepath.Join(scratch, "v")
		for _, made := range []string{parent, victim} {
			if err := os.Mkdir(made, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		swap := sync.OnceFunc(func() {
			if err := os.Rename(parent, moved); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, parent); err != nil {
				t.Fatal(err)
			}
			if ends {
				// What is removed afterwards is what was made, and not what has its name in the other directory.
				if err := os.MkdirAll(filepath.Join(victim, names(t, moved)[0], "kept"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		})
		err := chain.Checkout(t.Context(), d, filepath.Join(parent, "out"), func(text.Progress) { swap() })
		want, wantVictim := []string{"out"}, 0
		if ends {
			want, wantVictim = nil, 1
		}
		if (err != nil) != ends || !slices.Equal(names(t, moved), want) || len(names(t, victim)) != wantVictim {
			t.Errorf("ends %v: %v, made %q, elsewhere %q", ends, err, names(t, moved), names(t, victim))
		}
	}
}

// TestCheckoutFollowsNoLinkThatWasSwappedIn: somebody replaces the directory as soon as its name can be seen.
func TestCheckoutFollowsNoLinkThatWasSwappedIn(t *testing.T) {
	const rounds = 150
	chain, d := oneDeploy(t, false)
	parent, victim := t.TempDir(), t.TempDir()
	inside := filepath.Join(parent, "inside")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			entries, err := os.ReadDir(parent)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), ".refship-") || !e.IsDir() {
					continue
				}
				path := filepath.Join(parent, e.Name())
				if os.Rename(path, filepath.Join(parent, fmt.Sprint("moved-", i))) == nil {
					_ = os.Symlink([]string{victim, inside}[i%2], path) // gone already is as good
				}
			}
		}
	})
	defer all.Wait()
	defer close(stop)
	for i := range rounds {
		// It may fail, or not: what it must not do is below.
		_ = chain.Checkout(t.Context(), d, filepath.Join(parent, fmt.Sprint("out-", i)), func(text.Progress) {})
		if len(names(t, victim))+len(names(t, inside)) > 0 {
			t.Fatalf("round %d wrote %q and %q through a link", i, names(t, victim), names(t, inside))
		}
	}
}
