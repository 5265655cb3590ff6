package mgmt

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/text"
	"refship/deploy/tree"
)

// Source is the git tree that is to be laid out.
type Source struct {
	Root tree.OID
	// Node gives a directory. It is asked for each directory below the root once.
	Node func(oid tree.OID) (*tree.Node, error)
	// Content gives a content that is small: the target of a link, or metadata.yaml.
	Content func(e tree.Entry, path string) ([]byte, error)
}

// Options say what to make of a tree.
type Options struct {
	Frontend string // auto, lang, yaml, puppet or empty
	// Entry is a path in the tree, or with puppet Agent; "" is the frontend's default, and the only one with auto and
	// empty.
	Entry   string
	Conf    string // with puppet, the path of puppet.conf in the tree; "": none
	Modules string // with lang, a directory in the tree that is also laid out as modules; "": none
	// VersionFile is with lang a path that the tree lacks; Version is the content that is put there. "": none.
	VersionFile, Version string
	MaxValue             int64 // bytes that surely fit one put into the etcd that is deployed to
}

// Layout is what mgmt reads of a tree.
type Layout struct {
	Frontend   string   // lang, yaml, puppet or empty
	Mode       string   // of puppet: what a payload says besides; "" with the others
	Entry      string   // the file that mgmt starts with, a path in the tree; "" with empty, and for a puppet agent
	Root       *File    // nil without files
	Superblock []byte   // EncodeSuperblock(Root); nil without files: mgmt itself writes none then
	Made       []byte   // the content of the metadata.yaml that was added; nil if none was
	Version    []byte   // the content of the version file that was added; nil if none was
	Files      int      // in Root, with those that were added
	Large      []*Large // sorted by path
	Submodules []string // quoted paths below lang's tree that are left out, the first 1,000
}

const maxSubmodules = 1000 // that a Layout lists

// CheckSubmodules refuses a layout that lacks what submodules hold: hosts would fail with "import … does not exist".
// Lay itself only leaves them out, since what was deployed once has to be laid out again.
func (l *Layout) CheckSubmodules() error {
	n := len(l.Submodules)
	if n == 0 {
		return nil
	}
	what := fmt.Sprintf("%s in the tree: %s; the content is not in the commit, and hosts would fail with %q",
		text.Plural(n, "submodule is", "submodules are"), text.FirstFew(l.Submodules), "import … does not exist")
	return refuse("", what, "vendor it: take the submodule out, and commit its files below the path: that "+
		"metadata.yaml names, or below modules/; or deploy a directory without it")
}

// Large is a content of more than tree.ChunkSize bytes. Where others have it in chunks, mgmt needs it as one value.
type Large struct {
	Path   string // the first file that has it
	OID    tree.OID
	Size   int64
	SHA256 tree.SHA256
}

// layer is the state of one Lay.
type layer struct {
	src     Source
	o       Options
	nodes   map[tree.OID]*node
	targets map[tree.OID]string // of links
	large   map[tree.SHA256]*Large
	files   int
	atLeast int64 // bytes that the superblock will have at the least
	without []string
	visited int // entries, of at most maxVisited
	walked  int // bytes of links' targets, of at most maxWalked
}

// node is a directory with an index of its names.
type node struct {
	entries []tree.Entry
	byName  map[string]int
}

func (n *node) find(name string) *tree.Entry {
	if i, ok := n.byName[name]; ok {
		return &n.entries[i]
	}
	return nil
}

