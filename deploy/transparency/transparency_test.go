package transparency_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/transparency"
)

const chain = "00112233445566778899aabbccddeeff"

// log is the values of a log in memory, by id.
type log struct {
	values map[record.ID][]byte
	read   int // values
}

func (l *log) reader(ids []record.ID) ([][]byte, error) {
	var found [][]byte
	for _, id := range ids {
		l.read++
		found = append(found, l.values[id])
	}
	return found, nil
}

func leaf(id record.ID) []byte { return fmt.Appendf(nil, "record %d", id) }

func newLog(t testing.TB, size record.ID) *log {
	t.Helper()
	l := &log{values: map[record.ID][]byte{}}
	l.grow(t, size, leaf)
	return l
}

func (l *log) grow(t testing.TB, size record.ID, leaf func(record.ID) []byte) {
	t.Helper()
	for id := record.ID(len(l.values)) + 1; id <= size; id++ {
		tree, err := transparency.ReadTree(id-1, l.reader)
		if err != nil {
			t.Fatal(err)
		}
		l.values[id] = tree.Append(transparency.LeafHash(leaf(id)))
	}
}

func (l *log) checkpoint(t testing.TB, size record.ID) transparency.Checkpoint {
	t.Helper()
	root, err := transparency.Root(size, l.reader)
	if err != nil {
		t.Fatal(err)
	}
	return transparency.Checkpoint{Chain: chain, Size: size, Root: root}
}

// The roots are those of sumdb's own log, which keeps its hashes in one list.
func TestRootsAreThoseOfTlog(t *testing.T) {
	t.Parallel()
	l := newLog(t, 130)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, err error) {
		for _, i := range indexes {
			found = append(found, stored[i])
		}
		return found, nil
	})
	for n := range int64(130) {
		hashes, err := tlog.StoredHashes(n, leaf(record.ID(n+1)), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		want, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.checkpoint(t, record.ID(n+1)).Root; got != want {
			t.Fatalf("the root of %d is %s, want %s", n+1, got, want)
		}
	}
	const ofNothing = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" // RFC 6962: sha256
	if got := l.checkpoint(t, 0).Root; got.String() != ofNothing {
		t.Errorf("the root of an empty log is %s", got)
	}
}

// A log that grew extends each earlier head of it, and none of another log. A proof reads only what it needs.
func TestExtends(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		size := record.ID(rapid.IntRange(1, 200).Draw(rt, "size"))
		earlier := record.ID(rapid.IntRange(0, int(size)).Draw(rt, "earlier"))
		l := newLog(t, size)
		before, now := l.checkpoint(t, earlier), l.checkpoint(t, size)
		l.read = 0
		if err := transparency.CheckExtends(before, now, l.reader); err != nil {
			rt.Fatal(err)
		}
		if most := 2*bits.Len(uint(size)) + 2; l.read > most*2 {
			rt.Fatalf("%d values are read for %d and %d", l.read, earlier, size)
		}
		if err := transparency.CheckLeaf(size/2+1, leaf(size/2+1), now, l.reader); err != nil {
			rt.Fatal(err)
		}
		if transparency.CheckLeaf(size/2+1, []byte("another"), now, l.reader) == nil {
			rt.Fatal("another leaf is found")
		}
		if earlier == 0 {
			return
		}
		// One of the leaves was written anew, and all above it.
		changed := record.ID(rapid.IntRange(1, int(earlier)).Draw(rt, "changed"))
		forked := newLog(t, changed-1)
		forked.grow(t, size, func(id record.ID) []byte {
			if id == changed {
				return []byte("another")
			}
			return leaf(id)
		})
		err := transparency.CheckExtends(before, forked.checkpoint(t, size), forked.reader)
		if !errors.Is(err, transparency.ErrForked) {
			rt.Fatalf("a fork at %d: %v", changed, err)
		}
		if size > earlier {
			if err := transparency.CheckExtends(now, before, l.reader); !errors.Is(err, transparency.ErrForked) {
				rt.Fatalf("an older head: %v", err)
			}
		}
	})
}

