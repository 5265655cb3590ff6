package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"

	"refship/deploy/record"
	"refship/deploy/transparency"
)

// The sizes of what a cosignature is made of, in bytes.
const (
	idSize    = 4
	timeSize  = 8
	algorithm = 0x04 // of cosignature/v1 by ed25519
)

// MaxCosignature bounds a cosigned checkpoint, in bytes.
const MaxCosignature = 4096

// MaxSuffixes is under how many names that are its own and .SUFFIX one key on a server may cosign one size.
const MaxSuffixes = 8

// Cosign gives a checkpoint as a note that a witness has signed at a time (C2SP tlog-cosignature, cosignature/v1). key
// is an ed25519 key.
func Cosign(cp transparency.Checkpoint, name string, key ssh.Signer, at time.Time) ([]byte, error) {
	public, err := publicKey(key.PublicKey())
	if err == nil {
		err = record.CheckNodeName(name)
	}
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(rand.Reader, message(cp.Text(), uint64(at.Unix())))
	if err != nil {
		return nil, fmt.Errorf("cosign checkpoint: %w", err)
	}
	id := keyID(name, public)
	blob := binary.BigEndian.AppendUint64(id[:], uint64(at.Unix()))
	blob = append(blob, signature.Blob...)
	return fmt.Appendf(nil, "%s\n— %s %s\n", cp.Text(), name, base64.StdEncoding.EncodeToString(blob)), nil
}

// message is what a witness signs.
func message(text string, at uint64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text)
}

// keyID names a key in a note.
func keyID(name string, public ed25519.PublicKey) (id [idSize]byte) {
	sum := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	copy(id[:], sum[:])
	return id
}

func publicKey(key ssh.PublicKey) (ed25519.PublicKey, error) {
	parsed, err := ssh.ParsePublicKey(key.Marshal()) // an agent's key is of another type
	if err != nil {
		return nil, err
	}
	if crypto, ok := parsed.(ssh.CryptoPublicKey); ok {
		if public, ok := crypto.CryptoPublicKey().(ed25519.PublicKey); ok {
			return public, nil
		}
	}
	return nil, fmt.Errorf("a key of type %s cosigns nothing: only ed25519 does", key.Type())
}

// Cosignature is a cosigned checkpoint, as it is stored. Who signed it, Witness.Verify says.
type Cosignature struct {
	transparency.Checkpoint
	Name string // what the witness calls itself
	Time time.Time

	id        [idSize]byte
	signature []byte
}

// ParseCosignature reads what Cosign gives, and nothing else.
func ParseCosignature(signed []byte) (*Cosignature, error) {
	if len(signed) > MaxCosignature {
		return nil, errors.New("it is too long for a cosigned checkpoint")
	}
	cp, err := transparency.ReadCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	line, ok := strings.CutPrefix(string(signed), cp.Text()+"\n— ")
	line, isWhole := strings.CutSuffix(line, "\n")
	name, encoded, isSigned := strings.Cut(line, " ")
	if !ok || !isWhole || !isSigned || strings.ContainsAny(line, "\r\n") {
		return nil, errors.New("it is not a checkpoint with one cosignature")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err == nil {
		err = record.CheckNodeName(name)
	}
	if err != nil {
		return nil, err
	}
	if len(blob) != idSize+timeSize+ed25519.SignatureSize {
		return nil, errors.New("its signature is no cosignature/v1")
	}
	at := binary.BigEndian.Uint64(blob[idSize:])
	if at > 1<<40 {
		return nil, errors.New("its time is absurd")
	}
	return &Cosignature{
		Checkpoint: cp, Name: name, Time: time.Unix(int64(at), 0).UTC(), id: [idSize]byte(blob),
		signature: blob[idSize+timeSize:],
	}, nil
}

// Witness is somebody whose cosignatures count.
type Witness struct {
	Name   string
	public ed25519.PublicKey
}

// NewWitness makes a witness of its name and its ed25519 key.
func NewWitness(name string, key ssh.PublicKey) (Witness, error) {
	public, err := publicKey(key)
	if err == nil {
		err = record.CheckNodeName(name)
	}
	return Witness{name, public}, err
}

// Verify says whether a cosignature is by the witness.
func (w *Witness) Verify(c *Cosignature) bool {
	return c.Name == w.Name && c.id == keyID(w.Name, w.public) &&
		ed25519.Verify(w.public, message(c.Text(), uint64(c.Time.Unix())), c.signature)
}

// Verifier is the witness's key for package note: of a note whose checkpoint it has cosigned it finds the signature.
func (w *Witness) Verifier() note.Verifier { return verifier{w} }

type verifier struct{ w *Witness }

func (v verifier) Name() string { return v.w.Name }

func (v verifier) KeyHash() uint32 {
	id := keyID(v.w.Name, v.w.public)
	return binary.BigEndian.Uint32(id[:])
}

// Verify checks a signature, which begins with the time.
func (v verifier) Verify(text, signature []byte) bool {
	if len(signature) != timeSize+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	return ed25519.Verify(v.w.public, message(string(text), at), signature[timeSize:])
}
