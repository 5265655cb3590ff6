// Commit-status shows in Gitea, Forgejo or GitHub what became of a commit: it is a receiver for refship's --notify that
// sets commit statuses. It is an example of how to take events: check the signature, take an event twice without harm,
// answer 2xx when it is done and anything else to be asked again. See README.md.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"refship/deploy/webhook"
)

// maxBody is more than an event has.
const maxBody = 1 << 20

// event is what this program reads of an event.
type event struct {
	Kind   string `json:"event"`
	Target string `json:"target"`
	Text   string `json:"text"`
	Deploy struct {
		Hash string `json:"hash"`
	} `json:"deploy"`
	Refs []struct {
		New string `json:"new"`
	} `json:"refs"`
}

// status is what the API takes, of Gitea and Forgejo as of GitHub.
type status struct {
	State       string `json:"state"`
	Context     string `json:"context"`
	Description string `json:"description"`
}

// maxDescription is GitHub's.
const maxDescription = 140

// statusOf is the status that an event makes, and of which commit; false if it makes none.
func statusOf(e *event) (s status, commit string, ok bool) {
	states := map[string]string{
		"published": "success", "rolled-back": "success", "refused": "failure", "not-deployed": "error",
		"nodes-done": "success", "nodes-failed": "failure",
	}
	s = status{State: states[e.Kind], Context: "refship/" + e.Target, Description: e.Text}
	if strings.HasPrefix(e.Kind, "nodes-") {
		s.Context += "/nodes"
	}
	if short := []rune(e.Text); len(short) > maxDescription {
		s.Description = string(short[:maxDescription-1]) + "…"
	}
	commit = e.Deploy.Hash
	if len(e.Refs) > 0 {
		commit = e.Refs[0].New
	}
	return s, commit, s.State != "" && isCommit.MatchString(commit)
}

var isCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// receiver answers refship.
type receiver struct {
	secret, token string
	statuses      string // the URL below which a commit's statuses are
	client        *http.Client
	log           *slog.Logger
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	switch {
	case err != nil:
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	case req.Method != http.MethodPost || !webhook.Verify(r.secret, body, req.Header.Get(webhook.SignatureHeader)):
		http.Error(w, "only requests that refship has signed are taken", http.StatusForbidden)
		return
	}
	e := new(event)
	if err := json.Unmarshal(body, e); err != nil {
		http.Error(w, "the body is no event", http.StatusBadRequest)
		return
	}
	s, commit, ok := statusOf(e)
	if !ok { // a hold, a test: there is nothing to show
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := r.set(req.Context(), commit, s); err != nil {
		r.log.ErrorContext(req.Context(), "set status", "commit", commit, "event", e.Kind, "error", err)
		http.Error(w, "the status could not be set", http.StatusBadGateway) // refship asks again
		return
	}
	r.log.InfoContext(req.Context(), "status", "commit", commit, "event", e.Kind, "state", s.State)
	w.WriteHeader(http.StatusNoContent)
}

// set sets a commit's status. A commit that is not there, such as one that refship refused, is no error: it will not
// come by asking again.
func (r *receiver) set(ctx context.Context, commit string, s status) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.statuses+"/"+commit, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "token "+r.token)
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
		return nil
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		r.log.WarnContext(ctx, "the forge does not know the commit, or the repository", "commit", commit, "answer",
			resp.Status)
		return nil
	}
	return fmt.Errorf("the answer is %s", resp.Status)
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "commit-status: error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("commit-status", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:9000", "where to listen for refship")
	api := flags.String("api", "", "the API: https://HOST/api/v1 of Gitea and Forgejo, https://api.github.com of GitHub")
	repo := flags.String("repo", "", "OWNER/NAME of the repository there")
	secretFile := flags.String("secret-file", "", "a file with the second column of: refship notify secret REPO")
	tokenFile := flags.String("token-file", "", "a file with a token that may set commit statuses there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := &receiver{client: &http.Client{Timeout: 8 * time.Second}, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	at, err := url.Parse(*api)
	owner, name, isRepo := strings.Cut(*repo, "/")
	if err != nil || at.Host == "" || !isRepo {
		return errors.New("give -api URL and -repo OWNER/NAME")
	}
	r.statuses = at.JoinPath("repos", owner, name, "statuses").String()
	if r.secret, err = readLine(*secretFile); err != nil {
		return err
	}
	if r.token, err = readLine(*tokenFile); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	r.log.Info("listening", "address", listener.Addr())
	server := &http.Server{Handler: r, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func readLine(file string) (string, error) {
	content, err := os.ReadFile(file)
	line := strings.TrimSpace(string(content))
	if err == nil && line == "" {
		err = fmt.Errorf("%s is empty", file)
	}
	return line, err
}
