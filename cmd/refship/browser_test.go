package main

// A real browser for the tests of the page: one headless Chromium, and for each test a tab with cookies of its own.

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"refship/deploy/fixture"
)

// newBrowser starts Chromium, which ends with the test. It talks over a pipe: no port is opened.
func newBrowser(t testing.TB) context.Context {
	t.Helper()
	fixture.Need(t, "chromium")
	home := t.TempDir()
	var said strings.Builder // read only after the browser has ended
	alloc, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		// What it loads is our own. Its sandbox needs more rights than a container, or an unpacked program, has.
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "DBUS_SESSION_BUS_ADDRESS=disabled:"),
		chromedp.CombinedOutput(&said),
	)...)
	// A Chromium that is newer than chromedp sends what chromedp does not know, and it tells of each.
	silent := func(string, ...any) {}
	browser, _ := chromedp.NewContext(alloc, chromedp.WithErrorf(silent), chromedp.WithLogf(silent))
	t.Cleanup(end)
	defer time.AfterFunc(patience, end).Stop()
	if err := chromedp.Do(browser); err != nil {
		end()
		t.Fatalf("start chromium: %v\n%s", err, said.String())
	}
	return browser
}

// tab is one page of the browser, with cookies of its own. What its console says is a fault of the page, and so is what
// its Content-Security-Policy forbids: at its end the test fails.
type tab struct {
	testing.TB
	ctx   context.Context
	close func() // at the end of the test, or before; then its faults are told

	mu       sync.Mutex
	said     []string
	expected []*regexp.Regexp // what the console may say
}

func newTab(t testing.TB, browser context.Context) *tab {
	t.Helper()
	b := &tab{TB: t}
	page, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	ctx, cancel := context.WithTimeout(page, patience)
	b.ctx = page // the first use makes the tab, which lives as long as what it was given
	b.do(chromedp.EmulateViewport(1024, 768), b.focused())
	b.ctx = ctx
	b.close = sync.OnceFunc(func() {
		_, _ = chromedp.Run(ctx, chromedp.Evaluate[int]("0")) // what was said before its answer is there
		cancel()
		closeTab()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, line := range b.said {
			if !slices.ContainsFunc(b.expected, func(e *regexp.Regexp) bool { return e.MatchString(line) }) {
				t.Errorf("the console: %s", line)
			}
		}
	})
	t.Cleanup(b.close)
	return b
}

// focused makes the tab behave as the one in front, whatever others do.
func (b *tab) focused() chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		return cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled,
			emulation.SetFocusEmulationEnabledParams{Enabled: true})
	}
}

// listen gets every event of the tab.
func (b *tab) listen(event any) {
	line := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		var args []string
		for _, arg := range e.Args {
			args = append(args, string(arg.Value)+arg.Description)
		}
		line = fmt.Sprintf("%s: %s", e.Type, strings.Join(args, " "))
	case *runtime.EventExceptionThrown:
		line = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			line += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		line = fmt.Sprintf("%s, %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, line)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// open loads a page, which must have the HTTP status.
func (b *tab) open(url string, status int64) {
	b.Helper()
	response, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(url))
	if err != nil {
		b.Fatalf("open %s: %v", url, err)
	}
	if response.Status != status {
		b.Fatalf("open %s: status %d, want %d", url, response.Status, status)
	}
}

// eval gives what an expression in the page is, as a T.
func eval[T any](b *tab, expression string) T {
	b.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until polls until an expression in the page is true. chromedp's own ways of waiting compile code in the page, which
// its policy forbids. Between two pages there is none to ask.
func (b *tab) until(expression string) {
	b.Helper()
	var last error
	for {
		done, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		switch {
		case err == nil && done:
			return
		case err != nil:
			last = err
		}
		select {
		case <-b.ctx.Done():
			b.Fatalf("this never came: %s; last error: %v", expression, last)
		case <-time.After(pollPause):
		}
	}
}

// untilText waits until an element that the selector finds contains the text.
func (b *tab) untilText(selector, text string) {
	b.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll(%s)].some(e => e.textContent.replace(/\s+/g, " ").includes(%s))`,
		quoteJS(selector), quoteJS(text)))
}

func quoteJS(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can be encoded
	}
	return string(quoted)
}

// expect says which more lines of the console are no faults.
func (b *tab) expect(pattern string) { b.expected = append(b.expected, regexp.MustCompile(pattern)) }

//go:embed testdata/axe/axe.min.js
var axe string

// accessible lets axe look for faults that keep people out, and reports the serious and the critical ones.
func (b *tab) accessible(page string) {
	b.Helper()
	if !eval[bool](b, `typeof axe === "object"`) {
		eval[chromedp.Void](b, axe)
	}
	type node struct {
		Target         []string
		FailureSummary string
	}
	result := eval[struct {
		Violations []struct {
			ID, Impact, Help string
			Nodes            []node
		}
		Passes int
	}](b, `axe.run(document, {preload: false, resultTypes: ["violations"]}).then(r => ({passes: r.passes.length,
		violations: r.violations}))`)
	if result.Passes == 0 {
		b.Errorf("%s: axe has looked at nothing", page)
	}
	for _, v := range result.Violations {
		report := b.Logf
		if v.Impact == "serious" || v.Impact == "critical" {
			report = b.Errorf
		}
		for _, n := range v.Nodes {
			report("%s: %s, %s: %s at %q: %s", page, v.Impact, v.ID, v.Help, n.Target, n.FailureSummary)
		}
	}
}

// That a tab sees the faults of a page.
func TestBrowserSeesFaults(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/script" {
			out.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(out, `console.warn("warned"); document.body.id = "ran"; throw new Error("thrown")`)
			return
		}
		out.Header().Set("Content-Type", "text/html")
		out.Header().Set("Content-Security-Policy", "default-src 'self'")
		fmt.Fprint(out, `<!doctype html><title>t</title><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">`+
			`<p style="color: red">text</p><script src="/script"></script>`)
	}))
	t.Cleanup(server.Close)
	seen := &recorder{TB: t}
	b := newTab(seen, browser)
	b.open(server.URL, 200)
	b.until(`document.body.id === "ran"`)
	b.accessible("page")
	b.until(`performance.getEntriesByType("resource").length > 0`)
	b.close()
	for _, want := range []string{"warned", "thrown", "style-src", "img-src", "image-alt", "html-has-lang"} {
		if !strings.Contains(seen.text(), want) {
			t.Errorf("%s is not seen in:\n%s", want, seen.text())
		}
	}
}

// recorder is a test whose errors are only kept.
type recorder struct {
	testing.TB
	errors strings.Builder
}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.errors, format+"\n", args...) }
func (r *recorder) text() string                      { return r.errors.String() }