// Lay makes what mgmt reads of a tree. What mgmt could not run is refused (fault.Refused), and so is what takes too
// many steps to find out; other errors are those of src, and the cause that ended ctx. Nothing but the tree is looked
// at: equal trees and options give equal layouts.
func Lay(ctx context.Context, src Source, o Options) (*Layout, error) {
	if err := CheckFrontend(o.Frontend); err != nil {
		return nil, err
	}
	for _, set := range []struct{ what, path string }{{"the entry file", o.Entry}, {"puppet.conf", o.Conf},
		{"the module path", o.Modules}, {"the version file", o.VersionFile}} {
		if set.path != "" && (!fs.ValidPath(strings.ToValidUTF8(set.path, "?")) || set.path == ".") {
			return nil, refuse("", fmt.Sprintf("%s %q is not a path in the tree", set.what, set.path),
				"name it as git ls-files does, from the deployed tree's root, without ./ or ../ in it")
		}
	}
	l := &layer{
		src: src, o: o, nodes: map[tree.OID]*node{}, targets: map[tree.OID]string{}, large: map[tree.SHA256]*Large{},
	}
	frontend, err := o.Frontend, error(nil)
	if frontend == Auto {
		if frontend, err = l.pick(ctx); err != nil {
			return nil, err
		}
	}
	if o.Conf != "" && frontend != Puppet {
		return nil, refuseSettings("", fmt.Sprintf("puppet.conf %q is set, and frontend %s reads none", o.Conf, frontend),
			"unset it, or set the frontend to puppet")
	}
	if o.Modules != "" && frontend != Lang {
		return nil, refuseSettings("", fmt.Sprintf("the module path %q is set, and frontend %s has no modules", o.Modules,
			frontend), "unset it, or set the frontend to lang")
	}
	if o.VersionFile != "" && frontend != Lang {
		return nil, refuseSettings("", fmt.Sprintf("the version file %q is set, and code of frontend %s cannot read it",
			o.VersionFile, frontend), "unset it, or set the frontend to lang")
	}
	switch frontend {
	case Puppet:
		return l.puppet(ctx)
	case Lang:
		return l.lang(ctx)
	case YAML:
		return l.yaml(ctx)
	}
	if o.Entry != "" {
		return nil, refuseSettings("", fmt.Sprintf("the entry file %q is set, and frontend empty runs none", o.Entry),
			"unset the entry file, or set the frontend to lang or yaml")
	}
	return &Layout{Frontend: Empty}, nil
}

// lang lays out the whole tree.
func (l *layer) lang(ctx context.Context) (*Layout, error) {
	entry, made, err := l.langEntry(ctx)
	if err != nil {
		return nil, err
	}
	root, err := l.dir(ctx, l.root())
	if err != nil {
		return nil, err
	}
	root.Mode = rootMode
	if err := l.modules(ctx, root); err != nil {
		return nil, err
	}
	if made != nil {
		l.files++
		root.Children = append(root.Children, &File{
			Name: metadataName, Mode: fileMode, SHA256: sha256.Sum256(made), Size: int64(len(made)),
		})
		sortByName(root.Children)
	}
	version, err := l.version(ctx, root)
	if err != nil {
		return nil, err
	}
	return l.finish(&Layout{Frontend: Lang, Entry: entry, Made: made, Version: version, Root: root})
}

// langEntry finds the file that lang starts with, and makes the metadata.yaml that names it where there is none.
func (l *layer) langEntry(ctx context.Context) (entry string, made []byte, err error) {
	root := l.root()
	meta, err := l.follow(ctx, root, metadataName, 0)
	if err != nil {
		return "", nil, err
	}
	if meta.gone {
		if entry = l.o.Entry; entry == "" {
			entry = defaultMain
		}
		if _, err := l.entry(ctx, entry, Lang); err != nil {
			return "", nil, err
		}
		made, err = makeMetadata(entry)
		return entry, made, err
	}
	if entry, err = l.readMetadata(meta); err != nil {
		return "", nil, err
	}
	if l.o.Entry != "" && l.o.Entry != entry {
		return "", nil, refuseSettings(metadataName,
			fmt.Sprintf("names main %q, and the entry file is set to %q: mgmt follows metadata.yaml", entry, l.o.Entry),
			"unset the entry file, or name the same file in metadata.yaml, and deploy again")
	}
	main, err := l.follow(ctx, root, entry, 0)
	if err != nil {
		return "", nil, err
	}
	if main.why != "" {
		return "", nil, refuse(metadataName, fmt.Sprintf("names main %q, which %s", entry, main.why),
			"add that file, or name another as main, and deploy again")
	}
	return entry, nil, nil
}

