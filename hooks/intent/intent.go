package intent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

const (
	Format    = 1
	Suffix    = ".json"
	BadSuffix = ".bad"
	maxIntent = 16 << 20
)

// Intent is what an accepted push wants published, as it stands in <GIT_DIR>/refship/pending/<push>.json.
type Intent struct {
	Format      int           `json:"format"`
	Push        string        `json:"push"`
	Time        time.Time     `json:"time"`    // when pre-receive accepted
	Process     string        `json:"process"` // git receive-pack, of an installed hook; "": a server, or not known
	Repository  string        `json:"repository"`
	Pusher      record.Pusher `json:"pusher"`
	Options     []string      `json:"options"`
	Certificate string        `json:"certificate"` // oid of the push certificate, or ""
	Deploys     []Entry       `json:"deploys"`
}

// Entry is one target's part of an intent.
type Entry struct {
	Target     target.Target `json:"target"`
	Old        git.OID       `json:"old"`
	New        git.OID       `json:"new"`
	Commit     git.OID       `json:"commit,omitzero"` // that New names, an annotated tag; zero: New is the commit
	Head       record.ID     `json:"head"`            // of the chain when the push was accepted; 0: it had none
	Forced     bool          `json:"forced"`          // a head is overridden: this one
	ForcedHead record.ID     `json:"forced_head"`     // 0: none
	Again      record.ID     `json:"again"`           // the head whose undone deploys come back; 0: none
	Reason     string        `json:"reason"`
}

// Deploys is the commit to be deployed.
func (e *Entry) Deploys() git.OID {
	if e.Commit.IsZero() {
		return e.New
	}
	return e.Commit
}

var pushID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// parseIntent takes only what encode writes.
func parseIntent(data []byte) (*Intent, error) {
	var in Intent
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("parse intent: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("parse intent: text after its end")
	}
	if in.Format != Format {
		return nil, fmt.Errorf("parse intent: format %d is not known", in.Format)
	}
	if !pushID.MatchString(in.Push) {
		return nil, fmt.Errorf("parse intent: push %q is not 32 hex digits", text.Clip(in.Push))
	}
	if in.Repository == "" || in.Pusher.Name == "" {
		return nil, errors.New("parse intent: repository or pusher is missing")
	}
	if len(in.Deploys) == 0 {
		return nil, errors.New("parse intent: it names no deploy")
	}
	var targets []target.Target
	for _, entry := range in.Deploys {
		if entry.New.IsZero() {
			return nil, fmt.Errorf("parse intent: target %s has no new oid", text.Clip(entry.Target.Name))
		}
		targets = append(targets, entry.Target)
	}
	if err := target.CheckTargets(targets); err != nil {
		return nil, fmt.Errorf("parse intent: %w", err)
	}
	return &in, nil
}

func (in *Intent) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(in)
	return b.Bytes(), err
}

func Dir(gitDir string) string { return filepath.Join(gitDir, "refship", "pending") }

func Path(gitDir, push string) string {
	return filepath.Join(Dir(gitDir), push+Suffix)
}

// Write puts the intent on disk: when it returns, a power cut leaves it there whole, and at no moment half of it.
func (in *Intent) Write(gitDir string) error {
	if err := in.writeFile(gitDir); err != nil {
		err = disk.WithoutDir(err)
		return &fault.Error{
			Kind: fault.Failed, What: fmt.Sprintf("write intent: %v", err), Cause: err,
			Remedy: "the server's disk does not take it: the server's operator checks whether it is full or read-only",
		}
	}
	return nil
}

func (in *Intent) writeFile(gitDir string) error {
	text, err := in.encode()
	if err != nil {
		return err
	}
	mode, err := git.SharedMode(gitDir)
	if err != nil {
		return err
	}
	if err := MakeDir(gitDir, mode); err != nil {
		return err
	}
	return disk.WriteFile(Path(gitDir, in.Push), text, git.Readable(mode))
}

