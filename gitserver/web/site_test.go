package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
	"refship/gitserver/web"
	"refship/keys"
)

// site is a Web of one chain, in a real etcd, and of repositories that are only named.
type site struct {
	*chain.Setup
	web    *web.Web
	url    string
	last   tree.OID // commit
	signer byte     // of fixture.Signer

	mu     sync.Mutex
	viewer error           // nil: ada may look
	hidden map[string]bool // repositories that she may not read
	ahead  bool
}

// newSite makes a site whose chain is that of config; secret has a chain, too.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{Setup: chain.New(t), signer: 1, hidden: map[string]bool{"secret": true}}
	s.Store = s.NewStore(deploy.Config{LeaseTTL: 10 * time.Minute})
	repos := []web.Repository{
		{Name: "config", Targets: []web.Target{{Name: "default", Ref: "refs/heads/main", Namespace: s.Namespace}}},
		{Name: "secret", Targets: []web.Target{{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/secret"}}},
		{Name: "team/two", Targets: []web.Target{
			{Name: "a", Ref: "refs/heads/a", Namespace: "/refship/a"},
			{Name: "b", Ref: "refs/heads/b", Namespace: "/refship/b"},
		}},
	}
	done := make(chan struct{})
	s.web = web.New(web.Config{
		Viewer: func(*http.Request) (web.Viewer, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return web.Viewer{Name: "ada", Fingerprint: "SHA256:ada", MayRead: s.mayRead}, s.viewer
		},
		List: func() ([]web.Repository, error) { return repos, nil },
		Find: func(name string) (web.Repository, error) {
			for _, repo := range repos {
				if repo.Name == name {
					return repo, nil
				}
			}
			return web.Repository{}, errors.New("unknown")
		},
		Chain: func(ns record.Namespace) *store.Chain { return s.Store.Chain(ns).Chain },
		Allowed: func() (*keys.AllowedSigners, error) {
			return keys.NewAllowedSigners("test", &keys.Signer{
				Principals: "server", Namespaces: keys.Namespace, PublicKey: fixture.Signer(1).PublicKey(),
			}), nil
		},
		IsAhead: func(repo, _ string) (bool, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.ahead && repo == "config", true
		},
		Changes: func(ctx context.Context, ns record.Namespace) (<-chan struct{}, func()) {
			return etcd.Changes(ctx, s.Client, etcd.Span{Key: string(ns) + "/", Below: true})
		},
		Remedy: fault.RemedyOf, Done: done, Log: slog.New(slog.DiscardHandler),
	})
	s.web.Unhurry()
	server := httptest.NewServer(s.web)
	t.Cleanup(func() {
		close(done)
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	s.url = server.URL
	return s
}

func (s *site) mayRead(repo string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.hidden[repo]
}

// set changes what the Web finds from now on.
func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// push deploys files as one commit after the last.
func (s *site) push(message string, files map[string]string, more ...func(*deploy.Job)) *record.Deploy {
	s.Helper()
	all := map[string]fixture.File{}
	for name, content := range files {
		all[name] = fixture.File{Content: content}
	}
	var parents []tree.OID
	if !s.last.IsZero() {
		parents = append(parents, s.last)
	}
	s.last = s.Repo.Commit(message, all, parents...)
	job := s.Job(s.last)
	job.Signer = fixture.Signer(s.signer)
	for _, change := range more {
		change(job)
	}
	d, err := s.Publish(s.Context(), job)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// node reports as a node.
func (s *site) node(name, ring string, d *record.Deploy, state record.NodeState) {
	s.Helper()
	report := &record.NodeReport{
		Name: name, ID: d.ID, Hash: d.Hash, Since: time.Unix(1_700_000_000, 0).UTC(), State: state, Ring: ring,
		Time: time.Unix(1_700_000_000, 0).UTC(),
	}
	encoded, err := report.Encode()
	if err != nil {
		s.Fatal(err)
	}
	s.Put(s.Chain().Key(record.NodeKeys+name), string(encoded))
	s.Put(s.Chain().Key(record.AliveKeys+name), "")
}

// do asks for a page.
func (s *site) do(method, path string) (status int, body string, header http.Header) {
	s.Helper()
	q, err := http.NewRequestWithContext(s.Context(), method, s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(read), resp.Header
}

// page asks for a page that is there.
func (s *site) page(path string) string {
	s.Helper()
	status, body, _ := s.do(http.MethodGet, path)
	if status != http.StatusOK {
		s.Fatalf("%s: %d\n%s", path, status, body)
	}
	return body
}

// wantAll wants texts in a page, in this order.
func (s *site) wantAll(page string, texts ...string) {
	s.Helper()
	rest := page
	for _, want := range texts {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			s.Errorf("%q is missing, or not in its place, in\n%s", want, page)
			return
		}
		rest = after
	}
}
