package web

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// FuzzPlace: whatever an address is, what is read of it can be used as it is, and leads back to it.
func FuzzPlace(f *testing.F) {
	for _, seed := range []string{
		"/", "/?after=a:b", "/chain/config", "/chain/team/config:default/-/deploy/7/files/a%2Fb/%ff", "/events?chain=a:b",
		"/chain/c:d?from=7&path=a%20b&by=eve&commit=1234567&since=2026-01-01&until=2026-01-01T10:00:00Z",
		"/chain/c/-/compare?from=1&to=head&path=x", "/chain/c/-/deploy/7/raw/..",
		"/chain/../-/nodes", "/chain/c?path=%00&by=%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		u, err := url.Parse(address)
		if err != nil {
			return
		}
		at, err := parsePlace(u)
		if err != nil {
			if !errors.Is(err, errNone) && !fault.Is(err, fault.Usage) {
				t.Fatalf("%q: %v", address, err)
			}
			return
		}
		if at.repo != "" && text.BadRepositoryName(at.repo) != "" || at.target != "" && !targetName.MatchString(at.target) {
			t.Fatalf("%q: %+v", address, at)
		}
		for _, path := range []string{at.path, at.filter.Path} {
			for name := range strings.SplitSeq(path, "/") {
				if name == "" && path != "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
					t.Fatalf("%q: path %q", address, path)
				}
			}
		}
		if at.repo == "" || at.page == pageEvents {
			return
		}
		of := linksOf(Repository{Name: at.repo}, Target{Name: at.target})
		back := map[string]string{
			pageTimeline: of.Timeline() + at.filter.query(at.filter.From), pageNodes: of.Nodes(), pageDeploy: of.Deploy(at.id),
			pageFile: of.Files(at.id, at.path), pageRaw: of.Raw(at.id, at.path), pageCompare: of.Diff(at.from, at.to, at.path),
		}[at.page]
		if at.target == "" || at.page == pageCompare && (at.from == 0 || at.to == 0) {
			return
		}
		again, err := url.Parse(back)
		if err != nil {
			t.Fatalf("%q leads to %q: %v", address, back, err)
		}
		at.part = false
		if found, err := parsePlace(again); err != nil || found != at {
			t.Fatalf("%q leads to %q: %+v, %+v, %v", address, back, at, found, err)
		}
	})
}

// The pages show times without what is below a second: who types one of them finds what happened then.
func TestTimesAreInclusive(t *testing.T) {
	for typed, want := range map[string]string{
		"2026-11-24": "2026-11-24T23:59:59.999999999Z", "2026-11-24T14:00": "2026-11-24T14:00:59.999999999Z",
		"2026-11-24T14:00:07Z": "2026-11-24T14:00:07.999999999Z", "2026-11-24T14:00:07.5Z": "2026-11-24T14:00:07.5Z",
	} {
		if at, err := parseTime(typed, true); err != nil || at.Format(time.RFC3339Nano) != want {
			t.Errorf("until %s is %s, %v; want %s", typed, at.Format(time.RFC3339Nano), err, want)
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	for _, address := range []string{
		"/chain/c?path=" + strings.Repeat("a", record.MaxPath+1), "/" + strings.Repeat("a", maxQuery), "/chain/c?a=%zz",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsePlace(u); !fault.Is(err, fault.Usage) {
			t.Errorf("%.40s: %v", address, err)
		}
	}
}
