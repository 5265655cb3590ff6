package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/gitserver/web"
)

const config = "/chain/config:default"

func TestAllChains(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one := s.push("first", map[string]string{"a": "1"})
	two := s.push("second", map[string]string{"a": "2"})
	s.node("n1", "", two, record.NodeRunning)
	s.node("n2", "", one, record.NodeRunning)
	if err := s.Chain().Hold(t.Context(), &record.Hold{User: "ops", Reason: "look at it", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.ahead = true })
	page := s.page("/")
	s.wantAll(page, `href="/chain/config:default"`, `href="/chain/config:default/-/deploy/2">2<`, two.Hash.Short(),
		"second", "by ada, push, <time datetime=", "on hold", "by ops", "look at it", "ref ahead", "1 of 2 nodes",
		"team/two : a", "No deploy yet.", "team/two : b")
	if strings.Contains(page, "secret") {
		t.Errorf("a repository that the viewer may not read is on\n%s", page)
	}
	if strings.Contains(s.page("/?after=config:default"), `href="/chain/config:default"`) {
		t.Error("a chain is on two pages")
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one := s.push("first", map[string]string{"a": "1", "dir/b": "1"})
	s.push("second", map[string]string{"a": "2", "dir/b": "1"}, func(j *deploy.Job) { j.Pusher.Name = "bob" })
	if err := s.Chain().Hold(t.Context(), &record.Hold{User: "ops", Reason: "look at it", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	resume := &record.Event{Kind: record.EventResume, User: "ops", Time: time.Now()}
	if _, err := s.Chain().Resume(t.Context(), resume, true); err != nil {
		t.Fatal(err)
	}
	s.last = s.Repo.Commit("other line", map[string]fixture.File{"a": {Content: "3"}})
	forced := s.Job(s.last)
	forced.Force, forced.Reason, forced.Signer = true, "it must be", fixture.Signer(9)
	three, err := s.Publish(t.Context(), forced)
	if err != nil {
		t.Fatal(err)
	}
	selector, err := record.ParseSelector("1")
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Chain().NewRollback(t.Context(), selector)
	if err != nil {
		t.Fatal(err)
	}
	back.Pusher, back.Reason, back.Server, back.Signer = record.Pusher{Name: "ada"}, "worse", "host", fixture.Signer(1)
	back.Force = true
	if _, err := s.Publish(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	page := s.page(config)
	s.wantAll(page, `<li class="rollback">`, "/-/deploy/4", "rollback</span>", "Reason: worse",
		`<li class="bad">`, "/-/deploy/3", "forced</span>", "signature does not count", "Reason: it must be",
		"is not an allowed signer", `<li class="event">`, "resume", `<li class="held">`, "hold", "look at it", "by ops", "/-/deploy/2", "/-/deploy/1")
	for query, want := range map[string][]int{
		"?by=bob":                            {2},
		"?by=eve":                            {},
		"?path=dir/b":                        {4, 3, 1},
		"?path=a":                            {4, 3, 2, 1},
		"?path=none":                         {},
		"?commit=" + one.Hash.OID().String(): {1},
		"?commit=" + three.Hash.OID().String()[:7]: {3},
		"?commit=" + strings.Repeat("e", 40):       {},
		"?from=2":                                  {2, 1},
		"?from=900":                                {4, 3, 2, 1},
		"?since=2999-01-01":                        {},
		"?until=2999-01-01":                        {4, 3, 2, 1},
		"?until=1999-01-01":                        {},
		"?since=1999-01-01T10:00&by=bob&path=a":    {2},
	} {
		page := s.page(config + query)
		for id := 1; id <= 4; id++ {
			is := strings.Contains(page, fmt.Sprintf(`<a class="id" href="%s/-/deploy/%d">`, config, id))
			wanted := false
			for _, one := range want {
				wanted = wanted || one == id
			}
			if is != wanted {
				t.Errorf("%s: deploy %d is there: %v, want %v", query, id, is, wanted)
			}
		}
	}
	for _, query := range []string{"?from=x", "?from=-1", "?path=../a", "?commit=zz", "?since=yesterday",
		"?by=" + strings.Repeat("x", 65)} {
		if status, _, _ := s.do(http.MethodGet, config+query); status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, status)
		}
	}
}

func TestTimelinePages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	chain.PutHistory(s, s.Client, s.Namespace, 120)
	var seen []string
	next := config
	for next != "" {
		page := s.page(next)
		for line := range strings.Lines(page) {
			if _, rest, ok := strings.Cut(line, `<a class="id" href="`+config+`/-/deploy/`); ok {
				id, _, _ := strings.Cut(rest, `"`)
				seen = append(seen, id)
			}
		}
		_, rest, _ := strings.Cut(page, `<a rel="next" href="`)
		next, _, _ = strings.Cut(rest, `"`)
	}
	for i, id := range seen {
		if id != fmt.Sprint(120-i) {
			t.Fatalf("the %d-th deploy is %s", i, id)
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d deploys", len(seen))
	}
	// The deploy N came N seconds after 2023-11-14T22:13:20Z.
	s.wantAll(s.page(config+"?until=2023-11-14T22:14:00Z"), `/-/deploy/40"`, `/-/deploy/39"`)
	if page := s.page(config + "?until=2023-11-14T22:14:00Z"); strings.Contains(page, `/-/deploy/41"`) ||
		strings.Contains(page, "looked at") {
		t.Errorf("too late:\n%s", page)
	}
	s.wantAll(s.page(config+"?since=2023-11-14T22:14:00Z&until=2023-11-14T22:14:00Z"), `/-/deploy/40"`)
	s.wantAll(s.page(config+"?path=dir3"), "/-/deploy/103", "/-/deploy/83", "/-/deploy/3\"")
}

func TestDeployPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("first", map[string]string{"main.go": "package main\n\nfunc main() {}\n", "bin": "a\x00b", "gone": "x\n"})
	two := s.push("tune it", map[string]string{
		"main.go": "package main\n\nfunc main() { run(7) }\n", "bin": "a\x00c", "new": "y\n"})
	s.node("n1", "canary", two, record.NodeRunning)
	page := s.page(config + "/-/deploy/2")
	s.wantAll(page, "tune it", "1 of 1 node", "n1", `<strong class="good">sound</strong>, signed by server`,
		"contents", "holds", two.Hash.OID().String(), "4 files", "bin", "binary", "gone", "deleted", "main.go", "changed",
		`<tr class="del">`, `<span class="kd">func</span>`, `<tr class="ins">`, `<span class="mi">7</span>`, "new", "added",
		"SHA256:")
	s.wantAll(s.page(config+"/-/deploy/1"), "Compare with the head, 2", "all its files")
	live := s.page(config + "/-/deploy/2?part=live")
	if strings.Contains(live, "Commits") || !strings.Contains(live, "n1") {
		t.Errorf("the part that changes by itself is\n%s", live)
	}
	// A content that was changed in etcd is said to be.
	for key := range s.Dump() {
		if strings.Contains(key, "/storage/") {
			s.Put(key, "z\n")
		}
	}
	s.wantAll(s.page(config+"/-/deploy/2"), `<strong class="bad">damaged</strong>`, "fails")
}

func TestCompareAndFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("1", map[string]string{"a": "one\n", "dir/b": "x\n"})
	big := strings.Repeat("0123456789abcde\n", 1<<16+1)
	s.push("2", map[string]string{"a": "two\n", "dir/b": "x\n", "bin": "a\x00b", "big": big})
	s.push("3", map[string]string{"a": "three\n", "dir/b": "y\n", "weird \n<b>&'\"": "z", "empty": ""})
	page := s.page(config + "/-/compare?from=1&to=3")
	s.wantAll(page, "From", "/-/deploy/1", "To", "/-/deploy/3", "4 files", "one", "three", "dir/b")
	page = s.page(config + "/-/compare?from=1&to=3&path=dir")
	if strings.Contains(page, "three") || !strings.Contains(page, "dir/b") {
		t.Errorf("only below dir:\n%s", page)
	}
	s.wantAll(s.page(config+"/-/compare?to=2"), "/-/deploy/1", "/-/deploy/2")
	s.wantAll(s.page(config+"/-/deploy/2/files/"), "big", "1 MiB", "dir/")
	s.wantAll(s.page(config+"/-/deploy/2/files/dir"), "/-/deploy/2/files/dir/b")
	s.wantAll(s.page(config+"/-/deploy/2/files/a"), "file, 4 B", "two")
	s.wantAll(s.page(config+"/-/deploy/2/files/bin"), "binary")
	s.wantAll(s.page(config+"/-/deploy/2/files/big"), "larger than 1 MiB")
	s.wantAll(s.page(config+"/-/deploy/3/files/"), `weird \n&lt;b&gt;&amp;`)
	s.wantAll(s.page(config+"/-/deploy/3/files/weird%20%0A%3Cb%3E&'%22"), "z")
	status, body, h := s.do(http.MethodGet, config+"/-/deploy/2/raw/bin")
	if status != http.StatusOK || body != "a\x00b" || h.Get("Content-Type") != "application/octet-stream" ||
		h.Get("Content-Disposition") != "attachment; filename=bin" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q %v", status, body, h)
	}
	if status, body, _ := s.do(http.MethodGet, config+"/-/deploy/2/raw/big"); status != http.StatusOK || body != big {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	if status, body, h := s.do(http.MethodHead, config+"/-/deploy/2/raw/big"); status != http.StatusOK || body != "" ||
		h.Get("Content-Length") != "1048592" {
		t.Errorf("%d %q %v", status, body, h)
	}
	if status, body, _ := s.do(http.MethodGet, config+"/-/deploy/3/raw/empty"); status != http.StatusOK || body != "" {
		t.Errorf("%d %q", status, body)
	}
	for _, path := range []string{
		"/-/deploy/4", "/-/deploy/0", "/-/deploy/x", "/-/deploy/1/files/none", "/-/deploy/1/files/a/b", "/-/deploy/1/raw/dir",
		"/-/deploy/1/raw/none", "/-/deploy/1/raw/", "/-/deploy/1/other/a", "/-/other", "/-/compare?from=1&to=9", "/-/nodes/x",
	} {
		if status, _, _ := s.do(http.MethodGet, config+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestNodesByRing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one := s.push("first", map[string]string{"a": "1"})
	rings := record.Rings{Names: "canary,rest", Pause: time.Hour}
	two := s.push("second", map[string]string{"a": "2"}, func(j *deploy.Job) { j.Rings = rings })
	s.node("zz", "canary", two, record.NodeRunning)
	s.node("aa", "rest", one, record.NodeWaiting)
	s.node("none", "", one, record.NodeFailed)
	s.wantAll(s.page(config+"/-/nodes"), "1 of 3 nodes", "Ring canary", "1 of 1 node", "zz", "running", "Ring rest",
		"0 of 1 node", "it is not released to them", "aa", "waiting", "Without a ring", "none", "failed")
	s.wantAll(s.page("/chain/team/two:a/-/nodes"), "No deploy yet.", "No node has reported.")
}

// Nobody can tell what they may not read from what is not there.
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("first", map[string]string{"a": "1"})
	for _, below := range []string{
		"", "/-/nodes", "/-/compare?from=1&to=1", "/-/deploy/1", "/-/deploy/1/files/", "/-/deploy/1/files/a",
		"/-/deploy/1/raw/a",
	} {
		var bodies []string
		for _, chain := range []string{
			"/chain/secret:default", "/chain/secret", "/chain/unknown:default", "/chain/config:other",
		} {
			status, body, _ := s.do(http.MethodGet, chain+below)
			if status != http.StatusNotFound {
				t.Errorf("%s: %d", chain+below, status)
			}
			bodies = append(bodies, body)
		}
		for _, body := range bodies[1:] {
			if body != bodies[0] {
				t.Errorf("%s: one can be told from another:\n%s\n%s", below, bodies[0], body)
			}
		}
	}
	if status, _, _ := s.do(http.MethodGet, "/events?chain=secret:default"); status != http.StatusNotFound {
		t.Error("a stranger hears of a chain:", status)
	}
	s.set(func() { s.hidden["config"] = true })
	if status, _, _ := s.do(http.MethodGet, config); status != http.StatusNotFound {
		t.Error("the rule is gone:", status)
	}
	if page := s.page("/"); strings.Contains(page, "config") {
		t.Errorf("the rule is gone:\n%s", page)
	}
	s.set(func() { s.viewer = fmt.Errorf("nobody knows you <here>") })
	for _, path := range []string{"/", config, "/events", "/nothing"} {
		status, body, _ := s.do(http.MethodGet, path)
		if status != http.StatusForbidden || !strings.Contains(body, "nobody knows you &lt;here&gt;") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := s.do(http.MethodGet, "/static/page.css"); status != http.StatusOK {
		t.Error("the page of the refusal has no style:", status)
	}
}

// What stands in a chain is shown, and does nothing.
func TestHostileText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`" + ` javascript:alert(1) {{.}} </table>`
	s.push("first", map[string]string{"a": "1"})
	name := `<img src=x onerror=alert(1)>'".html`
	d := s.push(evil+"\u202etxt", map[string]string{
		name: evil + "\n\u202e\x1b[31m\n<!-- ", "x.html": evil, "x.js": "</script>" + evil, "x.css": evil,
	}, func(j *deploy.Job) {
		j.Pusher.Name, j.Reason = evil, evil
	})
	report := &record.NodeReport{Name: "n", ID: d.ID, State: record.NodeState(evil), Reason: evil, Ring: evil}
	encoded, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.Put(s.Chain().Key(record.NodeKeys+evil), string(encoded))
	if err := s.Chain().Hold(t.Context(), &record.Hold{User: evil, Reason: evil, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s.web.Push(web.Push{Namespace: s.Namespace, By: evil, Hash: record.Hash(evil), Phase: web.Checking})
	escaped := "%3Cimg%20src=x%20onerror=alert%281%29%3E%27%22.html"
	for _, path := range []string{
		"/", config, config + "?by=%3Cscript%3E&path=%22%3E%3Cscript%3E&since=2026-01-01", config + "/-/deploy/2",
		config + "/-/nodes", config + "/-/compare?from=1&to=2", config + "/-/deploy/2/files/", config + "/-/deploy/2/files/" + escaped,
		config + "/-/deploy/2/files/x.html", config + "/-/deploy/2/files/x.js", config + "/-/deploy/2/files/x.css",
		config + "?since=%3Cscript%3E", "/%3Cscript%3E",
	} {
		_, body, h := s.do(http.MethodGet, path)
		wantInert(t, path, body)
		csp := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; style-src 'self'; script-src 'self'") ||
			strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		// Nothing is kept that was read, and forms say where they come from, also to a door that asks.
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", path, h)
		}
	}
	_, _, h := s.do(http.MethodGet, config+"/-/deploy/2/raw/x.html")
	if h.Get("Content-Type") != "application/octet-stream" ||
		!strings.HasPrefix(h.Get("Content-Disposition"), "attachment") ||
		!strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") {
		t.Error(h)
	}
}

func TestOnlyReads(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, method := range []string{
		http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions,
	} {
		status, _, h := s.do(method, config)
		if status != http.StatusMethodNotAllowed || h.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", method, status, h)
		}
	}
	for _, path := range []string{"/", config, "/events", "/static/page.js"} {
		if status, body, _ := s.do(http.MethodHead, path); status != http.StatusOK || body != "" {
			t.Errorf("HEAD %s: %d %q", path, status, body)
		}
	}
}
