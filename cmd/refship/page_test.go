package main

// What a person gains from these tests: the page shows what is deployed, and to whom it may, in a real browser. It is
// live, narrow, for the keyboard and for those who cannot see, in light and dark, with or without script.

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"refship/deploy/fixture"
)

func TestPage(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	t.Run("push", func(t *testing.T) {
		t.Parallel()
		testPushAppears(newPageWorld(t, browser))
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		testSignInOverTLS(newPageWorld(t, browser))
	})
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		p := newPageWorld(t, browser)
		p.serve("", "")
		p.furnishAll()
		if *screenshots {
			takeScreenshots(p)
			return
		}
		for name, test := range map[string]func(*pageWorld){
			"light": func(p *pageWorld) { testPageIsAccessible(p, "light") },
			"dark":  func(p *pageWorld) { testPageIsAccessible(p, "dark") },
			"diff":  testDiffIsRead, "hostile": testHostileNames, "keyboard": testPageByKeyboard, "narrow": testPageIsNarrow,
			"script": testPageWithoutScript, "search": testSearch, "strangers": testStrangersAreRefused,
			"zone": testTimesInTheReadersZone,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(p.of(t))
			})
		}
	})
}

// mainPages are one of each kind, as somebody sees them who may read all.
var mainPages = []struct {
	path   string
	status int64
}{
	{"/", 200},
	{"/chain/shop:default", 200},
	{"/chain/shop:default?by=ben&path=motd", 200},
	{"/chain/shop:default/-/deploy/1", 200},
	{"/chain/shop:default/-/deploy/6", 200},
	{"/chain/shop:default/-/deploy/7", 200},
	{"/chain/shop:default/-/compare?from=1&to=7", 200},
	{"/chain/shop:default/-/deploy/6/files/", 200},
	{"/chain/shop:default/-/deploy/6/files/cart/cart.go", 200},
	{"/chain/dns:default", 200},
	{"/chain/dns:default/-/deploy/2", 200},
	{"/chain/dns:default/-/deploy/2/files/zones", 200},
	{"/chain/site:default/-/nodes", 200},
	{"/chain/none:default", 404},
	{"/chain/shop:default?since=never", 400},
}

// openAll opens one page after the other. The console tells of those that fail.
func (p *pageWorld) openAll(b *tab, look func(path string)) {
	b.Helper()
	b.expect(`Failed to load resource: the server responded with a status of 40[04] \(`)
	for _, one := range mainPages {
		b.open(p.at+one.path, one.status)
		b.until(`document.readyState === "complete"`)
		look(one.path)
	}
}

// stopped makes a named pipe, and gives a function that lets its reader go on.
func (p *pageWorld) stopped(name string) (path string, goOn func()) {
	path = p.in(name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		p.Fatal(err)
	}
	return path, func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			p.Fatal(err)
		}
		f.Close()
	}
}

// A push appears without a reload while it runs: in its check, before it is published, and then as the head, on every
// page that is about it.
func testPushAppears(p *pageWorld) {
	check, endCheck := p.stopped("check")
	uploaded, endUpload := p.stopped("uploaded")
	p.serve("uploaded", uploaded)
	p.must("refship", "repo", "create", "site", "--check", "cat "+check)
	p.agent("web1", "")
	p.change("ada", "site", "a front page", "index.html", "<h1>Shop</h1>\n")

	chains, timeline := p.signedIn(p, "eve"), p.signedIn(p, "eve")
	timeline.open(p.at+"/chain/site:default", 200)
	both := []*tab{chains, timeline}
	for _, b := range both {
		b.untilText("main", "No deploy yet")
		eval[bool](b, `window.isTheSame = true`)
		// Somebody is on their way through the part that changes, by keyboard.
		eval[bool](b, `(document.querySelector("#live a[href$='/nodes']").focus(), true)`)
	}
	pushed := make(chan error, 1)
	go func() { pushed <- p.push("ada", "site") }()
	for _, b := range both {
		b.untilText(".push", "checking")
		b.untilText(".push", "by ada")
	}
	endCheck()
	for _, b := range both {
		b.untilText(".push", "storing")
	}
	endUpload()
	if err := <-pushed; err != nil {
		p.Fatal(err)
	}
	for _, b := range both {
		b.untilText(".push", "published 1")
		b.untilText(".subject", "a front page")
	}
	p.runs("web1", 1)
	for _, b := range both {
		b.untilText("main", "1 of 1 node")
		if !eval[bool](b, `window.isTheSame === true`) {
			p.Error("the page was loaded anew")
		}
		if at := eval[string](b, `document.activeElement.textContent`); at != "nodes" {
			p.Errorf("the focus has gone from nodes to %q", at)
		}
	}
	testStreamComesBack(p, timeline)
	for _, b := range both { // who is let in no more is told so
		b.expect(`status of 403`)
	}
	p.must("refship", "key", "remove", "eve")
	p.ssh("ada", "resume", "site")
	for _, b := range both {
		b.untilText("h1", "Sign in")
	}
}

