package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"refship/deploy/webhook"
)

// The example of GitHub's manual ("Validating webhook deliveries").
func TestSign(t *testing.T) {
	t.Parallel()
	const secret, signature = "It's a Secret to Everybody",
		"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	body := []byte("Hello, World!")
	if got := webhook.Sign(secret, body); got != signature {
		t.Errorf("signature is %s", got)
	}
	if !webhook.Verify(secret, body, signature) {
		t.Error("the right signature is refused")
	}
	for i := range signature {
		bad := []byte(signature)
		bad[i] ^= 1
		if webhook.Verify(secret, body, string(bad)) {
			t.Errorf("a signature with another byte %d is taken", i)
		}
	}
	for _, bad := range []string{"", "sha256=", strings.TrimPrefix(signature, "sha256=")} {
		if webhook.Verify(secret, body, bad) {
			t.Errorf("%q is taken", bad)
		}
	}
	if webhook.Verify("", body, webhook.Sign("", body)) {
		t.Error("something is right without a secret")
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-A")+" "+string(body)+" "+
			r.Header.Get(webhook.SignatureHeader))
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "no\x1b room\nmore")
	}))
	defer server.Close()
	r := &webhook.Request{
		URL: server.URL + "/in", Method: http.MethodPost, Header: http.Header{"X-A": {"b"}}, Body: []byte("text"),
		Secret: "s", Timeout: time.Minute,
	}
	a, err := r.Send(t.Context())
	want := "POST /in b text " + webhook.Sign("s", []byte("text"))
	if err != nil || len(got) != 1 || got[0] != want {
		t.Fatalf("got %q, %v", got, err)
	}
	if a.Code != 200 || a.Status != "200 OK" || a.Line != `no\x1b room` || a.RetryAfter != 7*time.Second {
		t.Errorf("answer is %+v", a)
	}
	// Without Redirects a body goes nowhere else, also where the method stays.
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		moved := httptest.NewServer(http.RedirectHandler(server.URL+"/in", code))
		r.URL = moved.URL
		a, err := r.Send(t.Context())
		moved.Close()
		if err != nil || a.Code != code || len(got) != 1 {
			t.Errorf("%d: got %q, %+v, %v", code, got, a, err)
		}
	}
}

// No error names the URL.
func TestErrorsKeepTheURL(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	stuck := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	defer slow.Close()
	defer close(stuck)
	for _, c := range []struct {
		url     string
		timeout time.Duration
	}{
		{gone.URL + "/token", time.Minute}, {slow.URL + "/token", 50 * time.Millisecond},
		{"https://user:token@127.0.0.1:bad/", time.Minute}, {"http://[token/", time.Minute},
		{"ftp://127.0.0.1/token", time.Minute}, {"token", time.Minute},
	} {
		r := &webhook.Request{URL: c.url, Method: http.MethodPost, Timeout: c.timeout}
		_, err := r.Send(t.Context())
		if err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "[", ""), "token") {
			t.Errorf("%s: error is %v", c.url, err)
		}
		if err := r.Check(); err != nil && strings.Contains(err.Error(), "token") {
			t.Errorf("%s: Check says %v", c.url, err)
		}
	}
}
