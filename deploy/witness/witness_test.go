package witness_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

const (
	ns      = "/refship/config"
	chainID = "00112233445566778899aabbccddeeff"
)

var at = time.Unix(1_700_000_000, 0)

func authorized(n byte) string {
	return string(ssh.MarshalAuthorizedKey(fixture.Signer(n).PublicKey()))
}

// policy reads a file with witnesses w1, w2 … that have the keys 1, 2 ….
func policy(t *testing.T, n, quorum int) *witness.Policy {
	t.Helper()
	lines := "# the witnesses\n\n"
	for i := range n {
		lines += fmt.Sprintf("w%d %s", i+1, authorized(byte(i+1)))
	}
	p, err := readPolicy(t, lines, quorum)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readPolicy(t *testing.T, lines string, quorum int) (*witness.Policy, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "witnesses")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return witness.ReadPolicy(path, quorum)
}

// A cosigned checkpoint is a note that package note opens, signed as C2SP's tlog-cosignature has it, and no byte of it
// can be changed.
func TestCosign(t *testing.T) {
	t.Parallel()
	cp := transparency.Checkpoint{Chain: chainID, Size: 7, Root: transparency.LeafHash([]byte("x"))}
	signed, err := witness.Cosign(cp, "w1", fixture.Signer(1), at)
	if err != nil {
		t.Fatal(err)
	}
	w := policy(t, 1, 1).Witnesses[0]
	opened, err := note.Open(signed, note.VerifierList(w.Verifier()))
	if err != nil || opened.Text != cp.Text() || len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) != 0 {
		t.Fatalf("%+v, %v", opened, err)
	}
	// As C2SP says it, without this package.
	blob, err := base64.StdEncoding.DecodeString(opened.Sigs[0].Base64)
	if err != nil || len(blob) != 4+8+64 {
		t.Fatal(len(blob), err)
	}
	seconds := binary.BigEndian.Uint64(blob[4:])
	public := fixture.Signer(1).PublicKey().(ssh.CryptoPublicKey).CryptoPublicKey().(ed25519.PublicKey)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", seconds, cp.Text())
	if seconds != uint64(at.Unix()) || !ed25519.Verify(public, []byte(message), blob[12:]) {
		t.Errorf("at %d another message is signed", seconds)
	}
	parsed, err := witness.ParseCosignature(signed)
	if err != nil || parsed.Checkpoint != cp || parsed.Name != "w1" || !parsed.Time.Equal(at) || !w.Verify(parsed) {
		t.Fatalf("%+v, %v", parsed, err)
	}
	for i := range signed {
		for _, bad := range [][]byte{flip(signed, i), append(bytes.Clone(signed[:i]), signed[i+1:]...), signed[:i],
			append(append(bytes.Clone(signed[:i]), '\n'), signed[i:]...)} {
			if c, err := witness.ParseCosignature(bad); err == nil && w.Verify(c) {
				t.Errorf("byte %d is changed, and it is still good: %q", i, bad)
			}
		}
	}
	for i := range 4 {
		if other := policy(t, i+2, 1).Witnesses[i+1]; other.Verify(parsed) {
			t.Errorf("it is also by %s", other.Name)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// Other keys cosign nothing, and a name that cannot be in a key of etcd is refused.
func TestOthersCosignNothing(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cp := transparency.Checkpoint{Chain: chainID, Size: 1}
	if _, err := witness.Cosign(cp, "w1", other, at); err == nil || !strings.Contains(err.Error(), "only ed25519 does") {
		t.Error(err)
	}
	for _, name := range []string{"", "a b", "a/b", "a+b", ".."} {
		if _, err := witness.Cosign(cp, name, fixture.Signer(1), at); err == nil {
			t.Errorf("%q cosigns", name)
		}
	}
	if _, err := readPolicy(t, "w1 "+string(ssh.MarshalAuthorizedKey(other.PublicKey())), 1); err == nil {
		t.Error("it is a witness")
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		"":                       "it names no witness",
		"# nobody\n":             "it names no witness",
		"w1\n":                   "line 1: it is not NAME and a public key",
		"\nw/1 " + authorized(1): "line 2: ",
		"w1 " + authorized(1) + "w1 " + authorized(2): "line 2: name or key of w1 is there already",
		"w1 " + authorized(1) + "w2 " + authorized(1): "line 2: name or key of w1 is there already",
	} {
		if _, err := readPolicy(t, lines, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
	}
	if p := policy(t, 3, 0); p.Quorum != 3 {
		t.Errorf("quorum %d", p.Quorum)
	}
	for _, quorum := range []int{-1, 3} {
		_, err := readPolicy(t, "w1 "+authorized(1)+"w2 "+authorized(2), quorum)
		fixture.WantFault(t, fault.Usage, err, "cannot be met", "")
	}
}

// held is a chain in memory, which counts what is read.
type held struct {
	keys map[string]string
	read int
}

func (h *held) Read(_ context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	if len(queries) > store.MaxQueries {
		return nil, 0, fmt.Errorf("%d queries", len(queries))
	}
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		h.read++
		if value, ok := h.keys[q.Key]; ok {
			found[i] = []store.KeyValue{{Key: q.Key, Value: []byte(value), Revision: 1}}
		}
	}
	return found, 1, nil
}

// newHeld makes a chain of n signed deploys with its log, that has its own history from a deploy on.
func newHeld(t *testing.T, n, from record.ID) (*held, *store.Chain) {
	t.Helper()
	h := &held{keys: map[string]string{}}
	chain := store.New(h, ns)
	log := new(transparency.Tree)
	var below record.Ref
	previous := record.Hash("")
	for id := record.ID(1); id <= n; id++ {
		hash := record.Hash(fmt.Sprintf("%040x", uint64(id)))
		if id >= from {
			hash = record.Hash(fmt.Sprintf("%040x", 1000+uint64(id)))
		}
		signer := fixture.Signer(100)
		r := &record.Record{
			Format: 1, Namespace: ns, Chain: chainID, ID: id, Kind: record.KindPush, Hash: hash, Tree: fixture.OID(string(hash)), TreeSHA256: sha256.Sum256(nil),
			Commits: 1, Frontend: record.Files, PreviousHash: previous, PreviousRecord: below, Undone: []record.Undone{},
			Signer: ssh.FingerprintSHA256(signer.PublicKey()), Time: at.UTC(),
		}
		d, err := record.NewDeploy(r, signer)
		if err != nil {
			t.Fatal(err)
		}
		previous, below = hash, record.Ref{ID: id, SHA256: record.Sum(d.RecordBytes)}
		h.keys[chain.DeployKey(id, record.KeyRecord)] = string(d.RecordBytes)
		h.keys[chain.DeployKey(id, record.KeyHash)] = string(hash)
		h.keys[chain.DeployKey(id, record.KeySignature)] = string(d.Signature)
		h.keys[chain.LogKey(id)] = string(log.Append(transparency.LeafHash(d.RecordBytes)))
		cp := transparency.Checkpoint{Chain: chainID, Size: id, Root: log.Root()}
		s, err := transparency.NewSigner(cp.Origin(), signer)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := cp.Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		h.keys[chain.Key(store.CheckpointKey)] = string(signed)
	}
	h.keys[chain.Key("head")] = n.String()
	return h, chain
}

// cosign has witnesses cosign the log up to a deploy.
func (h *held) cosign(t *testing.T, chain *store.Chain, size record.ID, witnesses ...byte) {
	t.Helper()
	root, err := transparency.Root(size, chain.LogReader(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range witnesses {
		name := fmt.Sprintf("w%d", n)
		signed, err := witness.Cosign(transparency.Checkpoint{Chain: chainID, Size: size, Root: root}, name, fixture.Signer(n), at)
		if err != nil {
			t.Fatal(err)
		}
		h.keys[witness.CosignatureKey(chain, size, name)] = string(signed)
	}
}

// The newest deploy counts that enough witnesses have cosigned, each once, and of one and the same history.
func TestCovered(t *testing.T) {
	t.Parallel()
	h, chain := newHeld(t, 60, 1000)
	h.cosign(t, chain, 20, 1, 2, 3)
	h.cosign(t, chain, 40, 1, 2)
	h.cosign(t, chain, 50, 3)
	h.keys[witness.CosignatureKey(chain, 50, "w1")] = h.keys[witness.CosignatureKey(chain, 40, "w1")]
	h.keys[witness.CosignatureKey(chain, 50, "w2")] = h.keys[witness.CosignatureKey(chain, 50, "w3")]
	other, otherChain := newHeld(t, 60, 45)
	other.cosign(t, otherChain, 55, 1)
	h.keys[witness.CosignatureKey(chain, 55, "w1")] = other.keys[witness.CosignatureKey(chain, 55, "w1")]
	h.cosign(t, chain, 55, 2)
	for quorum, want := range map[int]record.ID{2: 40, 3: 20} {
		c, err := policy(t, 3, quorum).Covered(t.Context(), chain, 60)
		if err != nil || c.Size != want || c.Deploy.ID != want || len(c.Names) < quorum {
			t.Errorf("quorum %d: %+v, %v", quorum, c, err)
		}
	}
	_, err := policy(t, 4, 4).Covered(t.Context(), chain, 60)
	fixture.WantFault(t, fault.Corrupt, err, "is cosigned by 4 of 4 witnesses: the most is 3", "not-cosigned")
	c, err := policy(t, 3, 2).Covered(t.Context(), chain, 60)
	if err != nil {
		t.Fatal(err)
	}
	has := func(chain *store.Chain, id record.ID) error {
		t.Helper()
		d, err := chain.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Has(t.Context(), chain, d)
	}
	if err := has(chain, 3); err != nil {
		t.Error(err)
	}
	fixture.WantFault(t, fault.Corrupt, has(chain, 41), "no cosigned checkpoint covers deploy 41: the newest covers those up to deploy 40", "")
	// A single witness that has seen another history is enough to notice: what it has cosigned is not in the log.
	_, err = policy(t, 1, 1).Covered(t.Context(), chain, 60)
	fixture.WantFault(t, fault.Corrupt, err, "does not extend what was seen of it, deploy 55: the histories differ", "log-forked")
}

// A long chain costs what a short one does.
func TestHeadReadsLittle(t *testing.T) {
	t.Parallel()
	h, chain := newHeld(t, 400, 10_000)
	earlier, err := transparency.Root(150, chain.LogReader(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	h.read = 0
	head, err := witness.ReadHead(t.Context(), chain, nil)
	if err == nil {
		err = head.Extends(t.Context(), chain, transparency.Checkpoint{Chain: chainID, Size: 150, Root: earlier})
	}
	if err != nil || head.Size != 400 || h.read > 60 {
		t.Errorf("%d keys were read, %v", h.read, err)
	}
	h.read = 0
	h.cosign(t, chain, 100, 1)
	h.read = 0
	if c, err := policy(t, 2, 1).Covered(t.Context(), chain, 400); err != nil || c.Size != 100 || h.read > 2*400+60 {
		t.Errorf("%+v, %v after %d keys", c, err, h.read)
	}
	h.cosign(t, chain, 400, 2)
	h.read = 0
	if c, err := policy(t, 2, 1).Covered(t.Context(), chain, 400); err != nil || c.Size != 400 || h.read > 200 {
		t.Errorf("%+v, %v after %d keys", c, err, h.read)
	}
}

// A head that does not hold is refused, and a log that forked is told.
func TestHeadIsTampered(t *testing.T) {
	t.Parallel()
	h, chain := newHeld(t, 6, 10)
	older, _ := newHeld(t, 4, 10)
	fork, forkChain := newHeld(t, 6, 3)
	cp := chain.Key(store.CheckpointKey)
	whole := h.keys[cp]
	for name, c := range map[string]struct{ key, value, want string }{
		"changed":       {cp, strings.Replace(whole, "\n6\n", "\n5\n", 1), "has not signed it"},
		"no note":       {cp, "x", "malformed note"},
		"more in it":    {cp, whole + "— x AAAAAAAA\n", "it is not byte for byte what was signed"},
		"another log":   {cp, fork.keys[cp], "has not signed it"},
		"the edge":      {chain.LogKey(4), fork.keys[chain.LogKey(4)], "its root is not that of the log"},
		"a short value": {chain.LogKey(4), "x", "has 1 bytes, not 96"},
		"a record":      {chain.DeployKey(6, record.KeyRecord), "x", "record is not readable"},
	} {
		before := h.keys[c.key]
		h.keys[c.key] = c.value
		_, err := witness.ReadHead(t.Context(), chain, nil)
		if name == "another log" { // signed by the same key: the root differs
			c.want = "its root is not that of the log"
		}
		fixture.WantFault(t, fault.Corrupt, err, c.want, "")
		h.keys[c.key] = before
	}
	delete(h.keys, cp)
	_, err := witness.ReadHead(t.Context(), chain, nil)
	fixture.WantFault(t, fault.Failed, err, "/refship/config has no checkpoint", "")
	seen, err := transparency.ReadCheckpoint([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	for want, chain := range map[string]*store.Chain{
		"the histories differ": forkChain, "it has 4 deploys by now": store.New(older, ns),
	} {
		head, err := witness.ReadHead(t.Context(), chain, nil)
		if err != nil {
			t.Fatal(err)
		}
		fixture.WantFault(t, fault.Corrupt, head.Extends(t.Context(), chain, seen), want, "log-forked")
	}
}