// readMetadata gives the entry file that the metadata.yaml in the tree names.
func (l *layer) readMetadata(meta found) (entry string, err error) {
	no := func(what string) error {
		return refuse(metadataName, what, "correct it, or remove it and one is made; then deploy again")
	}
	if meta.why != "" {
		return "", no(meta.why)
	}
	if meta.file.Size > maxMetadata {
		return "", no(fmt.Sprintf("has %s (limit %s)", text.Size(meta.file.Size), text.Size(maxMetadata)))
	}
	content, err := l.content(meta.file, meta.path)
	if err != nil {
		return "", err
	}
	if entry, err = parseMetadata(content); err != nil {
		return "", no("cannot be read by mgmt: " + err.Error())
	}
	return entry, nil
}

// entry finds the file that a frontend starts with.
func (l *layer) entry(ctx context.Context, path, frontend string) (tree.Entry, error) {
	f, err := l.follow(ctx, l.root(), path, 0)
	if err == nil && f.why != "" {
		remedy := "add it and deploy again, or set the entry file to another"
		if frontend == Puppet && f.isDir {
			remedy = "set the entry file to one manifest: mgmt runs no directory of them"
		}
		err = refuseSettings(path, fmt.Sprintf("%s, and frontend %s starts with it", f.lacks(), frontend), remedy)
	}
	return f.file, err
}

// yaml lays out the one file that the frontend reads.
func (l *layer) yaml(ctx context.Context) (*Layout, error) {
	entry := l.o.Entry
	if entry == "" {
		entry = startName
	}
	e, err := l.entry(ctx, entry, YAML)
	if err != nil {
		return nil, err
	}
	f, err := l.file(ctx, e, startName, entry)
	if err != nil {
		return nil, err
	}
	return l.finish(&Layout{Frontend: YAML, Entry: entry, Root: &File{Mode: rootMode, Children: []*File{f}}})
}

// dir lays out a directory and all below it.
func (l *layer) dir(ctx context.Context, at *place) (*File, error) {
	n, err := l.visit(ctx, at.dir)
	if err != nil {
		return nil, err
	}
	dir := &File{Name: at.name, Mode: dirMode}
	for _, e := range n.entries {
		if n := at.length + len(e.Name); n > maxPath {
			return nil, refuse(at.path(e.Name), fmt.Sprintf("is a path of %d bytes (limit %d on Linux)", n, maxPath),
				"shorten it and deploy again")
		}
		var below *File
		switch {
		case e.Mode == filemode.Submodule: // only its commit is known
			if len(l.without) < maxSubmodules {
				l.without = append(l.without, quote(at.path(e.Name)))
			}
			continue
		case e.Mode == filemode.Dir:
			if err := l.count(ctx, e.Name, leastDir); err != nil {
				return nil, err
			}
			below, err = l.dir(ctx, at.down(e.Name, e.OID))
		default:
			name := e.Name
			if isLink(e) {
				if e, err = l.linked(ctx, e, name, at); err != nil {
					return nil, err
				}
			}
			below, err = l.file(ctx, e, name, at.path(name))
		}
		if err != nil {
			return nil, err
		}
		dir.Children = append(dir.Children, below)
	}
	sortByName(dir.Children)
	return dir, nil
}

// file lays out a file.
func (l *layer) file(ctx context.Context, e tree.Entry, name, path string) (*File, error) {
	if e.Size > l.o.MaxValue {
		what := fmt.Sprintf("has %s, and mgmt reads a file as one value of etcd, of at most %s",
			text.ExactSize(e.Size), text.ExactSize(l.o.MaxValue))
		return nil, refuse(path, what,
			"let mgmt fetch it from elsewhere, or cut it in pieces; take it out of the tree and deploy again")
	}
	if err := l.count(ctx, name, leastFile); err != nil {
		return nil, err
	}
	l.files++
	if e.Size > tree.ChunkSize && l.large[e.SHA256] == nil {
		l.large[e.SHA256] = &Large{Path: path, OID: e.OID, Size: e.Size, SHA256: e.SHA256}
	}
	mode := fileMode
	if e.Mode == filemode.Executable {
		mode = execMode
	}
	return &File{Name: name, Mode: mode, SHA256: e.SHA256, Size: e.Size}, nil
}

