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

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// Settings are what an installed hook knows besides the targets: the plain section [refship] of the repository's git
// config. A secret is never in it, only the name of a file that has one.
type Settings struct {
	Repository   string   // refship.repository: the repository's name in records
	Endpoints    []string // refship.endpoints, separated by commas
	CACert       string   // refship.cacert; this and the others below are absolute names of files, "" if not given
	Cert         string   // refship.cert
	Key          string   // refship.key
	User         string   // refship.user: a name, without a password
	PasswordFile string   // refship.password-file
	SigningKey   string   // refship.signing-key
}

// SettingNames are the keys of the plain section, in the order in which they are written.
var SettingNames = []string{"repository", "endpoints", "cacert", "cert", "key", "user", "password-file", "signing-key"}

// field gives where a setting of that name is kept; nil for endpoints, and for what is unknown.
func (s *Settings) field(name string) *string {
	switch name {
	case "repository":
		return &s.Repository
	case "cacert":
		return &s.CACert
	case "cert":
		return &s.Cert
	case "key":
		return &s.Key
	case "user":
		return &s.User
	case "password-file":
		return &s.PasswordFile
	case "signing-key":
		return &s.SigningKey
	}
	return nil
}

// Text gives a setting as the config has it.
func (s Settings) Text(name string) string {
	if name == "endpoints" {
		return strings.Join(s.Endpoints, ",")
	}
	return *s.field(name)
}

// IsZero tells whether nothing is set.
func (s Settings) IsZero() bool {
	return !slices.ContainsFunc(SettingNames, func(name string) bool { return s.Text(name) != "" })
}

func (s Settings) equal(o Settings) bool {
	return !slices.ContainsFunc(SettingNames, func(name string) bool { return s.Text(name) != o.Text(name) })
}

// Validate says what of s is not usable, as far as that can be told without looking at files.
func (s Settings) Validate() error {
	for _, name := range SettingNames {
		value := s.Text(name)
		if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(value) != value {
			return fmt.Errorf("refship.%s = %q is not one line of printable UTF-8", name, text.Clip(value))
		}
		switch name {
		case "cacert", "cert", "key", "password-file", "signing-key":
			if value != "" && !filepath.IsAbs(value) {
				return &fault.Error{
					Kind:   fault.Refused,
					What:   fmt.Sprintf("refship.%s = %s is not absolute", name, value),
					Remedy: "hooks run in another directory: name the file from the root on",
				}
			}
		}
	}
	for _, e := range s.Endpoints {
		if e == "" || strings.ContainsAny(e, ", \t") {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("refship.endpoints has the address %q", text.Clip(e)),
				Remedy: "addresses are separated by single commas: https://a:2379,https://b:2379",
			}
		}
	}
	one := func(a, b string) error {
		return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("refship.%s is set, and refship.%s is not", a, b), Remedy: "set both, or none"}
	}
	switch {
	case s.Cert != "" && s.Key == "":
		return one("cert", "key")
	case s.Cert == "" && s.Key != "":
		return one("key", "cert")
	case s.User != "" && s.PasswordFile == "":
		return one("user", "password-file")
	case s.User == "" && s.PasswordFile != "":
		return one("password-file", "user")
	case strings.Contains(s.User, ":"):
		return &fault.Error{Kind: fault.Refused, What: "refship.user has a colon: passwords do not belong into git's config", Remedy: passwordRemedy}
	}
	return nil
}

// CheckFiles says which file of s is not there, or is a secret that others can read.
func (s Settings) CheckFiles() error {
	for _, name := range SettingNames {
		if !slices.Contains([]string{"cacert", "cert", "key", "password-file", "signing-key"}, name) || s.Text(name) == "" {
			continue
		}
		path := s.Text(name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("refship.%s = %s is not there", name, path), Remedy: "make that file, or name another"}
		case err != nil:
			return fmt.Errorf("look at refship.%s: %w", name, err)
		case !info.Mode().IsRegular():
			return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("refship.%s = %s is no file", name, path), Remedy: "name a file"}
		case name != "cacert" && name != "cert" && info.Mode().Perm()&0o007 != 0:
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("refship.%s = %s is a secret that everybody on this machine can use: its mode is %04o", name, path, info.Mode().Perm()),
				Remedy: "chmod o= " + text.Quote(path),
			}
		}
	}
	return nil
}

