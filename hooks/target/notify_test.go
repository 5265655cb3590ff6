package target_test

import (
	"strings"
	"testing"

	"refship/hooks/target"
)

func TestReceivers(t *testing.T) {
	t.Parallel()
	for notify, want := range map[string]string{
		"": "",
		"https://ci.example.com/hook?token=hidden": "https://ci.example.com/…",
		"https://u:hidden@ci.example.com":          "https://ci.example.com/…",
		"https://ci.example.com:8443":              "https://ci.example.com:8443",
		"slack+https://hooks.slack.com/services/T0/hidden,https://ci.example.com/": "slack+https://hooks.slack.com/…, " +
			"https://ci.example.com",
		"http://127.0.0.1:8000/hidden":           "http://127.0.0.1:8000/…",
		"http://[::1]:8000":                      "http://[::1]:8000",
		"http://[::ffff:127.0.0.1]":              "http://[::ffff:127.0.0.1]",
		"http://localhost/a,http://LOCALHOST/b":  "http://localhost/…, http://LOCALHOST/…",
		"insecure+http://ci.internal/hidden":     "insecure+http://ci.internal/…",
		"slack+insecure+http://chat.internal/in": "slack+insecure+http://chat.internal/…",
		"https://a/1,https://a/2,https://b/3":    "https://a/…, https://a/…, https://b/…",
	} {
		all, err := target.Notify(notify).Receivers()
		if err != nil || target.Notify(notify).String() != want {
			t.Errorf("%q is %q, want %q, %v", notify, target.Notify(notify), want, err)
		}
		for _, r := range all {
			if r.Slack != strings.HasPrefix(r.Text, "slack+") || !strings.HasPrefix(r.URL, "http") {
				t.Errorf("%q has %+v", notify, r)
			}
		}
	}
	for _, notify := range []string{
		"http://ci.example.com/hidden", "http://127.0.0.1.example.com/hidden", "http://localhost.example.com/hidden",
		"http://hidden@ci.example.com", "http://0.0.0.0/hidden", "http:///hidden", "https:hidden", "https://", "hidden",
		"ftp://127.0.0.1/hidden", "file:///hidden", "insecure+slack+http://a/hidden", "slack+slack+https://a/hidden",
		"https://a/hidden b", "https://a/hidden\n", "https://ä/hidden", ",", "https://a,", "https://a/hidden,https://a/hidden",
		"https://a,slack+https://a", "https://a:hidden/", "https://a/%hi%zz", "https://a/" + strings.Repeat("x", 2000),
		"https://a/1,https://a/2,https://a/3,https://a/4,https://a/5,https://a/6",
	} {
		all, err := target.Notify(notify).Receivers()
		if err == nil {
			t.Errorf("%q is taken: %+v", notify, all)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: the error is %v", notify, err)
		}
		if target.Notify(notify).String() != "not readable" {
			t.Errorf("%q is shown as %q", notify, target.Notify(notify))
		}
	}
}

// What is taken is https, or this machine, or said to be insecure; and what is shown has nothing but the host.
func FuzzReceivers(f *testing.F) {
	f.Add("https://ci.example.com/hook")
	f.Add("slack+insecure+http://u:p@127.1:80/x,http://[::1%25lo]/")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := target.Notify(s).Receivers()
		if err != nil {
			return
		}
		for _, r := range all {
			isSafe := strings.HasPrefix(strings.ToLower(r.URL), "https://") || strings.Contains(r.Text, "insecure+")
			rest := strings.ToLower(strings.TrimPrefix(r.URL, "http://"))
			if at := strings.LastIndex(strings.SplitN(rest, "/", 2)[0], "@"); at >= 0 {
				rest = rest[at+1:]
			}
			if !isSafe && !strings.HasPrefix(rest, "localhost") && !strings.HasPrefix(rest, "127.") &&
				!strings.HasPrefix(rest, "[") {
				t.Errorf("%q is taken", r.Text)
			}
			if shown := strings.TrimSuffix(r.String(), "/…"); strings.ContainsAny(strings.SplitN(shown, "://", 2)[1], "/?@#") {
				t.Errorf("%q is shown as %q", r.Text, shown)
			}
		}
	})
}

// Who is told does not make another target: an intent of before is published.
func TestSame(t *testing.T) {
	t.Parallel()
	a := target.Target{Name: "default", Ref: "refs/heads/main"}
	b, c := a, a
	b.Notify, c.Path = "https://ci.example.com/hook", "web"
	if !a.Same(b) || !b.Same(a) || a.Same(c) || b.Same(c) {
		t.Error("another target is the same, or the same another")
	}
}
