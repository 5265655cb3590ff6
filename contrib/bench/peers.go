package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/etcd"
)

// peer is a way to push to a repository of a server.
type peer struct {
	name string
	env  []string
	// make makes an empty repository and gives what git pushes to, and the directory where it is.
	make func(ctx context.Context, name string) (url, dir string, err error)
}

// server is a refship that serves.
type server struct {
	*world
	name string
	data string
	url  string
	process
	etcd string // its endpoint
	args []string
}

// serve starts a refship with an embedded etcd, or with one at endpoint.
func (w *world) serve(ctx context.Context, name, endpoint string) (s *server, err error) {
	s = &server{world: w, name: name, data: w.in(name), etcd: endpoint}
	s.args = []string{"--data-dir", s.data}
	if endpoint != "" {
		s.args = append(s.args, "--endpoints", endpoint)
	} else {
		s.etcd = "unix://" + filepath.Join(s.data, "etcd/etcd.sock")
	}
	args := append([]string{"serve", "--listen", "127.0.0.1:0"}, s.args...)
	s.process, err = w.start(s.command(ctx, nil, "refship", args...), name+".log")
	if err != nil {
		return nil, err
	}
	line, err := w.logged(ctx, name+".log", "listening on ssh://")
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(line, "listening on ")
	s.url, _, _ = strings.Cut(after, ",")
	_, err = run(s.refship(ctx, "key", "add", "bench", "--key", w.in("id.pub"), "--allow", "deploy:*,node:*"))
	return s, err
}

// refship makes a command for this server. What talks to etcd finds it by the data directory, or by REFSHIP_ENDPOINTS.
func (s *server) refship(ctx context.Context, args ...string) *exec.Cmd {
	env := []string{"REFSHIP_DATA_DIR=" + s.data}
	if len(s.args) > 2 {
		env = append(env, "REFSHIP_ENDPOINTS="+s.etcd)
	}
	return s.command(ctx, env, "refship", args...)
}

// peer gives a way to push to this server.
func (s *server) peer(name string, hasTarget bool) peer {
	env := []string{"GIT_SSH_COMMAND=" + s.ssh()}
	return peer{name, env, func(ctx context.Context, repo string) (string, string, error) {
		args := []string{"repo", "create", repo}
		if !hasTarget {
			repo += "-plain"
			args = []string{"repo", "create", repo, "--no-target"}
		}
		_, err := run(s.refship(ctx, args...))
		return s.url + "/" + repo, filepath.Join(s.data, "repos", repo+".git"), err
	}}
}

// dial connects to the server's etcd.
func (s *server) dial(ctx context.Context) (*etcd.Client, error) {
	return etcd.Dial(ctx, etcd.Config{Endpoints: []string{s.etcd}})
}

// startEtcd starts an etcd that is a process of its own, and gives its endpoint; "" where the machine has none.
func (w *world) startEtcd(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("etcd"); err != nil {
		return "", nil
	}
	client, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	raft, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	at, among := "http://127.0.0.1:"+client, "http://127.0.0.1:"+raft
	// The snapshot count is what the manual says for an etcd that gets large deploys.
	if _, err = w.start(w.command(ctx, nil, "etcd", "--data-dir", w.in("etcd"), "--listen-client-urls", at,
		"--advertise-client-urls", at, "--listen-peer-urls", among, "--initial-advertise-peer-urls", among,
		"--initial-cluster", "default="+among, "--snapshot-count", "100", "--quota-backend-bytes", "8589934592",
	), "etcd.log"); err != nil {
		return "", err
	}
	_, err = await(ctx, 30*time.Second, "etcd", func() (struct{}, bool) {
		client, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{at}, DialTimeout: time.Second})
		if err == nil {
			err = client.Close()
		}
		return struct{}{}, err == nil
	})
	return at, err
}