// A page that nobody sees hears nothing, and what it has missed is there when somebody comes back.
func testStreamComesBack(p *pageWorld, b *tab) {
	see := func(hidden bool) {
		eval[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", {configurable: true, value: %v}) &&
			document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	see(true)
	p.ssh("ada", "hold", "site", "while nobody looks")
	see(false)
	b.untilText("main", "while nobody looks")
	if !eval[bool](b, `window.isTheSame === true`) {
		p.Error("the page was loaded anew")
	}
}

// From all chains to what a deploy changed, by clicks, and to a file as it was.
func testDiffIsRead(p *pageWorld) {
	b := p.signedIn(p, "ada")
	b.click("main a", "shop")
	b.untilText("h1", "shop:default")
	b.click(".timeline a", "6")
	b.untilText("h1", "Deploy 6 of shop:default")
	b.untilText(".ins", "sum += price - price/10 // ten per cent off")
	b.untilText(".del", "sum += price")
	b.untilText(".diff summary", "cart/cart.go")
	b.untilText("main", "cache static files for a month")
	if !eval[bool](b, `document.querySelectorAll(".ins span[class], .del span[class]").length > 0`) {
		p.Error("the diff is not highlighted")
	}
	for _, words := range []string{"Verified", "signed by", "Commits", "Record", "SHA256:", "brought something back"} {
		b.untilText("main", words)
	}
	b.click(".diff a", "the file in deploy 5")
	b.until(`location.pathname.endsWith("/-/deploy/5/files/cart/cart.go") && document.readyState === "complete"`)
	b.untilText(".code", "sum += price")
	if eval[bool](b, `document.body.textContent.includes("ten per cent")`) {
		p.Error("the file is not as it was")
	}
}

// What people call their files, and write into them, stays text.
func testHostileNames(p *pageWorld) {
	b := p.signedIn(p, "ada")
	for _, path := range []string{"", "/-/deploy/2", "/-/deploy/2/files/", "/-/deploy/2/files/" + url.PathEscape(evilName)} {
		b.open(p.at+"/chain/dns:default"+path, 200)
		b.untilText("main", evilName)
		if made := eval[int](b, `document.querySelectorAll("main img, main b, main script").length`); made > 0 {
			p.Errorf("%s: text became %d elements", path, made)
		}
	}
}

// Over TLS the session's cookie has the prefix __Host-, which a browser takes only if all else about it is right.
func testSignInOverTLS(p *pageWorld) {
	ca, err := fixture.NewAuthority(p.dir)
	if err != nil {
		p.Fatal(err)
	}
	if err := ca.Issue("page", true); err != nil {
		p.Fatal(err)
	}
	p.env = append(p.env, "REFSHIP_HTTP_CERT_FILE="+ca.File("page.crt"), "REFSHIP_HTTP_KEY_FILE="+ca.File("page.key"))
	p.serve("", "")
	b := newTab(p, p.browser)
	b.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		return cdp.Call(ctx, target, security.SetIgnoreCertificateErrors,
			security.SetIgnoreCertificateErrorsParams{Ignore: true})
	})
	b.open(p.link("ada"), 200)
	b.enter()
	cookies, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		p.Fatal(err)
	}
	if len(cookies.Cookies) != 1 {
		p.Fatalf("%d cookies", len(cookies.Cookies))
	}
	if c := cookies.Cookies[0]; !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HTTPOnly ||
		c.SameSite != network.CookieSameSiteLax {
		p.Errorf("the cookie: %+v", c)
	}
}

// click follows a link, or uses a button, that has exactly this text.
func (b *tab) click(selector, text string) {
	b.Helper()
	b.untilText(selector, text)
	if !eval[bool](b, fmt.Sprintf(`(() => {
		const it = [...document.querySelectorAll(%s)].find(e => e.textContent.trim() === %s);
		it?.click();
		return it !== undefined;
	})()`, quoteJS(selector), quoteJS(text))) {
		b.Fatalf("there is no %s with the text %q", selector, text)
	}
}

