package web_test

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// wantInert wants a page that has no elements and attributes but those of the templates.
func wantInert(t testing.TB, path, page string) {
	t.Helper()
	elements := map[string]bool{}
	for name := range strings.FieldsSeq("html head meta title link script body a header nav p strong main h1 h2 div " +
		"section ul ol li code span time details summary form label input button dl dt dd table caption tbody tr td") {
		elements[name] = true
	}
	z := html.NewTokenizer(strings.NewReader(page))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind == html.CommentToken {
			t.Errorf("%s has a comment %q", path, token.Data)
		}
		if kind == html.TextToken && strings.ContainsAny(token.Data, "\u202e\x1b") {
			t.Errorf("%s has %q", path, token.Data)
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if !elements[token.Data] {
			t.Errorf("%s has an element %s", path, token)
		}
		for _, attr := range token.Attr {
			switch {
			case strings.HasPrefix(attr.Key, "on"), attr.Key == "style", attr.Key == "src" && attr.Val != "/static/page.js":
				t.Errorf("%s has an attribute %s", path, token)
			case attr.Key == "href" || attr.Key == "action":
				if !strings.HasPrefix(attr.Val, "/") && attr.Val != "#main" || strings.HasPrefix(attr.Val, "//") {
					t.Errorf("%s has a link %s", path, token)
				}
			}
		}
		if token.Data == "script" {
			if z.Next() == html.TextToken && strings.TrimSpace(z.Token().Data) != "" {
				t.Errorf("%s has an inline script", path)
			}
		}
	}
}
