package gitserver

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/target"
	"refship/keys"
)

// gateClient is an OpenSSH client whose remote command is etcd.
type gateClient struct {
	io.Reader
	io.WriteCloser
	cmd    *exec.Cmd
	stderr *bytes.Buffer
}

// etcd opens a gate as a user, over a real ssh. namespace is what it says to be for.
func (e *env) etcd(u *user, chain string) (client *etcd.Client, g *gateClient, namespace string, err error) {
	e.t.Helper()
	g = &gateClient{cmd: e.sshCommand(u, "git@127.0.0.1", "etcd "+chain), stderr: new(bytes.Buffer)}
	g.cmd.Stderr = g.stderr
	if g.WriteCloser, err = g.cmd.StdinPipe(); err != nil {
		e.t.Fatal(err)
	}
	if g.Reader, err = g.cmd.StdoutPipe(); err != nil {
		e.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	client, namespace, err = etcd.DialStream(e.t.Context(), g, fixture.Log(e.t))
	if err == nil {
		e.t.Cleanup(func() { _ = client.Close() })
	}
	return client, g, namespace, err
}

// status waits for ssh, and gives its exit status.
func (g *gateClient) status() int {
	_ = g.cmd.Wait()
	return g.cmd.ProcessState.ExitCode()
}

// TestGate: who may read a repository reads its chain by etcd's own API, and nothing else, not even a chain whose name
// begins alike.
func TestGate(t *testing.T) {
	e := start(t)
	e.repo("config")
	e.repo("config-staging")
	reader := e.user("reader", "read:config")
	client, g, namespace, err := e.etcd(reader, "config")
	if err != nil {
		t.Fatal(err)
	}
	if want := string(e.namespace("config")); namespace != want {
		t.Errorf("the gate is for %s, want %s", namespace, want)
	}
	ours, sibling := namespace+"/refship/head", namespace+"-staging/refship/head"
	for _, key := range []string{ours, sibling} {
		if _, err := store.Client().Put(t.Context(), key, "7"); err != nil {
			t.Fatal(err)
		}
	}
	kv := etcd.Bounded(client)
	found, err := kv.Get(t.Context(), ours)
	if err != nil || len(found.Kvs) != 1 || string(found.Kvs[0].Value) != "7" {
		t.Errorf("read %v, %v", found, err)
	}
	_, err = kv.Get(t.Context(), sibling)
	fixture.WantError(t, err, etcd.ErrDenied, "refused by the server's gate", "")
	_, err = client.Put(t.Context(), ours, "8")
	fixture.WantError(t, etcd.Classify(err), etcd.ErrDenied, "refused by the server's gate", "")
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if status := g.status(); status != 0 || g.stderr.String() != "" {
		t.Errorf("ssh ended with %d: %s", status, g.stderr)
	}
	for chain, status := range map[string]int{
		"config-staging": 4, "nothing": 4, "config:staging": 4, "config/../config-staging": 2, "": 2,
	} {
		if r := e.ssh(reader, "git@127.0.0.1", "etcd "+chain); r.status != status || r.stdout != "" {
			t.Errorf("%q: status %d, want %d\n%s", chain, r.status, status, r.stdout)
		}
	}
	e.stop()
	if lines := e.log.About("gate to etcd closed"); len(lines) != 1 || lines[0]["user"] != "reader" ||
		lines[0]["repository"] != "config" {
		t.Errorf("log lines are %v", lines)
	}
}

// TestGateEnds: a gate ends in the midst of a watch when its key is removed or may not read any more, when the target
// deploys elsewhere, and when the server stops.
func TestGateEnds(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		change func(e *env) error
		denied bool
		status int
	}{
		"removed": {func(e *env) error { _, err := e.keys.Remove("reader", ""); return err }, true, 4},
		"rule": {func(e *env) error {
			rules, err := keys.ParseRules("read:other")
			if err == nil {
				_, err = e.keys.Set("reader", "", rules)
			}
			return err
		}, true, 4},
		"target": {func(e *env) error {
			moved := e.target("config")
			moved.Namespace = e.namespace("moved")
			repo, err := e.repos.Find("config")
			if err != nil {
				return err
			}
			return target.SetTarget(e.t.Context(), repo.Dir, moved)
		}, true, 4},
		"stop": {func(e *env) error { go e.cancel(); return nil }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, func(s *Server) { s.lookEvery = 10 * time.Millisecond })
			e.repo("config")
			client, g, namespace, err := e.etcd(e.user("reader", "read:config"), "config")
			if err != nil {
				t.Fatal(err)
			}
			watched := client.Watch(t.Context(), namespace+"/refship/", clientv3.WithPrefix(),
				clientv3.WithCreatedNotify())
			<-watched
			if err := c.change(e); err != nil {
				t.Fatal(err)
			}
			seen := <-watched
			if err := etcd.Classify(seen.Err()); seen.Err() == nil || errors.Is(err, etcd.ErrDenied) != c.denied {
				t.Errorf("the watch has seen %v, %v", seen, err)
			}
			if status := g.status(); status != c.status {
				t.Errorf("ssh ended with %d, want %d: %s", status, c.status, g.stderr)
			}
			if c.denied == (fault.KindOf(etcd.Classify(seen.Err())) != fault.Refused) {
				t.Errorf("the kind is %d", fault.KindOf(etcd.Classify(seen.Err())))
			}
		})
	}
}

// TestGateClientGoes: a client that is killed, and one that stands still, leave nothing behind.
func TestGateClientGoes(t *testing.T) {
	t.Parallel() // it waits
	e := start(t, func(s *Server) { s.askAfter = 100 * time.Millisecond })
	e.repo("config")
	reader := e.user("reader", "read:config")
	for range 2 {
		_, g, _, err := e.etcd(reader, "config")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = g.status()
	}
	until(t, "the sessions' end", func() bool { return e.srv.Stats() == Stats{} })
}
