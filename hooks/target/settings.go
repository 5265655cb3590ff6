package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// Settings are what concerns all targets: MaxStored, and what an installed hook knows besides. Names of files are
// absolute. The zero value of each field is that it is not set.
type Settings struct {
	MaxStored    record.Limit // what each target's namespace may hold in etcd
	Repository   string       // name in records
	Endpoints    []string
	CACert       string
	Cert         string
	Key          string
	User         string // without a password
	PasswordFile string
	SigningKey   string

	AllowedSigners string // whose signatures count; "": that is not known
}

// IsZero tells whether nothing is set.
func (s Settings) IsZero() bool { return s.equal(Settings{}) }

func (s Settings) equal(o Settings) bool {
	differs := func(known setting[Settings]) bool { return known.get(s) != known.get(o) }
	return !slices.ContainsFunc(plainSettings, differs)
}

// Secrets are the files that hold secrets.
func (s Settings) Secrets() []string {
	var paths []string
	for _, known := range plainSettings {
		if path := known.get(s); known.file == secretFile && path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

const passwordRemedy = "put the password into a file that others cannot read, and name that: " +
	"git config refship.password-file /PATH"

// Validate says what of s is not usable, as far as that shows without a look at files.
func (s Settings) Validate() error {
	for _, known := range plainSettings {
		switch value := known.get(s); {
		case !isOneLine(value):
			return fmt.Errorf("refship.%s = %q is not one line of printable UTF-8", known.name, text.Clip(value))
		case known.file != noFile && value != "" && !filepath.IsAbs(value):
			return fault.Refuse("hooks run in another directory: name the file from the root on",
				"refship.%s = %s is not absolute", known.name, value)
		}
	}
	for _, e := range s.Endpoints {
		if e == "" || strings.ContainsAny(e, ", \t") {
			return fault.Refuse("addresses are separated by single commas: https://a:2379,https://b:2379",
				"refship.endpoints has the address %q", text.Clip(text.Endpoints(e)))
		}
	}
	half := func(set, unset string) error {
		return fault.Refuse("set both, or none", "refship.%s is set, and refship.%s is not", set, unset)
	}
	switch {
	case s.Cert != "" && s.Key == "":
		return half("cert", "key")
	case s.Key != "" && s.Cert == "":
		return half("key", "cert")
	case s.User != "" && s.PasswordFile == "":
		return half("user", "password-file")
	case s.PasswordFile != "" && s.User == "":
		return half("password-file", "user")
	case strings.Contains(s.User, ":"):
		return fault.Refuse(passwordRemedy, "refship.user has a colon: passwords do not belong in git's config")
	}
	return nil
}

func isOneLine(value string) bool {
	notPrintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return utf8.ValidString(value) && !strings.ContainsFunc(value, notPrintable) && strings.TrimSpace(value) == value
}

// CheckFiles says which file of s does not exist, or is a secret that others can read.
func (s Settings) CheckFiles() error {
	for _, known := range plainSettings {
		path := known.get(s)
		if known.file == noFile || path == "" {
			continue
		}
		refuse := func(remedy, what string) error {
			return fault.Refuse(remedy, "refship.%s = %s %s", known.name, path, what)
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return refuse("make that file, or name another", "does not exist")
		case err != nil:
			return fmt.Errorf("look at refship.%s: %w", known.name, err)
		case !info.Mode().IsRegular():
			return refuse("name a file", "is not a file")
		case known.file == secretFile && info.Mode().Perm()&0o007 != 0:
			return refuse("chmod o= "+text.Quote(path),
				fmt.Sprintf("is a secret that everybody on this machine can use: its mode is %04o", info.Mode().Perm()))
		}
	}
	return nil
}