const passwordRemedy = "put the password into a file that others cannot read, and name that: git config refship.password-file /PATH"

// ReadSettings reads the plain section [refship] of the repository at gitDir. A setting that is unknown, twice there or not
// usable is an error that names it. Settings are zero where there is no such section. Files are not looked at.
func ReadSettings(gitDir string) (Settings, error) {
	rules, err := ReadConfig(filepath.Join(gitDir, "config"))
	return rules.Settings, err
}

// Config are what the refship sections of one config say.
type Config struct {
	Settings Settings
	Targets  []Target // sorted by name
	any      bool     // there is a refship section, even an empty one
}

func (r Config) equal(o Config) bool {
	return r.Settings.equal(o.Settings) && slices.Equal(r.Targets, o.Targets)
}

// ReadConfig names no path in its errors: they go to whoever pushes.
func ReadConfig(path string) (Config, error) {
	var r Config
	data, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("read the repository's config: %w", disk.WithoutDir(err))
	}
	if err := r.read(data); err != nil {
		return Config{}, err
	}
	slices.SortFunc(r.Targets, byName)
	if err := CheckTargets(r.Targets); err != nil {
		return Config{}, fmt.Errorf("read the repository's config: %w", err)
	}
	if err := r.Settings.Validate(); err != nil {
		return Config{}, fmt.Errorf("read the repository's config: %w", err)
	}
	return r, nil
}

// read reads the refship sections of a config.
func (r *Config) read(data []byte) error {
	l := &configLexer{text: data}
	settings := make(map[string]bool)
	targets := make(map[string]map[string]bool) // the settings of each that were there
	for {
		_, more := l.header()
		if !more {
			break
		}
		if l.section != Section {
			for l.entry() {
			}
			continue
		}
		r.any = true
		if l.hasSub && targets[l.sub] == nil {
			targets[l.sub] = make(map[string]bool)
			r.Targets = append(r.Targets, Target{Name: l.sub, Frontend: record.Files})
		}
		for l.entry() {
			if !l.hasSub {
				if err := r.Settings.take(l.key, l.value, settings); err != nil {
					return fmt.Errorf("read the repository's config: %w", err)
				}
				continue
			}
			at := slices.IndexFunc(r.Targets, func(t Target) bool { return t.Name == l.sub })
			if err := r.Targets[at].take(l.key, l.value, targets[l.sub]); err != nil {
				return err
			}
		}
	}
	if l.failed {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("read the repository's config: line %d cannot be read", l.line()),
			Remedy: "git config --list says what is wrong there",
		}
	}
	return nil
}

// take reads one setting.
func (s *Settings) take(key, value string, seen map[string]bool) error {
	name := Section + "." + key
	if seen[key] {
		return &fault.Error{Kind: fault.Refused, What: name + " is there twice", Remedy: "take one out: git config --edit"}
	}
	seen[key] = true
	field := s.field(key)
	switch {
	case key == "password":
		return &fault.Error{Kind: fault.Refused, What: name + " is a secret in git's config, which everybody can read", Remedy: passwordRemedy}
	case key != "endpoints" && field == nil:
		return unknownSetting(name)
	case value == "":
		return &fault.Error{Kind: fault.Refused, What: name + " is empty", Remedy: "give it a value, or take it out: git config --unset " + name}
	case key == "endpoints":
		s.Endpoints = strings.Split(value, ",")
		return nil
	}
	*field = value
	return nil
}
