package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/gitserver/upkeep"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// waitTold is how long the upkeep is waited for in silence.
const waitTold = 2 * time.Second

// writeRepository takes the refs of a repository, and then all else.
func (s *Source) writeRepository(a *archive, name string) error {
	dir, err := s.Repos.Locate(name)
	if err != nil {
		return err
	}
	resume, err := s.pause(a.ctx, name, dir)
	if err != nil {
		return err
	}
	defer resume()
	if err := refuseElsewhere(dir); err != nil {
		return err
	}
	prefix := "repos/" + name + gitSuffix + "/"
	if err := writeRefs(a, prefix, dir); err != nil {
		return err
	}
	files, err := list(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		err := addFile(a, prefix+file, filepath.Join(dir, filepath.FromSlash(file)))
		switch gone := errors.Is(err, fs.ErrNotExist); {
		case gone && strings.HasPrefix(file, "objects/"):
			return fault.New(fault.Conflict, file+" was removed while the backup was being made, not by the server",
				"run no git there meanwhile, such as git gc or git repack, and try again")
		case gone: // such as what git has fetched last
		case err != nil:
			return err
		}
	}
	a.counts.Repositories++
	return nil
}

// writeRefs takes the refs, in the form in which the repository has them.
func writeRefs(a *archive, prefix, dir string) error {
	tables, err := git.ReadReftable(a.ctx, dir)
	if err != nil {
		return err
	}
	for _, table := range sortedKeys(tables) {
		if err := a.addText(prefix+reftable+"/"+table, tables[table]); err != nil {
			return err
		}
	}
	if tables != nil {
		return nil
	}
	refs, err := git.ReadPackedRefs(a.ctx, dir)
	if err != nil {
		return err
	}
	if err := a.addText(prefix+"packed-refs", refs.Packed); err != nil {
		return err
	}
	for _, ref := range sortedKeys(refs.Symbolic) {
		if err := a.addText(prefix+ref, []byte("ref: "+refs.Symbolic[ref]+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// reftable is the directory of the tables that hold refs where these are not files.
const reftable = "reftable"

// pause stops the upkeep of a repository, and says what it waits for.
func (s *Source) pause(ctx context.Context, name, dir string) (resume func(), err error) {
	told := time.AfterFunc(waitTold, func() { s.Say("waiting for the upkeep of " + name + " to end") })
	defer told.Stop()
	return upkeep.Pause(ctx, dir)
}

// refuseElsewhere refuses a repository a part of which is at another place.
func refuseElsewhere(dir string) error {
	for name, remedy := range map[string]string{
		"objects/info/alternates": "take them in: git repack -a -d, then remove that file",
		"commondir":               "keep it in one directory",
	} {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			return fault.New(fault.Failed, "it has "+name+": a backup would not have all of it", remedy)
		}
	}
	return nil
}

// list gives the files of a repository that a backup takes, as paths with slashes, but for its refs.
func list(dir string) ([]string, error) {
	var files []string
	packs := make(map[string]int) // of pack-HASH: which of .pack and .idx there are
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && at != dir { // it went away meanwhile, as quarantines do
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case e.IsDir() && isLeftOut(name):
			return fs.SkipDir
		case e.IsDir() || isLeftOut(name):
			return nil
		}
		if stem, ext := cutPack(name); ext == ".pack" || ext == ".idx" {
			packs[stem]++
		}
		files = append(files, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	whole := files[:0]
	for _, name := range files {
		// A push that is ending moves a pack's files in one by one: no ref leads into it yet.
		if stem, _ := cutPack(name); stem == "" || packs[stem] == 2 {
			whole = append(whole, name)
		}
	}
	return whole, nil
}

// cutPack cuts "objects/pack/pack-1234.idx" into "objects/pack/pack-1234" and ".idx"; "" if it is no file of a pack.
func cutPack(name string) (stem, ext string) {
	if !strings.HasPrefix(name, "objects/pack/pack-") {
		return "", ""
	}
	ext = path.Ext(name)
	return strings.TrimSuffix(name, ext), ext
}

// pending is the directory of intents, from the repository's.
var pending = filepath.ToSlash(intent.Dir("."))

// isLeftOut tells by its name what is not taken as it is: refs, which were read; intents; and what belongs to a git
// that runs or has died.
func isLeftOut(name string) bool {
	base := path.Base(name)
	switch {
	case name == "refs", name == "packed-refs", name == "packed-refs.new", name == reftable, name == pending,
		name == target.ConfigEdit, name == "gc.pid", isPassing(base):
		return true
	case !strings.HasPrefix(name, "objects/"):
		return false
	}
	// receive-pack keeps a new pack with a file .keep until the refs have moved. Restored, it would be kept for ever.
	return git.IsQuarantine(base) || strings.HasPrefix(base, "tmp_") || strings.HasPrefix(base, ".tmp-") ||
		strings.HasPrefix(name, "objects/pack/") && path.Ext(base) == ".keep"
}
