package secret

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// suffix is what the name of an encrypted file ends with.
const suffix = ".age"

// mode is that of a decrypted file.
const mode = 0o600

// ReasonDecrypt: a file cannot be decrypted with the node's identity. About: its path.
const ReasonDecrypt fault.Reason = "decrypt"

// Made is a file that was decrypted.
type Made struct {
	Path   string // in the release, with slashes
	Size   int64  // bytes
	SHA256 string // 64 hex digits
}

// Decrypt decrypts all files x.age below a directory. What the identity is no recipient of is left out if optional, and
// its path is given in left; else it is a fault.Refused, as is what is no file of age. Then some files may have been
// decrypted.
func (id *Identity) Decrypt(ctx context.Context, dir *os.Root, optional bool) (made []Made, left []string, err error) {
	err = fs.WalkDir(dir.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("look for encrypted files: %w", err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !entry.Type().IsRegular() || !strings.HasSuffix(path, suffix):
			return nil
		}
		one, err := id.decrypt(dir, path)
		var none *age.NoIdentityMatchError
		switch {
		case optional && errors.As(err, &none):
			left = append(left, path)
		case errors.As(err, &none):
			return refuse(path, "it is not encrypted for this node", err)
		case err != nil:
			return err
		default:
			made = append(made, one)
		}
		return nil
	})
	return made, left, err
}

func refuse(path, why string, cause error) error {
	return &fault.Error{
		Kind: fault.Refused, Reason: ReasonDecrypt, About: []string{path},
		What: fmt.Sprintf("decrypt %s: %s", text.Mention(path), why), Cause: cause,
	}
}

// decrypt decrypts one file. Nothing is left of it where that fails.
func (id *Identity) decrypt(dir *os.Root, path string) (made Made, err error) {
	plain := strings.TrimSuffix(path, suffix)
	if plain == "" || strings.HasSuffix(plain, "/") {
		return made, refuse(path, "it has no name without .age", nil)
	}
	if name := plain[strings.LastIndexByte(plain, '/')+1:]; tree.CheckName(name) != nil {
		return made, refuse(path, fmt.Sprintf("%s %v", text.Mention(name), tree.CheckName(name)), nil)
	}
	in, err := dir.Open(path)
	if err != nil {
		return made, fmt.Errorf("decrypt: %w", err)
	}
	defer in.Close()
	content, err := id.reader(in)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return made, err
	case err != nil:
		return made, refuse(path, err.Error(), err)
	}
	out, err := dir.OpenFile(plain, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return made, refuse(path, "the release has "+text.Mention(plain)+", too", err)
	case err != nil:
		return made, fmt.Errorf("decrypt: %w", err)
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, sum), content)
	closed := out.Close()
	switch {
	case err != nil && isOfDisk(err):
		err = fmt.Errorf("decrypt %s: %w", text.Mention(path), err)
	case err != nil:
		err = refuse(path, err.Error(), err)
	default:
		err = closed
	}
	if err != nil {
		return made, errors.Join(err, dir.Remove(plain))
	}
	return Made{Path: plain, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// isOfDisk tells an error of a file from one of age.
func isOfDisk(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// reader gives what a file of age says.
func (id *Identity) reader(in io.Reader) (io.Reader, error) {
	r := bufio.NewReader(in)
	begin, _ := r.Peek(len(armor.Header)) // what is shorter is no file of age, which Decrypt says
	if string(begin) == armor.Header {
		return age.Decrypt(armor.NewReader(r), id.identities...)
	}
	return age.Decrypt(r, id.identities...)
}
