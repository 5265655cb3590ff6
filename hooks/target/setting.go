package target

import (
	"fmt"
	"slices"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
)

// configSection is the section of a repository's git config that holds all of this.
const configSection = "refship"

// setting is one key of a config section, as text in a T. The text is "" where the key is not there.
type setting[T any] struct {
	name string
	get  func(T) string
	set  func(*T, string) error
	file fileKind
}

// fileKind says whether a setting is the name of a file.
type fileKind int

const (
	noFile fileKind = iota
	publicFile
	secretFile // only its owner and group may be able to use it
)

// targetSettings are the keys of a target's section, in the order in which they are written.
var targetSettings = slices.Concat([]setting[Target]{
	field("ref", noFile, func(t *Target) *string { return &t.Ref }),
	field("namespace", noFile, func(t *Target) *record.Namespace { return &t.Namespace }),
	field("frontend", noFile, func(t *Target) *record.Frontend { return &t.Frontend }),
	field("path", noFile, func(t *Target) *string { return &t.Path }),
	field("check", noFile, func(t *Target) *string { return &t.Check }),
	field("lfs", noFile, func(t *Target) *LFS { return &t.LFS }),
	{
		name: "require-signed-push",
		get: func(t Target) string {
			if !t.RequireSignedPush {
				return ""
			}
			return "true"
		},
		set: func(t *Target, text string) (err error) { t.RequireSignedPush, err = parseBool(text); return err },
	},
	field("require-signed-commits", noFile, func(t *Target) *SignedCommits { return &t.RequireSignedCommits }),
	{
		name: "wait",
		get: func(t Target) string {
			if t.Wait == 0 {
				return ""
			}
			return t.Wait.String()
		},
		set: func(t *Target, text string) (err error) { t.Wait, err = ParseWait(text); return err },
	},
	field("rings", noFile, func(t *Target) *record.RingNames { return &t.Rings.Names }),
	{
		name: "ring-pause",
		get: func(t Target) string {
			if t.Rings.Pause == 0 {
				return ""
			}
			return t.Rings.Pause.String()
		},
		set: func(t *Target, text string) (err error) { t.Rings.Pause, err = record.ParseRingPause(text); return err },
	},
	field("on-failure", noFile, func(t *Target) *record.OnFailure { return &t.Rings.OnFailure }),
	field("notify", noFile, func(t *Target) *Notify { return &t.Notify }),
}, mgmtSettings())

// plainSettings are the keys of the plain section, in the order in which they are written.
var plainSettings = []setting[Settings]{
	{
		name: "max-stored",
		get:  func(s Settings) string { return s.MaxStored.String() },
		set:  func(s *Settings, text string) (err error) { s.MaxStored, err = record.ParseLimit(text); return err },
	},
	field("repository", noFile, func(s *Settings) *string { return &s.Repository }),
	{
		name: "endpoints",
		get:  func(s Settings) string { return strings.Join(s.Endpoints, ",") },
		set:  func(s *Settings, text string) error { s.Endpoints = strings.Split(text, ","); return nil },
	},
	field("cacert", publicFile, func(s *Settings) *string { return &s.CACert }),
	field("cert", publicFile, func(s *Settings) *string { return &s.Cert }),
	field("key", secretFile, func(s *Settings) *string { return &s.Key }),
	field("user", noFile, func(s *Settings) *string { return &s.User }),
	field("password-file", secretFile, func(s *Settings) *string { return &s.PasswordFile }),
	field("signing-key", secretFile, func(s *Settings) *string { return &s.SigningKey }),
	field("allowed-signers", publicFile, func(s *Settings) *string { return &s.AllowedSigners }),
}

// parseBool takes what git config writes of --type=bool, and nothing else: what is misspelt must not count as false.
func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fault.Refuse("give true or false", "it is neither true nor false")
	}
	return text == "true", nil
}

// field is a setting that a field of T holds.
func field[T any, S ~string](name string, file fileKind, of func(*T) *S) setting[T] {
	return setting[T]{
		name: name,
		get:  func(v T) string { return string(*of(&v)) },
		set:  func(v *T, text string) error { *of(v) = S(text); return nil },
		file: file,
	}
}

// mgmtSettings are those that record.Settings knows.
func mgmtSettings() []setting[Target] {
	var all []setting[Target]
	for _, name := range record.SettingNames() {
		all = append(all, setting[Target]{
			name: name,
			get:  func(t Target) string { return t.Settings.Text()[name] },
			set:  func(t *Target, text string) error { return t.Settings.Set(name, text) },
		})
	}
	return all
}

// section is a refship section while it is read.
type section[T any] struct {
	prefix   string // of full key names: "refship." or "refship.default."
	into     *T
	settings []setting[T]
	seen     map[string]bool
}

func newSection[T any](prefix string, into *T, settings []setting[T]) *section[T] {
	return &section[T]{prefix, into, settings, make(map[string]bool)}
}

// take puts one key's value where it belongs.
func (s *section[T]) takeSetting(key, value string) error {
	name := s.prefix + key
	if s.seen[key] {
		return fault.Refuse("take one out: git config --edit", "%s is there twice", name)
	}
	s.seen[key] = true
	for _, known := range s.settings {
		if known.name != key {
			continue
		}
		if err := known.set(s.into, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return fault.Refuse("known are refship.<target>."+names(targetSettings)+" and refship."+names(plainSettings)+
		"; take it out: git config --unset-all "+name, "it has the unknown setting %s", name)
}

func names[T any](settings []setting[T]) string {
	var all []string
	for _, s := range settings {
		all = append(all, s.name)
	}
	return strings.Join(all, ", .")
}

// write makes a section say what it should, by git config.
func write[T any](config func(...string) error, prefix string, settings []setting[T], have, want T) error {
	for _, s := range settings {
		var err error
		switch now, then := s.get(have), s.get(want); {
		case now == then:
		case then == "":
			err = config("--unset-all", prefix+s.name)
		default:
			err = config("--replace-all", prefix+s.name, then)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
