package web

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// The pages.
const (
	pageChains   = "chains"
	pageTimeline = "timeline"
	pageDeploy   = "deploy"
	pageCompare  = "compare"
	pageFile     = "file"
	pageRaw      = "raw"
	pageNodes    = "nodes"
	pageEvents   = "events"
)

// place is what an address names: doc.go has all addresses. What is in it was validated.
type place struct {
	page         string
	repo, target string    // "" without a chain; target may be "" for the only one
	id           record.ID // of pageDeploy, pageFile and pageRaw
	path         string    // in the deploy's tree; raw bytes
	from, to     record.ID // of pageCompare; 0: the head
	after        string    // of pageChains: those after this one
	filter       filter    // of pageTimeline
	part         bool      // only what changes by itself
	_            struct{}  // named fields only
}

// filter chooses deploys of a timeline.
type filter struct {
	From         record.ID // from this one down; 0: from the head
	Path         string    // only what has changed it
	By           string    // only what this person did
	Commit       string    // only the deploy that was the first with it: its first digits
	Since, Until string    // as they were asked for
	since, until time.Time // zero: any
}

// IsEmpty tells whether all deploys are asked for.
func (f filter) IsEmpty() bool {
	f.From = 0
	return f == filter{}
}

const (
	maxQuery = 16 << 10 // bytes of an address
	maxBy    = 64
)

var targetName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// bad says what of an address cannot be understood.
func bad(format string, args ...any) error { return fault.Newf(fault.Usage, format, args...) }

// parsePlace reads an address. What no page can be at is errNone.
func parsePlace(u *url.URL) (place, error) {
	if len(u.Path)+len(u.RawQuery) > maxQuery {
		return place{}, bad("the address is longer than %d bytes", maxQuery)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return place{}, bad("the address has a query that is none")
	}
	at := place{part: query.Get("part") == "live"}
	switch rest, isChain := strings.CutPrefix(u.Path, "/chain/"); {
	case u.Path == "/":
		at.page, at.after = pageChains, query.Get("after")
		if at.after == "" {
			return at, nil
		}
		_, _, err := splitChain(at.after)
		return at, err
	case u.Path == "/events":
		at.page = pageEvents
		if chain := query.Get("chain"); chain != "" {
			at.repo, at.target, err = splitChain(chain)
		}
		return at, err
	case isChain:
		return at, at.parseChain(rest, query)
	}
	return place{}, errNone
}

// splitChain reads REPO or REPO:TARGET.
func splitChain(s string) (repo, target string, err error) {
	repo, target, named := strings.Cut(s, ":")
	if text.BadRepositoryName(repo) != "" || named && !targetName.MatchString(target) {
		return "", "", errNone
	}
	return repo, target, nil
}

// parseChain reads what follows /chain/.
func (p *place) parseChain(rest string, query url.Values) (err error) {
	// No element of a repository's name begins with "-".
	name, below, _ := strings.Cut(rest, "/-/")
	if p.repo, p.target, err = splitChain(name); err != nil {
		return err
	}
	what, below, _ := strings.Cut(below, "/")
	switch {
	case rest == name:
		p.page = pageTimeline
		return p.filter.parse(query)
	case what == "nodes" && below == "":
		p.page = pageNodes
		return nil
	case what == "compare" && below == "":
		p.page = pageCompare
		return p.parseCompare(query)
	case what == "deploy":
		return p.parseDeploy(below)
	}
	return errNone
}

func (p *place) parseDeploy(below string) (err error) {
	number, below, more := strings.Cut(below, "/")
	if p.id, err = record.ParseID(number); err != nil {
		return errNone
	}
	what, path, _ := strings.Cut(below, "/")
	switch {
	case !more:
		p.page = pageDeploy
		return nil
	case what == "files":
		p.page = pageFile
	case what == "raw" && path != "":
		p.page = pageRaw
	default:
		return errNone
	}
	p.path, err = parsePath(path)
	return err
}

// parsePath checks a path in a deploy's tree: names of raw bytes with "/" between, or "" for the whole tree.
func parsePath(path string) (string, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return "", nil
	}
	if len(path) > record.MaxPath || strings.ContainsRune(path, 0) {
		return "", bad("that is no path")
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return "", bad("that is no path")
		}
	}
	return path, nil
}