// startSSHD starts OpenSSH's server for the account that runs this, and gives its port; "" where the machine has none.
func (w *world) startSSHD(ctx context.Context) (port string, err error) {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			return "", nil
		}
	}
	if os.Getuid() == 0 {
		// Where root's sshd stays without its privileges.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return "", err
		}
	}
	if _, err = run(w.command(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.in("host"))); err != nil {
		return "", err
	}
	if port, err = freePort(ctx); err != nil {
		return "", err
	}
	// SetEnv: no settings of the account's shell and git.
	config := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\n"+
		"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"+
		"SetEnv HOME=%s GIT_CONFIG_NOSYSTEM=1\n", port, w.in("host"), w.in("id.pub"), w.dir)
	if err = os.WriteFile(w.in("sshd_config"), []byte(config), 0o600); err != nil {
		return "", err
	}
	if _, err = w.start(w.command(ctx, nil, sshd, "-D", "-e", "-f", w.in("sshd_config")), "sshd.log"); err != nil {
		return "", err
	}
	_, err = w.logged(ctx, "sshd.log", "Server listening")
	return port, err
}

// banner gives the first line that a server on this machine sends: SSH-2.0-OpenSSH_9.2p1.
func banner(ctx context.Context, port string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// bare makes bare repositories below a directory, with git's own settings or with those that refship gives to
// receive-pack: all is synced, packs stay packs and are checked, gc does not run in a push.
func (w *world) bare(prefix, below string, asOurs bool) func(context.Context, string) (url, dir string, err error) {
	return func(ctx context.Context, name string) (url, dir string, err error) {
		dir = w.in(below, name+".git")
		if _, err := run(w.command(ctx, nil, "git", "init", "--quiet", "--bare", dir)); err != nil || !asOurs {
			return prefix + dir, dir, err
		}
		for _, setting := range [][2]string{
			{"core.fsync", "committed,reference"}, {"receive.unpackLimit", "1"}, {"receive.autogc", "false"},
			{"receive.fsckObjects", "true"},
		} {
			if _, err := run(w.command(ctx, nil, "git", "-C", dir, "config", setting[0], setting[1])); err != nil {
				return "", "", err
			}
		}
		return prefix + dir, dir, nil
	}
}

// sshPeers are the ways through OpenSSH's server.
func (w *world) sshPeers(ctx context.Context, port string) ([]peer, error) {
	account, err := user.Current()
	if err != nil {
		return nil, err
	}
	prefix := "ssh://" + account.Username + "@127.0.0.1:" + port
	with := func(options ...string) []string { return []string{"GIT_SSH_COMMAND=" + w.ssh(options...)} }
	control := []string{"-o", "ControlPath=" + w.in("control")}
	master := append([]string{"-o", "ControlMaster=yes", "-N"}, control...)
	words := strings.Fields(w.ssh(master...))
	words = append(words, "-p", port, account.Username+"@127.0.0.1")
	if _, err := w.start(w.command(ctx, nil, words[0], words[1:]...), "control.log"); err != nil {
		return nil, err
	}
	if _, err := await(ctx, 30*time.Second, "ssh's ControlMaster", func() (struct{}, bool) {
		_, err := os.Stat(w.in("control"))
		return struct{}{}, err == nil
	}); err != nil {
		text, _ := os.ReadFile(w.in("control.log"))
		said, _ := os.ReadFile(w.in("sshd.log"))
		return nil, errors.Join(err, fmt.Errorf("ssh said:\n%s\nsshd said:\n%s", text, said))
	}
	return []peer{
		{sshdName, with(), w.bare(prefix, "sshd", true)},
		{sshdName + ", curve25519", with("-o", "KexAlgorithms=curve25519-sha256"), w.bare(prefix, "sshd-curve", true)},
		{sshdName + ", as it comes", with(), w.bare(prefix, "sshd-plain", false)},
		// Without a master the push fails, instead of making a connection of its own.
		{
			sshdName + ", ControlMaster", with(append(control, "-o", "ProxyCommand=false")...),
			w.bare(prefix, "sshd-master", true),
		},
	}, nil
}

// The peers' names, as in the table.
const (
	embeddedName = "refship"
	externalName = "refship, external etcd"
	plainName    = "refship, no target"
	sshdName     = "sshd"
	curveName    = sshdName + ", curve25519"
	localName    = "local path"
)