// Every bit of a value that a root needs changes it, or is found to be of another length.
func TestValuesAreCorrupted(t *testing.T) {
	t.Parallel()
	const size = 11
	l := newLog(t, size)
	root := l.checkpoint(t, size).Root
	noticed := 0
	for id, value := range l.values {
		for at := range value {
			l.values[id] = bytes.Clone(value)
			l.values[id][at] ^= 1
			if l.checkpoint(t, size).Root != root {
				noticed++
			}
		}
		for _, bad := range [][]byte{nil, value[1:], append(bytes.Clone(value), 0)} {
			l.values[id] = bad
			got, err := transparency.Root(size, l.reader)
			if err == nil && got != root {
				t.Errorf("deploy %d has %d bytes, and that is hashed", id, len(bad))
			}
		}
		l.values[id] = value
	}
	if noticed != 3*tlog.HashSize { // 11 is 8 + 2 + 1
		t.Errorf("%d bytes change the root, want %d", noticed, 3*tlog.HashSize)
	}
}

// A checkpoint is a note that sumdb's own code opens, and no byte of it can be changed.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	c := newLog(t, 5).checkpoint(t, 5)
	signer, err := transparency.NewSigner("refship.example.org", fixture.Signer(1))
	if err != nil {
		t.Fatal(err)
	}
	other, err := transparency.NewSigner("witness", fixture.Signer(2))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.Sign(signer, other)
	if err != nil {
		t.Fatal(err)
	}
	want := "refship/" + chain + "\n5\n" + c.Root.String() + "\n"
	opened, err := note.Open(signed, note.VerifierList(signer.Verifier, other.Verifier))
	if err != nil || opened.Text != want || len(opened.Sigs) != 2 {
		t.Errorf("opened %+v, %v", opened, err)
	}
	if got, err := transparency.OpenCheckpoint(signed, other.Verifier); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	for at := range signed {
		bad := bytes.Clone(signed)
		bad[at] ^= 1
		if got, err := transparency.OpenCheckpoint(bad, signer.Verifier); err == nil && got != c {
			t.Errorf("byte %d is changed, and it says %+v", at, got)
		}
	}
	stranger, _ := transparency.NewSigner("refship.example.org", fixture.Signer(3))
	if _, err := transparency.OpenCheckpoint(signed, stranger.Verifier); err == nil {
		t.Error("a stranger's key opens it")
	}
}

// What is signed, and is no checkpoint in the one form that there is, is refused.
func TestOtherNotes(t *testing.T) {
	t.Parallel()
	signer, err := transparency.NewSigner("s", fixture.Signer(1))
	if err != nil {
		t.Fatal(err)
	}
	root := newLog(t, 1).checkpoint(t, 1).Root.String()
	for _, text := range []string{
		"hello\n", "refship/x\n1\n", "other/x\n1\n" + root + "\n", "refship/x\n01\n" + root + "\n",
		"refship/x\n-1\n" + root + "\n", "refship/x\n1\n" + root[1:] + "\n", "refship/x\n1\n" + root + "\nmore\n",
		"refship/x\n\n" + root + "\n", "refship/x\n99999999999999999999\n" + root + "\n",
	} {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := transparency.OpenCheckpoint(signed, signer.Verifier); err == nil {
			t.Errorf("%q is %+v", text, c)
		}
	}
}

func TestForeignLeaf(t *testing.T) {
	t.Parallel()
	const sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	for hash, want := range map[record.Hash]string{"": "-", "abc": "abc"} {
		if got := string(transparency.ForeignLeaf(7, []byte("x"), hash)); got != "foreign 7\n"+sum+"\n"+want+"\n" {
			t.Errorf("%q", got)
		}
	}
}

// Other keys than ed25519 sign no notes, and names are those of notes.
func TestOtherKeys(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transparency.NewSigner("s", key); err == nil || !strings.Contains(err.Error(), "only ed25519 does") {
		t.Error(err)
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, err := transparency.NewSigner(name, fixture.Signer(1)); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}