func (p *place) parseCompare(query url.Values) (err error) {
	if p.from, err = parseID(query.Get("from")); err != nil {
		return err
	}
	if p.to, err = parseID(query.Get("to")); err != nil {
		return err
	}
	p.path, err = parsePath(query.Get("path"))
	return err
}

// parseID reads an id; 0 for "" and "head".
func parseID(s string) (record.ID, error) {
	if s == "" || s == "head" {
		return 0, nil
	}
	id, err := record.ParseID(s)
	if err != nil {
		return 0, bad("%s is no number of a deploy", text.Mention(text.Clip(s)))
	}
	return id, nil
}

func (f *filter) parse(query url.Values) (err error) {
	if f.From, err = parseID(query.Get("from")); err != nil {
		return err
	}
	if f.Path, err = parsePath(query.Get("path")); err != nil {
		return err
	}
	f.By = strings.TrimSpace(query.Get("by"))
	if len(f.By) > maxBy || !utf8.ValidString(f.By) {
		return bad("that is no person's name")
	}
	if f.Commit = strings.TrimSpace(query.Get("commit")); f.Commit != "" {
		selector, err := record.ParseSelector(f.Commit)
		if err != nil || selector.Commit() == "" {
			return bad("%s is no commit: 7 to 64 hex digits in lower case", text.Mention(text.Clip(f.Commit)))
		}
	}
	f.Since, f.Until = query.Get("since"), query.Get("until")
	if f.since, err = parseTime(f.Since, false); err != nil {
		return err
	}
	f.until, err = parseTime(f.Until, true)
	return err
}

// parseTime reads a UTC day or minute, or RFC 3339; where end is asked for, the end of that day, minute or second. ""
// is zero.
func parseTime(s string, end bool) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, is := range []struct {
		layout string
		long   time.Duration
	}{{time.DateOnly, 24 * time.Hour}, {"2006-01-02T15:04", time.Minute}, {time.RFC3339, time.Second}} {
		at, err := time.Parse(is.layout, s)
		if err != nil {
			continue
		}
		if end && at.Nanosecond() == 0 {
			at = at.Add(is.long - time.Nanosecond)
		}
		return at, nil
	}
	return time.Time{}, bad("%s is no time such as 2026-11-24 or 2026-11-24T14:00:00Z", text.Mention(text.Clip(s)))
}

// query is a filter's part of an address.
func (f filter) query(from record.ID) string {
	values := url.Values{}
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	if from != 0 {
		set("from", from.String())
	}
	set("path", f.Path)
	set("by", f.By)
	set("commit", f.Commit)
	set("since", f.Since)
	set("until", f.Until)
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// links makes the addresses of a chain.
type links struct{ name string }

func linksOf(repo Repository, t Target) links { return links{repo.Name + ":" + t.Name} }

func (l links) Timeline() string { return "/chain/" + l.name }
func (l links) Name() string     { return l.name }
func (l links) Nodes() string    { return l.Timeline() + "/-/nodes" }
func (l links) Compare() string  { return l.Timeline() + "/-/compare" }
func (l links) Events() string   { return "/events?chain=" + url.QueryEscape(l.name) }

func (l links) Deploy(id record.ID) string { return fmt.Sprintf("%s/-/deploy/%d", l.Timeline(), id) }

func (l links) Files(id record.ID, path string) string {
	return l.Deploy(id) + "/files/" + escape(path)
}
func (l links) Raw(id record.ID, path string) string { return l.Deploy(id) + "/raw/" + escape(path) }

func (l links) Diff(from, to record.ID, path string) string {
	values := url.Values{"from": {strconv.FormatUint(uint64(from), 10)}, "to": {strconv.FormatUint(uint64(to), 10)}}
	if path != "" {
		values.Set("path", path)
	}
	return l.Compare() + "?" + values.Encode()
}

// escape makes a path of raw bytes part of an address.
func escape(path string) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		names[i] = url.PathEscape(name)
	}
	return strings.Join(names, "/")
}
