package tree

import "fmt"

// Format is a repository's object format: the hash that names its objects (gitformat-pack(5), extensions.objectFormat
// in git-config(1)). The zero value is SHA-1.
type Format uint8

// The formats.
const (
	FormatSHA1 Format = iota
	FormatSHA256
)

// Formats are those that git knows, as git calls them.
func Formats() []string { return []string{FormatSHA1.String(), FormatSHA256.String()} }

// ParseFormat reads a format as git calls it: "sha1" or "sha256".
func ParseFormat(name string) (Format, error) {
	for _, f := range []Format{FormatSHA1, FormatSHA256} {
		if name == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q is no object format that refship knows", name)
}

// String is what git calls the format.
func (f Format) String() string {
	if f == FormatSHA256 {
		return "sha256"
	}
	return "sha1"
}

// Size is the length of an oid in bytes.
func (f Format) Size() int {
	if f == FormatSHA256 {
		return 32
	}
	return 20
}
