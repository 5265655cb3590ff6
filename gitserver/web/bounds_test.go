package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A large deploy is shown within bounds, and the page says what it leaves out.
func TestLargeDeploy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("empty", map[string]string{"a": "1"})
	files := map[string]string{}
	for i := range 70 {
		files[fmt.Sprintf("large/%d", i)] = strings.Repeat(fmt.Sprintf("%08d", i), 1<<17)
	}
	for i := range 1000 {
		files[fmt.Sprintf("small/%d", i)] = strings.Repeat("line\n", 100)
	}
	s.push("large", files)
	page := s.page(config + "/-/deploy/2")
	s.wantAll(page, "Not verified: more than 64 MiB would have to be read", "500 files are shown, and there are more",
		"larger than 128 KiB", "there is too much for one page: look at this file alone")
	if len(page) > 2<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	s.wantAll(s.page(config+"/-/compare?from=1&to=2&path=small/999"), "1 file", "+100", "line")
}

// What takes too long is left out, and the page says so.
func TestHurry(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("first", map[string]string{"main.go": "package main\n"})
	s.push("second", map[string]string{"main.go": "package main // x\n"})
	s.web.Hurry()
	s.wantAll(s.page(config+"/-/deploy/2"), "Not verified: ", "<code>package main</code>", "<code>package main // x</code>")
}

// stuck is a browser that takes nothing.
type stuck struct {
	*httptest.ResponseRecorder
	writes, goOn chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	s.writes <- struct{}{}
	<-s.goOn
	return s.ResponseRecorder.Write(p)
}

// Browsers that take their pages slowly keep nobody waiting.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.push("first", map[string]string{"a": "1"})
	const many = 50
	writes, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	for range many {
		go func() {
			q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, config, nil)
			s.web.ServeHTTP(&stuck{httptest.NewRecorder(), writes, goOn}, q)
			done <- struct{}{}
		}()
	}
	for range many {
		<-writes
	}
	s.wantAll(s.page(config), "first")
	close(goOn)
	for range many {
		<-done
	}
}

// A download that turns out to be damaged is broken off, and a small one is refused at once.
func TestDamagedDownload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	large := strings.Repeat("0123456789abcdef", 20<<16) // 20 MiB
	s.push("first", map[string]string{"small": "small", "large": large})
	for key, value := range s.Dump() {
		if strings.Contains(key, "/storage/") && (value == "small" || strings.HasSuffix(key, "/19")) {
			s.Put(key, strings.ToUpper(value))
		}
	}
	if status, body, _ := s.do(http.MethodGet, config+"/-/deploy/1/raw/small"); status != http.StatusInternalServerError ||
		!strings.Contains(body, "does not match") {
		t.Errorf("%d %s", status, body)
	}
	resp, err := http.Get(s.url + config + "/-/deploy/1/raw/large")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if err == nil || len(body) >= len(large) {
		t.Errorf("a damaged file is taken for whole: %d bytes, %v", len(body), err)
	}
}
