package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"refship/deploy/record"
	"refship/deploy/webhook"
	"refship/hooks/notify"
)

// api stands for Gitea's, Forgejo's and GitHub's, which take the same request.
type api struct {
	*httptest.Server
	status int
	asked  []string
}

func newAPI(t *testing.T) *api {
	a := &api{status: http.StatusCreated}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.asked = append(a.asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"), " ", string(body)))
		w.WriteHeader(a.status)
	}))
	t.Cleanup(a.Close)
	return a
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	r := &receiver{secret: "secret", token: "token", statuses: a.URL + "/api/v1/repos/ada/site/statuses",
		client: a.Client(), log: slog.New(slog.DiscardHandler)}
	server := httptest.NewServer(r)
	defer server.Close()
	send := func(secret string, body string) int {
		t.Helper()
		answer, err := (&webhook.Request{
			URL: server.URL, Method: http.MethodPost, Body: []byte(body), Secret: secret, Timeout: time.Minute,
		}).Send(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return answer.Code
	}
	commit, other := strings.Repeat("ab", 20), strings.Repeat("cd", 32)
	body := func(kind notify.Kind, about string) string {
		return fmt.Sprintf(`{"event":%q,"target":"default","text":"what",%s}`, kind, about)
	}
	deployed := func(hash string) string { return fmt.Sprintf(`"deploy":{"hash":%q}`, record.Hash(hash)) }
	pushed := func(oid string) string { return fmt.Sprintf(`"refs":[{"name":"refs/heads/main","new":%q}]`, oid) }
	for _, c := range []struct {
		kind              notify.Kind
		about             string
		at, state, within string
	}{
		{notify.Published, deployed(commit), commit, "success", "refship/default"},
		{notify.RolledBack, deployed(other), other, "success", "refship/default"},
		{notify.Refused, pushed(commit), commit, "failure", "refship/default"},
		{notify.NotDeployed, pushed(commit), commit, "error", "refship/default"},
		{notify.NodesFailed, deployed(commit), commit, "failure", "refship/default/nodes"},
		{notify.NodesDone, deployed(commit), commit, "success", "refship/default/nodes"},
		{notify.Published, deployed("tree:" + commit), "", "", ""},
		{notify.Published, deployed("../../../x"), "", "", ""},
		{notify.Held, deployed(commit), "", "", ""},
		{notify.Resumed, deployed(commit), "", "", ""},
		{notify.Test, deployed(commit), "", "", ""},
	} {
		a.asked = nil
		if code := send("secret", body(c.kind, c.about)); code != http.StatusNoContent {
			t.Errorf("%s: the answer is %d", c.kind, code)
		}
		want := ""
		if c.at != "" {
			want = fmt.Sprintf(`POST /api/v1/repos/ada/site/statuses/%s token token {"state":%q,"context":%q,"description":"what"}`,
				c.at, c.state, c.within)
		}
		if got := strings.Join(a.asked, "\n"); got != want {
			t.Errorf("%s: asked is %s, want %s", c.kind, got, want)
		}
	}
	a.asked = nil
	for _, secret := range []string{"", "other"} {
		if code := send(secret, body(notify.Published, deployed(commit))); code != http.StatusForbidden || a.asked != nil {
			t.Errorf("signed with %q: the answer is %d, asked is %q", secret, code, a.asked)
		}
	}
	// refship asks again where that may help, and only there.
	for status, want := range map[int]int{500: 502, 401: 502, 404: 204, 422: 204, 200: 204} {
		a.status = status
		if code := send("secret", body(notify.Published, deployed(commit))); code != want {
			t.Errorf("API answers %d: the answer is %d, want %d", status, code, want)
		}
	}
	if code := send("secret", "x"); code != http.StatusBadRequest {
		t.Errorf("the answer is %d", code)
	}
}

func TestEveryKind(t *testing.T) {
	t.Parallel()
	for _, kind := range notify.Kinds() {
		e := &event{Kind: string(kind), Text: strings.Repeat("ä", 200)}
		e.Deploy.Hash = strings.Repeat("ab", 20)
		s, _, ok := statusOf(e)
		if none := kind == notify.Held || kind == notify.Resumed || kind == notify.Test; ok == none {
			t.Errorf("%s: %+v, %t", kind, s, ok)
		}
		if n := len([]rune(s.Description)); n != maxDescription {
			t.Errorf("%s: description of %d characters", kind, n)
		}
	}
}