// Bytes of the superblock that an entry takes at the least, without its name: mode, end, what announces fields and
// lengths, and for a file the hash's digits.
const (
	leastFile = 73
	leastDir  = 9
)

// count ends the walk over a tree as soon as its superblock is sure to be too large: a few directories that hold each
// other many times over make a tree with more files than there is memory for.
func (l *layer) count(ctx context.Context, name string, least int) error {
	if l.atLeast += int64(len(name) + least); l.atLeast <= l.o.MaxValue {
		return nil
	}
	files, err := l.filesBelow(ctx, l.src.Root, map[tree.OID]uint64{})
	if err != nil {
		return err
	}
	return l.tooMany(files, "more than "+text.ExactSize(l.o.MaxValue))
}

func (l *layer) tooMany(files uint64, superblock string) error {
	counted := "more than a million million"
	if files < maxCount {
		counted = humanize.Comma(int64(files))
	}
	what := fmt.Sprintf("the tree has %s files, and mgmt's list of them has %s: it is one value of etcd, of at most %s",
		counted, superblock, text.ExactSize(l.o.MaxValue))
	return refuse("", what, smaller)
}

const smaller = "deploy a part of it: give the target a path; or take files out of it and deploy again"

// maxVisited bounds what a walk over a tree takes: not all that is walked over is in the superblock, whose size ends
// most walks. It is a hundred times what a superblock can list.
const maxVisited = 2_000_000

// visit gives a directory all of whose entries are looked at next, and charges for them.
func (l *layer) visit(ctx context.Context, oid tree.OID) (*node, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n, err := l.node(oid)
	if err != nil {
		return nil, err
	}
	if l.visited += len(n.entries); l.visited > maxVisited {
		what := fmt.Sprintf("the tree has more than %s entries, those of a directory counted as often as it is there",
			humanize.Comma(maxVisited))
		return nil, refuse("", what, smaller)
	}
	return n, nil
}

// maxCount is where counting files ends.
const maxCount = 1_000_000_000_000

// filesBelow counts files and links below a directory, each directory once.
func (l *layer) filesBelow(ctx context.Context, oid tree.OID, known map[tree.OID]uint64) (uint64, error) {
	if total, ok := known[oid]; ok {
		return total, nil
	}
	n, err := l.visit(ctx, oid)
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for _, e := range n.entries {
		switch {
		case isFileOrLink(e):
			total++
		case e.Mode == filemode.Dir:
			below, err := l.filesBelow(ctx, e.OID, known)
			if err != nil {
				return 0, err
			}
			total += below
		}
		total = min(total, maxCount)
	}
	known[oid] = total
	return total, nil
}

// finish encodes the superblock, and refuses it if it is too large.
func (l *layer) finish(layout *Layout) (*Layout, error) {
	var err error
	if layout.Superblock, err = EncodeSuperblock(layout.Root); err != nil {
		return nil, err
	}
	if n := int64(len(layout.Superblock)); n > l.o.MaxValue {
		return nil, l.tooMany(uint64(l.files), text.ExactSize(n))
	}
	layout.Files, layout.Submodules = l.files, l.without
	for _, large := range l.large {
		layout.Large = append(layout.Large, large)
	}
	slices.SortFunc(layout.Large, func(a, b *Large) int { return strings.Compare(a.Path, b.Path) })
	return layout, nil
}

// node gives a directory, each of them once.
func (l *layer) node(oid tree.OID) (*node, error) {
	if n := l.nodes[oid]; n != nil {
		return n, nil
	}
	dir, err := l.src.Node(oid)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", oid, err)
	}
	n := &node{entries: dir.Entries, byName: make(map[string]int, len(dir.Entries))}
	for i := range n.entries {
		n.byName[n.entries[i].Name] = i
	}
	l.nodes[oid] = n
	return n, nil
}

func sortByName(files []*File) {
	slices.SortFunc(files, func(a, b *File) int { return strings.Compare(a.Name, b.Name) })
}
