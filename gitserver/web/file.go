package web

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/gitserver/web/code"
)

const (
	// maxShown is the size, in bytes, of the largest file whose text is shown, and maxLines how many lines of it are.
	maxShown, maxLines = 1 << 20, 10_000
	// maxEntries is how many entries of a directory are shown.
	maxEntries = 5000
	// downloadTime bounds a download.
	downloadTime = 30 * time.Minute
)

// filePage is a file, or a directory, as a deploy has it.
type filePage struct {
	links
	ID      record.ID
	Path    string // raw bytes
	Crumbs  []crumb
	Kind    string
	Size    int64
	OID     string
	SHA256  string
	Lines   []code.Line
	More    bool   // there are more lines
	Why     string // it is not shown; "": it is
	IsDir   bool
	Raw     bool // it can be downloaded
	Entries []entry
	Left    int // entries that are not shown
}

// RawOf is where the file can be downloaded.
func (p filePage) RawOf() string { return p.links.Raw(p.ID, p.Path) }

// crumb is a directory on the way to a path.
type crumb struct{ Name, Path string }

// entry is one of a directory.
type entry struct {
	Name, Path, Kind string
	Size             int64
	IsFile, IsDir    bool
}

// file answers with a file, or a directory, as a deploy has it.
func (w *Web) file(ctx context.Context, q *request) error {
	chain, of := w.open(q), linksOf(q.repo, q.target)
	d, err := chain.Get(ctx, q.at.id)
	if err != nil {
		return err
	}
	page := filePage{links: of, ID: d.ID, Path: q.at.path}
	for at, names := "", strings.Split(q.at.path, "/"); len(names) > 0 && names[0] != ""; names = names[1:] {
		at = path.Join(at, names[0])
		page.Crumbs = append(page.Crumbs, crumb{names[0], at})
	}
	found, err := look(ctx, chain, d, q.at.path)
	switch {
	case err != nil:
		return err
	case found == nil:
		page.IsDir = true
		err = page.list(ctx, chain, d)
	default:
		page.Kind, page.Size, page.OID, page.SHA256 = kindOf(found), found.Size, found.OID.String(), found.SHA256.String()
		err = w.show(ctx, chain, d, found, &page)
	}
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s in deploy %d of %s", text.QuotePath(q.at.path), d.ID, of.name)
	if q.at.path == "" {
		title = fmt.Sprintf("Files of deploy %d of %s", d.ID, of.name)
	}
	w.render(q, http.StatusOK, "file", view{Title: title, Chain: &of, Page: page})
	return nil
}

// look finds what is at a path; nil: a directory. Of a file only the entry is read.
func look(ctx context.Context, chain *store.Chain, d *record.Deploy, at string) (*tree.Entry, error) {
	if at == "" {
		return nil, nil //nolint:nilnil // the root is a directory
	}
	dir, name := path.Split(at)
	var found *tree.Entry
	err := chain.List(ctx, d, strings.TrimSuffix(dir, "/"), false, func(_ string, e tree.Entry) error {
		if e.Name == name {
			found = &e
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, errNone
	case found.Mode == filemode.Dir:
		return nil, nil //nolint:nilnil // as above
	}
	return found, nil
}

// list lists a directory.
func (p *filePage) list(ctx context.Context, chain *store.Chain, d *record.Deploy) error {
	return chain.List(ctx, d, p.Path, false, func(at string, e tree.Entry) error {
		if len(p.Entries) == maxEntries {
			p.Left++
			return nil
		}
		p.Entries = append(p.Entries, entry{
			Name: strings.Clone(e.Name), Path: at, Kind: kindOf(&e), Size: e.Size, IsFile: isFile(&e),
			IsDir: e.Mode == filemode.Dir,
		})
		return nil
	})
}

// show reads a file's text.
func (w *Web) show(ctx context.Context, chain *store.Chain, d *record.Deploy, e *tree.Entry, page *filePage) error {
	switch page.Raw = isFile(e); {
	case !page.Raw:
		page.Why = "a submodule's content is not deployed"
		return nil
	case e.Size > maxShown:
		page.Why = fmt.Sprintf("larger than %s: download it", text.Size(maxShown))
		return nil
	}
	var b bytes.Buffer
	if err := chain.Content(ctx, d, *e, &b); err != nil {
		return err
	}
	if text.IsBinary(b.Bytes()) {
		page.Why = "binary: download it"
		return nil
	}
	var content string
	content, page.More = firstLines(b.String(), maxLines)
	page.Lines = w.colors.NewPage().Lines(path.Base(page.Path), content)
	return nil
}

// firstLines gives the first lines of a text, and tells whether there are more.
func firstLines(content string, most int) (first string, more bool) {
	end := 0
	for line := range strings.Lines(content) {
		if most == 0 {
			return content[:end], true
		}
		most--
		end += len(line)
	}
	return content, false
}

// raw answers with a file's bytes, which no browser shows.
func (w *Web) raw(ctx context.Context, q *request) error {
	chain := w.cfg.Chain(q.target.Namespace)
	d, err := chain.Get(ctx, q.at.id)
	if err != nil {
		return err
	}
	e, err := look(ctx, chain.Within(requestBytes), d, q.at.path)
	switch {
	case err != nil:
		return err
	case e == nil || !isFile(e):
		return errNone
	}
	out := &download{q: q, size: e.Size}
	err = chain.Content(ctx, d, *e, out)
	if err == nil && !out.begun { // an empty file
		_, err = out.Write(nil)
	}
	if err != nil && out.begun {
		panic(http.ErrAbortHandler) // the browser must not take a part for the whole
	}
	return err
}

// download sends a file's bytes as they come, for as long as the browser takes them.
type download struct {
	q     *request
	size  int64
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.q.patient()
		h := d.q.out.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
		h.Set("Content-Length", fmt.Sprint(d.size))
		named := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(d.q.at.path)})
		if named == "" {
			named = "attachment"
		}
		h.Set("Content-Disposition", named)
	}
	if d.q.Method == http.MethodHead {
		return len(p), nil
	}
	d.q.waitLess()
	return d.q.out.Write(p)
}
