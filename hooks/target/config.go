package target

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
)

// MaxConfig bounds a git config that is read, in bytes.
const MaxConfig = 16 << 20

// Config is what the refship sections of one git config say.
type Config struct {
	Settings Settings
	Targets  []Target // sorted by name
}

// Read reads the git config of the repository at gitDir. Settings are zero and there are no targets where it has no
// refship section. The files that it names are not looked at.
func Read(gitDir string) (Config, error) { return readConfig(filepath.Join(gitDir, "config")) }

// readConfig is Read for the config's own path.
func readConfig(path string) (Config, error) {
	text, err := disk.ReadFile(path, MaxConfig)
	if err != nil {
		return Config{}, fmt.Errorf("read the repository's config: %w", disk.WithoutDir(err))
	}
	return parse(text)
}

// ReadTargets is Read for those who need only the targets.
func ReadTargets(gitDir string) ([]Target, error) {
	c, err := Read(gitDir)
	return c.Targets, err
}

// Validate says what of c is not usable.
func (c Config) Validate() error {
	if err := CheckTargets(c.Targets); err != nil {
		return err
	}
	return c.Settings.Validate()
}

func (c Config) equal(o Config) bool {
	return c.Settings.equal(o.Settings) && slices.Equal(c.Targets, o.Targets)
}

// parse reads a config's text.
func parse(text []byte) (Config, error) {
	c, err := parseSections(text)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the repository's config: %w", err)
	}
	return c, nil
}

func parseSections(text []byte) (Config, error) {
	l := &lexer{text: text}
	var c Config
	plain := newSection(configSection+".", &c.Settings, plainSettings)
	targets := make(map[string]*section[Target])
	for {
		if _, more := l.header(); !more {
			break
		}
		t, known := targets[l.sub]
		if l.section == configSection && l.hasSub && !known {
			t = newSection(configSection+"."+l.sub+".", &Target{Name: l.sub, Frontend: record.Files}, targetSettings)
			targets[l.sub] = t
		}
		for l.entry() {
			var err error
			switch {
			case l.section != configSection:
			case l.hasSub:
				err = t.takeSetting(l.key, l.value)
			default:
				err = checkPlain(l.key, l.value)
				if err == nil {
					err = plain.takeSetting(l.key, l.value)
				}
			}
			if err != nil {
				return c, err
			}
		}
	}
	if l.failed {
		return c, fault.Refuse("git config --list says what is wrong there", "line %d cannot be read", l.line())
	}
	for _, t := range targets {
		c.Targets = append(c.Targets, *t.into)
	}
	c.sort()
	return c, nil
}

func (c *Config) sort() {
	slices.SortFunc(c.Targets, func(a, b Target) int { return strings.Compare(a.Name, b.Name) })
}

// checkPlain refuses what no key of the plain section may be.
func checkPlain(key, value string) error {
	name := configSection + "." + key
	switch {
	case key == "password":
		return fault.Refuse(passwordRemedy, "%s is a secret in git's config, which everybody can read", name)
	case value == "":
		return fault.Refuse("give it a value, or take it out: git config --unset "+name, "%s is empty", name)
	}
	return nil
}
