package mgmttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"go.yaml.in/yaml/v3"
)

// Deploy is a deploy as mgmt reads it.
type Deploy struct {
	ID          uint64
	Hash        string // "" if there is none
	Name        string // lang, yaml, puppet or empty, by the type of what is deployed
	Mode        string // of puppet: file or agent
	Noop        bool
	Sema        int
	NoAutoEdges bool
	NoAutoGroup bool
	Strategy    map[string]string // of lang
	InputURI    string
	Entry       string // the file that mgmt starts with: a path in FS
	FS          fs.FS  // nil with empty and for a puppet agent; each file's content has the hash that is said of it
}

// Read reads the deploy with the highest id. Anything in its keys that mgmt would stumble over is an error, and a few
// things more that neither mgmt nor refship writes.
func Read(values map[string][]byte) (*Deploy, error) {
	highest := uint64(0)
	for key := range values {
		n, what, err := deployKey(key)
		if err != nil {
			return nil, err
		}
		if what == "payload" {
			highest = max(highest, n)
		}
	}
	if highest == 0 {
		return nil, errors.New("no deploy")
	}
	return ReadID(values, highest)
}

// ReadID reads one deploy.
func ReadID(values map[string][]byte, id uint64) (*Deploy, error) {
	value, ok := values[fmt.Sprintf("/deploy/%d/payload", id)]
	if !ok {
		return nil, fmt.Errorf("deploy %d: no payload", id)
	}
	d, err := readPayload(value)
	if err != nil {
		return nil, fmt.Errorf("payload of deploy %d: %w", id, err)
	}
	d.ID, d.Hash = id, string(values[fmt.Sprintf("/deploy/%d/hash", id)])
	if d.Hash != strings.TrimSpace(d.Hash) {
		return nil, fmt.Errorf("deploy %d: white space around hash %q", id, d.Hash)
	}
	if d.Name == "empty" {
		return d, nil
	}
	at, ok := strings.CutPrefix(d.InputURI, "etcdfs://")
	// A rollback has the superblock of the deploy that it went back to.
	superblock := regexp.MustCompile(`^/fs/deploy/([1-9][0-9]*)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	parts := superblock.FindStringSubmatch(at)
	if !ok || parts == nil {
		return nil, fmt.Errorf("deploy %d: InputURI %q", id, d.InputURI)
	}
	if of, err := strconv.ParseUint(parts[1], 10, 64); err != nil || of > id {
		return nil, fmt.Errorf("deploy %d: InputURI %q", id, d.InputURI)
	}
	if d.Mode == "agent" {
		if _, ok := values[at]; ok {
			return nil, fmt.Errorf("deploy %d: a superblock at %s, and an agent opens no file", id, at)
		}
		return d, nil
	}
	block, ok := values[at]
	if !ok {
		return nil, fmt.Errorf("deploy %d: no superblock at %s", id, at)
	}
	files, err := mount(values, block)
	if err != nil {
		return nil, fmt.Errorf("superblock %s: %w", at, err)
	}
	d.FS = files
	if d.Entry, err = entry(d.Name, files); err != nil {
		return nil, fmt.Errorf("deploy %d: %w", id, err)
	}
	return d, nil
}

type payload struct {
	ID          uint64
	Name        string
	Noop        bool
	Sema        int
	NoAutoEdges bool
	NoAutoGroup bool
	GAPI        any
}

type lang struct {
	InputURI string
	Data     *struct{ UnificationStrategy map[string]string }
}

type yamlgraph struct{ InputURI string }

type puppet struct{ InputURI, Mode string }

type empty struct{ Wait bool }

// The names that mgmt registers its types with. A name stands for one type in a process, and package mgmt has these for
// types of its own: so they are replaced in what is read, by others of the same length.
var names = map[string]any{"*gapi.GAPI": &lang{}, "*yamlgraph.GAPI": &yamlgraph{}, "*puppet.GAPI": &puppet{},
	"*empty.GAPI": &empty{}}

func ours(name string) string { return "%" + name[1:] }

var register = sync.OnceFunc(func() {
	for name, value := range names {
		gob.RegisterName(ours(name), value)
	}
})

func readPayload(value []byte) (*Deploy, error) {
	if bytes.ContainsAny(value, "\r\n") {
		return nil, errors.New("more than one line")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(string(value))
	if err != nil {
		return nil, err
	}
	register()
	found := 0
	for name := range names {
		counted := string(rune(len(name))) + name // as gob writes a string that is shorter than 128 bytes
		found += bytes.Count(raw, []byte(counted))
		raw = bytes.ReplaceAll(raw, []byte(counted), []byte(string(rune(len(name)))+ours(name)))
	}
	if found != 1 {
		return nil, fmt.Errorf("%d names of frontends in it", found)
	}
	var p payload
	if err := readGob(raw, &p); err != nil {
		return nil, err
	}
	if p.ID != 0 {
		return nil, fmt.Errorf("ID is %d", p.ID)
	}
	d := &Deploy{Noop: p.Noop, Sema: p.Sema, NoAutoEdges: p.NoAutoEdges, NoAutoGroup: p.NoAutoGroup}
	switch g := p.GAPI.(type) {
	case *lang:
		if g.Data == nil || g.Data.UnificationStrategy == nil {
			return nil, errors.New("lang struct was not built properly")
		}
		d.Name, d.InputURI, d.Strategy = "lang", g.InputURI, g.Data.UnificationStrategy
	case *yamlgraph:
		d.Name, d.InputURI = "yaml", g.InputURI
	case *puppet:
		if g.Mode != "file" && g.Mode != "agent" {
			return nil, fmt.Errorf("puppet with mode %q", g.Mode)
		}
		d.Name, d.InputURI, d.Mode = "puppet", g.InputURI, g.Mode
	case *empty:
		d.Name = "empty"
	default:
		return nil, fmt.Errorf("it holds a %T", g)
	}
	if p.Name != d.Name {
		return nil, fmt.Errorf("it is called %q and is %s", p.Name, d.Name)
	}
	return d, nil
}

func readGob(raw []byte, into any) error {
	r := bytes.NewReader(raw)
	if err := gob.NewDecoder(r).Decode(into); err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%d bytes after the value", r.Len())
	}
	return nil
}

type superBlock struct {
	DataPrefix string
	Hash       string
	Tree       *File
}

// File is what a superblock says of a file or a directory.
type File struct {
	Path     string
	Mode     fs.FileMode
	ModTime  time.Time
	Children []*File
	Hash     string
}

// ReadSuperblock gives the root of a superblock, checked as far as that is possible without the contents.
func ReadSuperblock(value []byte) (*File, error) {
	var s superBlock
	if err := readGob(value, &s); err != nil {
		return nil, err
	}
	if s.DataPrefix != "/storage" || s.Hash != "sha256" {
		return nil, fmt.Errorf("prefix %q, hash %q", s.DataPrefix, s.Hash)
	}
	if s.Tree == nil || s.Tree.Path != "" || !s.Tree.Mode.IsDir() || s.Tree.Hash != "" {
		return nil, fmt.Errorf("the root is %+v", s.Tree)
	}
	return s.Tree, nil
}

// mount opens every file of a superblock.
func mount(values map[string][]byte, superblock []byte) (fstest.MapFS, error) {
	root, err := ReadSuperblock(superblock)
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{".": {Mode: root.Mode}}
	return files, mountDir(values, files, root, "")
}

func mountDir(values map[string][]byte, files fstest.MapFS, dir *File, above string) error {
	for _, f := range dir.Children {
		at := path.Join(above, f.Path)
		switch {
		case f.Path == "" || strings.Contains(f.Path, "/") || !fs.ValidPath(f.Path) || f.Path == ".":
			return fmt.Errorf("below %q: %q is no name", above, f.Path)
		case files[at] != nil:
			return fmt.Errorf("%q: twice", at)
		}
		// A link that mgmt resolved still has a link's mode, and is a file: only these bits matter.
		files[at] = &fstest.MapFile{Mode: f.Mode & (fs.ModeDir | fs.ModePerm), ModTime: f.ModTime}
		if f.Mode.IsDir() {
			if f.Hash != "" {
				return fmt.Errorf("%q: a directory with hash %q", at, f.Hash)
			}
			if err := mountDir(values, files, f, at); err != nil {
				return err
			}
			continue
		}
		if len(f.Children) > 0 {
			return fmt.Errorf("%q: a file with children", at)
		}
		data, err := content(values, f.Hash)
		if err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		files[at].Data = data
	}
	return nil
}

// content gives the content with a hash. Only the empty one need not be there.
func content(values map[string][]byte, hash string) ([]byte, error) {
	data, ok := values["/storage/{sha256}"+hash]
	sum := sha256.Sum256(data)
	switch is := hex.EncodeToString(sum[:]); {
	case is == hash:
		return data, nil
	case !ok:
		return nil, fmt.Errorf("no content with hash %q", hash)
	default:
		return nil, fmt.Errorf("the content at hash %q has %s", hash, is)
	}
}

// entry finds the file that a frontend starts with.
func entry(frontend string, files fs.FS) (string, error) {
	name := "start.yaml"
	switch frontend {
	case "puppet":
		name = "file.pp"
	case "lang":
		text, err := fs.ReadFile(files, "metadata.yaml")
		if err != nil {
			return "", err
		}
		meta := struct{ Main string }{"main.mcl"}
		if err := yaml.Unmarshal(text, &meta); err != nil {
			return "", fmt.Errorf("metadata.yaml: %w", err)
		}
		name = path.Join("/", meta.Main)[1:]
	}
	info, err := fs.Stat(files, name)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("entry file %q is a directory", name)
	}
	return name, err
}
