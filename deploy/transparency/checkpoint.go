package transparency

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"refship/deploy/record"
)

// Checkpoint is the head of a log.
type Checkpoint struct {
	Chain record.ChainID
	Size  record.ID // the id of the newest deploy in it; 0: none
	Root  tlog.Hash
}

// originPrefix begins a checkpoint.
const originPrefix = "refship/"

// Origin names the log, and the keys that sign for it.
func (c Checkpoint) Origin() string { return originPrefix + string(c.Chain) }

// Text is the checkpoint without signatures.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin(), c.Size, c.Root)
}

// Sign gives the checkpoint as a note, signed by ed25519 keys.
func (c Checkpoint) Sign(signers ...*Signer) ([]byte, error) {
	all := make([]note.Signer, len(signers))
	for i, s := range signers {
		all[i] = s
	}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, all...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

// OpenCheckpoint reads a note that at least one of the keys has signed.
func OpenCheckpoint(signed []byte, keys ...note.Verifier) (Checkpoint, error) {
	opened, err := note.Open(signed, note.VerifierList(keys...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	c, err := parseText(opened.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	return c, nil
}

// IsExact tells whether a note is byte for byte what Sign gives with one key that has the log's own name. Any other
// bytes that say the same were not written by refship.
func (c Checkpoint) IsExact(signed []byte) bool {
	rest, ok := strings.CutPrefix(string(signed), c.Text()+"\n— "+c.Origin()+" ")
	encoded, isLine := strings.CutSuffix(rest, "\n")
	if !ok || !isLine || strings.ContainsAny(encoded, "\r\n") { // which decoding would pass over
		return false
	}
	_, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return err == nil
}

// ReadCheckpoint reads a note without looking at its signatures.
func ReadCheckpoint(signed []byte) (Checkpoint, error) {
	var unknown *note.UnverifiedNoteError
	_, err := note.Open(signed, note.VerifierList())
	if !errors.As(err, &unknown) {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err) // no note is signed by none of no keys
	}
	c, err := parseText(unknown.Note.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return c, nil
}

// parseText reads what Text writes, and nothing else.
func parseText(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	chain, isOurs := strings.CutPrefix(lines[0], originPrefix)
	if len(lines) != 4 || !isOurs {
		return c, errors.New("it is no checkpoint of a chain")
	}
	c.Chain = record.ChainID(chain)
	if lines[1] != "0" {
		if c.Size, err = record.ParseID(lines[1]); err != nil {
			return c, err
		}
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return c, err
	}
	if c.Text() != text {
		return c, errors.New("it is not in canonical form")
	}
	return c, nil
}

// ErrForked: a log does not extend an earlier one.
var ErrForked = errors.New("the log does not extend the earlier one: one of the two histories was written anew")

// IsDamage tells whether an error says that values are wrong, and not that they could not be read.
func IsDamage(err error) bool { return errors.Is(err, ErrForked) || errors.Is(err, errSize) }

// CheckExtends proves that a log extends an earlier one: that it has the same leaves up to there. It reads the values
// that the proof needs.
func CheckExtends(earlier, later Checkpoint, read Reader) error {
	if earlier.Chain != later.Chain || earlier.Size > later.Size {
		return ErrForked
	}
	if earlier.Size == 0 || earlier.Size == later.Size {
		if earlier.Size != 0 && earlier.Root != later.Root {
			return ErrForked
		}
		return nil
	}
	proof, err := tlog.ProveTree(int64(later.Size), int64(earlier.Size), read.hashes())
	if err != nil {
		return fmt.Errorf("prove that deploy %d extends deploy %d: %w", later.Size, earlier.Size, err)
	}
	err = tlog.CheckTree(proof, int64(later.Size), later.Root, int64(earlier.Size), earlier.Root)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrForked, err)
	}
	return nil
}

// Signer signs notes with an SSH key.
type Signer struct {
	note.Verifier
	key ssh.Signer
}

// NewSigner makes a signer of an ed25519 key; name goes into the note, and has neither spaces nor a plus sign.
func NewSigner(name string, key ssh.Signer) (*Signer, error) {
	verifier, err := NewVerifier(name, key.PublicKey())
	if err != nil {
		return nil, err
	}
	return &Signer{verifier, key}, nil
}

// Sign signs a note's text.
func (s *Signer) Sign(text []byte) ([]byte, error) {
	signature, err := s.key.Sign(rand.Reader, text)
	if err != nil {
		return nil, err
	}
	return signature.Blob, nil // an ed25519 key makes no other format
}

// NewVerifier makes a verifier of an ed25519 key, as a note has it under a name.
func NewVerifier(name string, key ssh.PublicKey) (note.Verifier, error) {
	parsed, err := ssh.ParsePublicKey(key.Marshal()) // an agent's key is of another type
	if err != nil {
		return nil, err
	}
	crypto, ok := parsed.(ssh.CryptoPublicKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %s signs no notes", key.Type())
	}
	public, ok := crypto.CryptoPublicKey().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %s signs no notes: only ed25519 does", key.Type())
	}
	encoded, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(encoded)
}