// axe finds nothing that keeps somebody out, in light or in dark.
func testPageIsAccessible(p *pageWorld, scheme string) {
	b := newTab(p, p.browser)
	b.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		return cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	})
	b.expect(`status of 403`)
	b.open(p.at, 403)
	b.accessible("a stranger's")
	b.open(p.link("ada"), 200)
	b.accessible("sign in")
	b.enter()
	backs := map[string]bool{}
	p.openAll(b, func(path string) {
		b.accessible(path)
		backs[eval[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
	})
	if isLight := backs["rgb(255, 255, 255)"]; len(backs) != 1 || isLight != (scheme == "light") {
		p.Errorf("%s: the backgrounds are %v", scheme, backs)
	}
}

// At 320 pixels nothing has to be scrolled sideways.
func testPageIsNarrow(p *pageWorld) {
	b := p.signedIn(p, "ada")
	b.do(chromedp.EmulateViewport(320, 640))
	p.openAll(b, func(path string) {
		// What is open by a click counts, too.
		wide := eval[[]string](b, `(() => {
			for (const d of document.querySelectorAll("details")) d.open = true;
			if (document.scrollingElement.scrollWidth <= 320) return [];
			return [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 320.5)
				.map(e => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 40)).slice(0, 10)
				.concat("the page is " + document.scrollingElement.scrollWidth + " pixels wide");
		})()`)
		if len(wide) > 0 {
			p.Errorf("%s has to be scrolled sideways:\n%s", path, strings.Join(wide, "\n"))
		}
	})
}

// The tab key comes to everything that can be used, in the order of the page, and shows where it is.
func testPageByKeyboard(p *pageWorld) {
	b := p.signedIn(p, "ada")
	// Pages that stay as they are: what has ended goes from them after a while.
	b.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: `delete window.EventSource`})
		return chromedp.Void{}, err
	})
	p.openAll(b, func(path string) {
		want := eval[[]string](b, `(() => {
			window.named = e => e.tagName + " " + (e.textContent.trim() || e.name || "").slice(0, 40);
			window.usable = () => [...document.querySelectorAll("a[href], button, input, select, summary, textarea")]
				.filter(e => e.checkVisibility());
			return usable().map(named);
		})()`)
		if len(want) < 2 {
			p.Errorf("%s: only %q can be used", path, want)
		}
		for i, name := range want {
			b.do(chromedp.KeyEvent(kb.Tab))
			got := eval[struct {
				At    int
				Name  string
				Shown bool
				Seen  bool
			}](b, `(() => {
				const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
				return {at: usable().indexOf(e), name: named(e),
					shown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
					seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
			})()`)
			if got.At != i {
				p.Fatalf("%s: tab %d comes to %d, %s, and not to %s", path, i+1, got.At, got.Name, name)
			}
			if !got.Shown || !got.Seen {
				p.Errorf("%s: at %s it does not show where the focus is", path, name)
			}
		}
	})

	// The first one skips what is the same on all pages.
	b.open(p.at+"/chain/shop:default", 200)
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main"`)

	// The way to the newest deploy, and back.
	b.do(chromedp.KeyEvent(kb.Tab))
	for range 20 {
		if eval[string](b, `document.activeElement.textContent`) == "7" {
			break
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.untilText("h1", "Deploy 7 of shop:default")
}

// withoutScript switches scripts off, but for the test's own.
func withoutScript(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
	return cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Without script a person signs in by pasting the link, reads all pages, and searches.
func testPageWithoutScript(p *pageWorld) {
	b := newTab(p, p.browser)
	b.do(withoutScript)
	link := p.link("ada")
	b.open(link, 200)
	b.do(chromedp.SendKeys(chromedp.CSS("input"), link+"\r"))
	b.untilText("h1", "All chains")
	p.openAll(b, func(path string) {
		for _, text := range eval[[]string](b, `[...document.querySelectorAll("time")].map(e => e.textContent)`) {
			if !strings.HasSuffix(text, " UTC") {
				p.Errorf("%s: the time %q does not say its zone", path, text)
			}
		}
	})
	b.open(p.at+"/chain/shop:default", 200)
	b.do(chromedp.Click(chromedp.CSS("summary")), chromedp.SendKeys(chromedp.CSS("input[name=by]"), "ben\r"))
	b.until(`location.search.includes("by=ben")`)
	b.untilText(".timeline", "customers see old prices")
}

// shown are the deploys of a timeline.
func (b *tab) shown() []string {
	return eval[[]string](b, `[...document.querySelectorAll(".timeline .id")].map(e => e.textContent)`)
}

func testSearch(p *pageWorld) {
	b := p.signedIn(p, "ada")
	for query, want := range map[string][]string{
		"":                       {"7", "6", "5", "4", "3", "2", "1"},
		"by=ben":                 {"7", "5", "3"},
		"path=basket.conf":       {"3"},
		"path=motd&by=ada":       {"6", "2", "1"},
		"since=2020-01-01&by=me": nil,
		"until=2020-01-01":       nil,
	} {
		b.open(p.at+"/chain/shop:default?"+query, 200)
		if got := b.shown(); !slices.Equal(got, want) {
			p.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	b.open(p.at+"/chain/shop:default", 200)
	for text, class := range map[string]string{
		"the sale is over": "forced", "customers see old prices": "rollback",
	} {
		b.untilText(".timeline ."+class, text)
	}
	b.open(p.at+"/chain/dns:default", 200)
	b.untilText(".timeline .held", "the registrar moves us until Monday")

	// Any two are compared, by the form.
	b.open(p.at+"/chain/shop:default", 200)
	b.click("summary", "Compare two deploys")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=from]"), "1"), chromedp.SendKeys(chromedp.CSS("input[name=to]"), "7\r"))
	b.until(`location.search === "?from=1&to=7"`)
	b.untilText(".ins", "gzip_types text/css;")
}

// A person without a link, or with a used one, sees nothing. With a link a person sees what their key may read, and no
// more.
func testStrangersAreRefused(p *pageWorld) {
	stranger := newTab(p, p.browser)
	stranger.expect(`status of 403`)
	for _, one := range mainPages {
		stranger.open(p.at+one.path, 403)
		if text := eval[string](stranger, `document.body.textContent`); strings.Contains(text, "shop") {
			p.Errorf("a stranger reads: %s", text)
		}
	}
	link := p.link("eve")
	eve := newTab(p, p.browser)
	eve.open(link, 200)
	eve.enter()
	if at := eval[string](eve, `location.href`); strings.ContainsAny(at, "#?") {
		p.Errorf("the address keeps something of the link: %s", at)
	}
	if cookie := eval[string](eve, `document.cookie`); cookie != "" {
		p.Errorf("scripts can read the session: %s", cookie)
	}
	eve.untilText("main", "site")
	if text := eval[string](eve, `document.body.textContent`); strings.Contains(text, "shop") || strings.Contains(text, "dns") {
		p.Errorf("eve may read site alone, and reads: %s", text)
	}
	eve.expect(`status of 404`)
	eve.open(p.at+"/chain/site:default", 200)
	eve.open(p.at+"/chain/shop:default", 404)
	eve.open(p.at+"/chain/shop:default/-/deploy/6/raw/motd", 404)

	eve.click("header button", "Sign out")
	eve.untilText("h1", "Sign in")
	eve.expect(`status of 403`)
	eve.open(p.at, 403)

	start, _, _ := strings.Cut(link, "#")
	for name, spent := range map[string]string{
		"one that was used": link, "one that is invented": start + "#" + strings.Repeat("A", 43),
	} {
		stranger.do(chromedp.Navigate("about:blank")) // another fragment alone is no other page
		stranger.open(spent, 200)
		stranger.until(`document.querySelector("form") !== null`)
		eval[bool](stranger, `document.querySelector("form").requestSubmit() || true`)
		stranger.until(`document.querySelector("[role=alert]") !== null`)
		stranger.open(p.at, 403)
		p.Logf("%s is refused", name)
	}
}

// Times are in the reader's zone; what the server said is their title.
func testTimesInTheReadersZone(p *pageWorld) {
	b := p.signedIn(p, "ada")
	for zone, hours := range map[string]string{"Asia/Kolkata": "5.5", "Pacific/Honolulu": "-10"} {
		b.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			return cdp.Call(ctx, target, emulation.SetTimezoneOverride,
				emulation.SetTimezoneOverrideParams{TimezoneID: zone})
		})
		b.open(p.at+"/chain/shop:default/-/deploy/6", 200)
		b.until(`document.querySelector("time[title]") !== null`)
		// The text is read as UTC: that it is not, the difference from the time that it stands for tells.
		for _, wrong := range eval[[]string](b, fmt.Sprintf(`[...document.querySelectorAll("time")].filter(e =>
			Math.ceil((Date.parse(e.textContent.replace(/\s/g, " ") + " UTC") - Date.parse(e.dateTime)) / 60000) !== %s * 60 ||
			!e.title.endsWith(" UTC")).map(e => e.outerHTML)`, hours)) {
			p.Errorf("in %s: %s", zone, wrong)
		}
		for _, path := range []string{"/", "/chain/dns:default", "/chain/site:default", "/chain/site:default/-/nodes"} {
			b.open(p.at+path, 200)
			b.until(`document.querySelector("time[title]") !== null`)
			if utc := eval[[]string](b, `document.body.textContent.match(/.*\d\d:\d\d(:\d\dZ| UTC).*/g) ?? []`); len(utc) > 0 {
				p.Errorf("%s, in %s: %q", path, zone, utc)
			}
		}
	}
}
