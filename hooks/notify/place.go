package notify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/record"
	"refship/hooks/target"
)

// Place is a target of a repository.
type Place struct {
	Repository string // name
	GitDir     string
	Target     target.Target
}

const (
	toldFile    = "told.json"
	secretFile  = "secret"
	queuePrefix = "to-"
	maxSmall    = 1 << 20 // of told.json and secret, in bytes
)

// root is where all of this is in a repository.
func root(gitDir string) string { return filepath.Join(gitDir, "refship", "notify") }

func (p Place) dir() string { return filepath.Join(root(p.GitDir), p.Target.Name) }

// hasChanged tells whether the repository's config says something else of the target by now, or is gone.
func (p Place) hasChanged() (bool, error) {
	targets, err := target.ReadTargets(p.GitDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	}
	return !slices.Contains(targets, p.Target), nil
}

// makeDirs makes a directory in a repository and those above it, but never the repository itself, which may have been
// renamed or removed.
func makeDirs(gitDir, dir string) error {
	below, err := filepath.Rel(gitDir, dir)
	if err != nil {
		return err
	}
	path := gitDir
	for _, name := range strings.Split(below, string(filepath.Separator)) {
		path = filepath.Join(path, name)
		if _, err := disk.Mkdir(path, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// told is what of a chain has been told, or put into queues: <target>/told.json.
type told struct {
	// Since is when the target got its first URL: what happened before is told to nobody. Known says that the rest counts.
	Since  time.Time      `json:"since"`
	Known  bool           `json:"known"`
	Chain  record.ChainID `json:"chain"`  // "": not known
	Deploy record.ID      `json:"deploy"` // the newest one
	Event  int64          `json:"event"`  // revision of the newest hold or resume
	Nodes  toldNodes      `json:"nodes"`
}

// toldNodes is what has been told of the nodes of one deploy.
type toldNodes struct {
	Deploy record.ID `json:"deploy"`
	Old    bool      `json:"old"` // it was there before: of its nodes nothing is told
	Done   bool      `json:"done"`
	Failed []string  `json:"failed"` // names
}

func (p Place) readTold() (told, error) {
	var t told
	path := filepath.Join(p.dir(), toldFile)
	content, err := disk.ReadFile(path, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("read what was told: %w", err)
	}
	if err := json.Unmarshal(content, &t); err != nil {
		return told{}, fmt.Errorf("read what was told: %s: %w (without that file, what is told begins anew)", path, err)
	}
	return t, nil
}

func (p Place) writeTold(t *told) error {
	encoded, err := json.Marshal(t)
	if err == nil {
		err = makeDirs(p.GitDir, p.dir())
	}
	if err == nil {
		err = disk.WriteFile(filepath.Join(p.dir(), toldFile), encoded, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what was told: %w", err)
	}
	return nil
}

// Forget drops all that waits to be told of a target, and how far it was told of.
func Forget(at Place) error {
	if err := disk.RemoveAll(at.dir()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Begin notes that from now on it is told what becomes of a target.
func Begin(at Place) error {
	return at.writeTold(&told{Since: time.Now().UTC().Truncate(time.Millisecond)})
}

// sweep removes the queues of receivers that the target has no more, and gives how many events were waiting.
func (p Place) sweep(kept []*queue) (waiting int, err error) {
	files, err := os.ReadDir(p.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, f := range files {
		dir := filepath.Join(p.dir(), f.Name())
		isKept := slices.ContainsFunc(kept, func(q *queue) bool { return q.dir == dir })
		if strings.HasPrefix(f.Name(), queuePrefix) && !isKept {
			all, _ := (&queue{dir: dir}).list() // it goes, whatever is in it
			waiting += len(all)
			err = errors.Join(err, disk.RemoveAll(dir))
		}
	}
	return waiting, err
}

// Secret gives what signs the events for one receiver of a target, 64 hex digits: HMAC-SHA256 of the target's name, a
// line feed and the URL, keyed with the repository's seed. The seed is made if there is none.
func Secret(at Place, to target.Receiver) (string, error) {
	seed, err := readSeed(at.GitDir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSeed(at.GitDir); err == nil || errors.Is(err, fs.ErrExist) {
			seed, err = readSeed(at.GitDir)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read the secret of %s's events: %w", at.Repository, err)
	}
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write([]byte(at.Target.Name + "\n" + to.URL))
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// Renew makes a new seed, and so a new secret for each receiver of each target of the repository.
func Renew(gitDir string) error {
	err := os.Remove(filepath.Join(root(gitDir), secretFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return makeSeed(gitDir)
}

func readSeed(gitDir string) (string, error) {
	content, err := disk.ReadFile(filepath.Join(root(gitDir), secretFile), maxSmall)
	seed := strings.TrimSpace(string(content))
	if err == nil && len(seed) < 2*sha256.Size {
		err = errors.New("it is too short")
	}
	return seed, err
}

// makeSeed makes the seed, unless there is one: fs.ErrExist.
func makeSeed(gitDir string) error {
	if err := makeDirs(gitDir, root(gitDir)); err != nil {
		return err
	}
	var seed [sha256.Size]byte
	rand.Read(seed[:])
	path := filepath.Join(root(gitDir), secretFile)
	temporary, err := disk.WriteTemporary(path, []byte(hex.EncodeToString(seed[:])+"\n"), 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	if err := os.Link(temporary, path); err != nil {
		return err
	}
	return disk.Sync(root(gitDir))
}