// MakeDir makes the directory of intents, synced up to gitDir: where the repository's group pushes to it, too
// (git-config(1), core.sharedRepository), what one push leaves is for the next one's account to deploy.
func MakeDir(gitDir string, mode fs.FileMode) error {
	for _, dir := range []string{filepath.Dir(Dir(gitDir)), Dir(gitDir)} {
		if _, err := disk.Mkdir(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// Drop takes a target out of the intent, on disk too; the last one takes the file with it.
func (in *Intent) Drop(gitDir, target string) error {
	in.Deploys = slices.DeleteFunc(in.Deploys, func(entry Entry) bool { return entry.Target.Name == target })
	if len(in.Deploys) > 0 {
		return in.Write(gitDir)
	}
	if err := disk.Remove(Path(gitDir, in.Push)); err != nil {
		return fmt.Errorf("remove intent: %w", disk.WithoutDir(err))
	}
	return nil
}

// List gives the ids of the pushes that left an intent, oldest first.
func List(gitDir string) ([]string, error) {
	entries, err := os.ReadDir(Dir(gitDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list intents: %w", disk.WithoutDir(err))
	}
	type left struct {
		push string
		time time.Time
	}
	var found []left
	for _, e := range entries {
		push, ok := strings.CutSuffix(e.Name(), Suffix)
		if !ok {
			continue
		}
		l := left{push: push}
		if info, err := e.Info(); err == nil {
			l.time = info.ModTime()
		}
		found = append(found, l)
	}
	slices.SortFunc(found, func(a, b left) int {
		if c := a.time.Compare(b.time); c != 0 {
			return c
		}
		return strings.Compare(a.push, b.push)
	})
	var pushes []string
	for _, l := range found {
		pushes = append(pushes, l.push)
	}
	return pushes, nil
}

// All reads the intents of a repository, oldest first. Of one that cannot be read it gives the error, which is *Bad if
// the file is no intent.
func All(gitDir string) iter.Seq2[*Intent, error] {
	return func(yield func(*Intent, error) bool) {
		pushes, err := List(gitDir)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, push := range pushes {
			in, err := Read(gitDir, push)
			if errors.Is(err, fs.ErrNotExist) {
				continue // published, or dropped, since List
			}
			if !yield(in, err) {
				return
			}
		}
	}
}

// Read reads a push's intent; fs.ErrNotExist if it has none, *Bad if the file is no intent.
func Read(gitDir, push string) (*Intent, error) {
	text, err := disk.ReadFile(Path(gitDir, push), maxIntent)
	if _, what, unfit := disk.Unfit(err); unfit {
		return nil, &Bad{Path: Path(gitDir, push), Err: errors.New("it " + what)}
	}
	if err != nil {
		return nil, fmt.Errorf("read intent: %w", disk.WithoutDir(err))
	}
	in, err := parseIntent(text)
	if err == nil && in.Push != push {
		err = fmt.Errorf("it is the intent of push %s", in.Push)
	}
	if err != nil {
		return nil, &Bad{Path: Path(gitDir, push), Err: err}
	}
	return in, nil
}

// Bad is a file of intents that cannot be read as one.
type Bad struct {
	Path string
	Err  error
}

func (e *Bad) Error() string { return fmt.Sprintf("%s: %v", filepath.Base(e.Path), e.Err) }
func (e *Bad) Unwrap() error { return e.Err }

// Aside moves the file out of the way and keeps it for the operator to look at.
func (e *Bad) Aside() error {
	if err := disk.Rename(e.Path, e.Path+BadSuffix); err != nil {
		return fmt.Errorf("move intent aside: %w", disk.WithoutDir(err))
	}
	return nil
}

// maxUnmoved is longer than git takes from a pre-receive that accepts to the moving of the refs; in between other hooks
// run.
const maxUnmoved = time.Hour

// MayRun tells whether the push that left an intent still runs, as another process, and settles it itself. Where that
// process cannot be looked at, it may be running while its ref has not moved, for a time.
func (in *Intent) MayRun(unmoved bool) bool {
	switch ProcessLife(in.Process) {
	case running:
		return true
	case Ended:
		return false
	}
	return unmoved && time.Since(in.Time) < maxUnmoved
}
