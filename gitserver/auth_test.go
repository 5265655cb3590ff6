package gitserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/keys"
)

// lock encrypts a user's private key: OpenSSH then offers the public key, hears that it would do, and cannot sign.
func (e *env) lock(u *user) {
	e.t.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", u.path).CombinedOutput()
	if err != nil {
		e.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

// TestOfferedKey: who offers one key and authenticates with another is the second user.
func TestOfferedKey(t *testing.T) {
	for _, c := range []struct{ name, offered, used string }{
		{"offers alice", "alice", "bob"},
		{"offers bob", "bob", "alice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t)
			e.repo("config")
			offered := e.user(c.offered, "admin")
			used := e.user(c.used, "read:config")
			// Without a locked key the first one that will do is used.
			for _, order := range [][]string{{offered.path, used.path}, {used.path, offered.path}} {
				want := c.offered
				if order[0] == used.path {
					want = c.used
				}
				e.isUser(e.run(exec.Command("ssh", append(e.sshArgs(order...), "git@127.0.0.1", whoAmI)...)), want)
			}
			e.lock(offered)
			for _, order := range [][]string{{offered.path, used.path}, {used.path, offered.path}} {
				args := append([]string{"-v"}, e.sshArgs(order...)...)
				r := e.run(exec.Command("ssh", append(args, "git@127.0.0.1", whoAmI)...))
				r.want(t, r.status, "Server accepts key: "+used.path)
				if order[0] == offered.path {
					r.want(t, r.status, "Server accepts key: "+offered.path)
				}
				e.isUser(r, c.used)
				if key := e.last("command failed")["key"]; key != ssh.FingerprintSHA256(used.signer.PublicKey()) {
					t.Errorf("key is %v", key)
				}
			}
			// And a push is that user's too, and is refused.
			work := e.work()
			cmd := e.gitCommand(nil, work, "push", e.url("config"), "main")
			cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh "+strings.Join(e.sshArgs(offered.path, used.path), " "))
			e.fails(e.run(cmd), 128, fault.Refused)
			if line := e.last("command failed"); line["user"] != c.used {
				t.Errorf("log line is %v", line)
			}
		})
	}
}

// asks is a signer that asks about one key and authenticates with another, on one connection. ssh.PublicKeys takes the
// key's bytes twice for the question and its answer, then for the signed request.
type asks struct {
	ssh.Signer // who authenticates
	about      ssh.PublicKey
}

func (a asks) PublicKey() ssh.PublicKey {
	return &askedKey{PublicKey: a.Signer.PublicKey(), about: a.about}
}

type askedKey struct {
	ssh.PublicKey
	about ssh.PublicKey
	times int
}

func (k *askedKey) Marshal() []byte {
	if k.times++; k.times <= 2 {
		return k.about.Marshal()
	}
	return k.PublicKey.Marshal()
}

// onlyAsks is a signer that asks about its key and then makes no use of it.
type onlyAsks struct{ ssh.Signer }

func (a onlyAsks) PublicKey() ssh.PublicKey { return &onlyAskedKey{PublicKey: a.Signer.PublicKey()} }

type onlyAskedKey struct {
	ssh.PublicKey
	asked bool
}

func (k *onlyAskedKey) Marshal() []byte {
	if k.asked {
		return nil // what the server accepts is not this
	}
	k.asked = true
	return k.PublicKey.Marshal()
}

// forges is a signer whose signature is not that of its key.
type forges struct{ ssh.Signer }

func (f forges) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return f.Signer.Sign(rand, append([]byte("x"), data...))
}

// TestOfferedKeyOnOneConnection: whatever was asked about before, and in whatever order, the user is who signed.
func TestOfferedKeyOnOneConnection(t *testing.T) {
	e := start(t)
	e.repo("config")
	alice, bob := e.user("alice", "admin"), e.user("bob", "read:config")
	stranger := e.user("stranger", "")
	for _, c := range []struct {
		name    string
		signers []ssh.Signer
		want    string // "": nobody
	}{
		{"alice asked, bob signs", []ssh.Signer{asks{bob.signer, alice.signer.PublicKey()}}, "bob"},
		{"bob asked, alice signs", []ssh.Signer{asks{alice.signer, bob.signer.PublicKey()}}, "alice"},
		{"alice asked, bob asked, bob signs", []ssh.Signer{onlyAsks{alice.signer}, bob.signer}, "bob"},
		{"bob asked, alice asked, alice signs", []ssh.Signer{onlyAsks{bob.signer}, alice.signer}, "alice"},
		{"bob asked, alice asked, bob signs",
			[]ssh.Signer{onlyAsks{bob.signer}, asks{bob.signer, alice.signer.PublicKey()}}, "bob"},
		{"alice asked, bob asked, alice signs",
			[]ssh.Signer{onlyAsks{alice.signer}, asks{alice.signer, bob.signer.PublicKey()}}, "alice"},
		{"alice asked, a stranger signs", []ssh.Signer{asks{stranger.signer, alice.signer.PublicKey()}}, ""},
		{"alice forged", []ssh.Signer{forges{alice.signer}}, ""},
		{"bob asked, alice forged", []ssh.Signer{onlyAsks{bob.signer}, forges{alice.signer}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
				User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(c.signers...)},
				HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
			})
			if c.want == "" {
				if err == nil {
					conn.Close()
					t.Error("somebody is let in")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			e.isUser(e.exec(conn, whoAmI), c.want)
			if r := e.exec(conn, "deploy config"); (r.status == 0) != (c.want == "alice") {
				t.Errorf("%s may deploy: status %d\n%s", c.want, r.status, r.stderr)
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	e := start(t)
	stranger := e.user("stranger", "")
	e.ssh(stranger, "eve@127.0.0.1").want(t, 255, "Permission denied (publickey)")
	e.stop() // the log line comes after the connection's end
	line := e.last("key is not known")
	if line["fingerprint"] != ssh.FingerprintSHA256(stranger.signer.PublicKey()) || line["user"] != "eve" ||
		!strings.HasPrefix(fmt.Sprint(line["address"]), "127.0.0.1:") ||
		!strings.HasPrefix(fmt.Sprint(line["remedy"]), "key-unknown ssh-ed25519 ") {
		t.Errorf("log line is %v", line)
	}
}

// TestOtherLogins: nothing but a public key lets anybody in.
func TestOtherLogins(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "admin")
	stranger := e.user("stranger", "")
	cert := &ssh.Certificate{
		Key: stranger.signer.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity,
		ValidPrincipals: []string{"git"},
	}
	if err := cert.SignCert(strings.NewReader(strings.Repeat("x", 1000)), laptop.signer); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(cert, stranger.signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string][]ssh.AuthMethod{
		"nothing":  nil,
		"password": {ssh.Password("secret")},
		"keyboard-interactive": {ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
			return []string{"secret"}, nil
		})},
		"unknown key": {ssh.PublicKeys(stranger.signer)},
		"certificate": {ssh.PublicKeys(certified)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
				User: "git", Auth: auth, HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
			})
			if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
				t.Errorf("got %v", err)
			}
		})
	}
	r := e.run(exec.Command("ssh", append(append([]string{"-v"}, e.sshArgs(stranger.path)...), "git@127.0.0.1")...))
	r.want(t, 255, "Authentications that can continue: publickey\r\n", "remote software version refship")
}

// TestManyKeys: the right key may be far down an agent's list.
func TestManyKeys(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "admin")
	var signers []ssh.Signer
	for _, name := range strings.Fields("a b c d e f g h i j k l m n o p") {
		signers = append(signers, e.user(name, "").signer)
	}
	c, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(append(signers, laptop.signer)...)},
		HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.isUser(e.exec(c, whoAmI), "laptop")
}

// TestWeakAlgorithms are not even offered.
func TestWeakAlgorithms(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "admin")
	weak := ssh.InsecureAlgorithms()
	for name, config := range map[string]ssh.Config{
		"key exchange": {KeyExchanges: weak.KeyExchanges},
		"cipher":       {Ciphers: weak.Ciphers},
		"mac":          {MACs: append(weak.MACs, ssh.HMACSHA1), Ciphers: []string{ssh.CipherAES128CTR}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
				Config: config, User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(laptop.signer)},
				HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
			})
			if err == nil || !strings.Contains(err.Error(), "no common algorithm") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRemovedKey: what a key may do is asked anew, also on a connection that stands.
func TestRemovedKey(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	c := e.dial(laptop)
	e.exec(c, "deploy config").want(t, 0)

	text, err := os.ReadFile(e.keys.Path)
	if err != nil {
		t.Fatal(err)
	}
	less := strings.Replace(string(text), "deploy:config", "read:config", 1)
	if err := os.WriteFile(e.keys.Path, []byte(less), 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(e.exec(c, "deploy config"), 4, fault.Refused)

	if _, err := e.keys.Remove("laptop", ""); err != nil {
		t.Fatal(err)
	}
	e.fails(e.exec(c, "help"), 4, fault.Refused)
	e.ssh(laptop, "git@127.0.0.1").want(t, 255, "Permission denied (publickey)")

	// A file that cannot be trusted lets nobody in.
	e.user("other", "admin")
	if err := os.Chmod(e.keys.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	e.exec(c, "help").want(t, 1, "refship: error: ")
	e.ssh(e.user("other", ""), "git@127.0.0.1").want(t, 255, "Permission denied (publickey)")
}

// TestRemovedBeforePush: a client that has seen the refs and has sent nothing yet has not begun.
func TestRemovedBeforePush(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, other := e.user("laptop", "deploy:config"), e.user("other", "deploy:config")
	for _, c := range []struct {
		user   *user
		change func() error
	}{
		{laptop, func() error { _, err := e.keys.Remove("laptop", ""); return err }},
		{other, func() error {
			text, err := os.ReadFile(e.keys.Path)
			if err != nil {
				return err
			}
			return os.WriteFile(e.keys.Path,
				[]byte(strings.Replace(string(text), "deploy:config", "read:config", 1)), 0o600)
		}},
	} {
		e.log.When("receive-start", func() {
			if err := c.change(); err != nil {
				t.Error(err)
			}
		})
		e.fails(e.git(c.user, e.work(), "push", e.url("config"), "main"), 128, fault.Refused)
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}

// TestRefusedOffers: a key that cannot be let in, whatever the keys file says, is refused, and the log says why.
func TestRefusedOffers(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "admin")
	keygen := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
		}
	}
	weak := &user{name: "weak", path: filepath.Join(e.dir, "id_weak")}
	keygen("-t", "rsa", "-b", "1024", "-N", "", "-f", weak.path)
	unlisted := &user{name: "unlisted", path: filepath.Join(e.dir, "id_unlisted")}
	keygen("-t", "rsa", "-b", "1025", "-N", "", "-f", unlisted.path)
	sha1 := &user{name: "sha1", path: filepath.Join(e.dir, "id_sha1")}
	keygen("-t", "rsa", "-b", "2048", "-N", "", "-f", sha1.path)
	ca, certified := e.user("ca", "admin"), e.user("certified", "")
	keygen("-s", ca.path, "-I", "id", "-n", "git", certified.path+".pub")

	// A line with a weak key gives no access, and the lines beside it do.
	for _, u := range []*user{weak, sha1} {
		pub, err := os.ReadFile(u.path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(e.keys.Path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`name="` + u.name + `",allow="admin" ` + string(pub)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e.ssh(weak, "git@127.0.0.1", "help").want(t, 255, "Permission denied (publickey)")
	e.ssh(unlisted, "git@127.0.0.1", "help").want(t, 255, "Permission denied (publickey)")
	text, err := os.ReadFile(sha1.path)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if sha1.signer, err = ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner),
		[]string{ssh.KeyAlgoRSA}); err != nil {
		t.Fatal(err)
	}
	if c, err := e.tryDial(sha1); err == nil { // OpenSSH does not even try
		c.Close()
		t.Error("a signature with SHA-1 is accepted")
	}
	e.ssh(sha1, "git@127.0.0.1", "help").want(t, 0) // the same key with signatures of today
	e.ssh(certified, "-o", "CertificateFile="+certified.path+"-cert.pub", "git@127.0.0.1", "help").want(t, 255,
		"Permission denied (publickey)")
	e.ssh(laptop, "git@127.0.0.1", "help").want(t, 0)
	e.stop()
	var reasons []string
	for _, line := range e.log.About("key is refused") {
		reasons = append(reasons, fmt.Sprint(line["reason"]))
		if line["remedy"] == "" {
			t.Errorf("log line without a remedy: %v", line)
		}
	}
	for _, names := range []string{"authorized_keys:3: RSA key of 1024 bits", "RSA key of 1025 bits", `"ssh-rsa"`,
		"ssh-ed25519-cert-v01@openssh.com"} {
		if !strings.Contains(strings.Join(reasons, "\n"), names) {
			t.Errorf("log has no key refused for %q: %q", names, reasons)
		}
	}
	if lines := fmt.Sprint(e.last("key is not known")["unusable_lines"]); !strings.Contains(lines, "authorized_keys:3") {
		t.Errorf("unusable lines are %s", lines)
	}
}

// TestRemovedKeyShared: over a connection that OpenSSH shares, what began before the key was removed is finished, and
// nothing begins after it.
func TestRemovedKeyShared(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	control := filepath.Join(e.dir, "control")
	shared := []string{"-o", "ControlPath=" + control}
	master := exec.Command("ssh", append(append(e.sshArgs(laptop.path), shared...), "-M", "-N", "git@127.0.0.1")...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the shared connection", func() bool {
		_, err := os.Stat(control)
		return err == nil
	})
	// Without the key's file: what works, works over the connection that stands.
	stranger := e.user("stranger", "")
	ssh := func(args ...string) result {
		return e.ssh(stranger, append(append(shared, "git@127.0.0.1"), args...)...)
	}
	ssh("status", "config").want(t, 0)

	reached, release := e.halt("pre-receive-start") // before the hooks ask what the key may do
	pushed := make(chan result)
	push := e.gitCommand(stranger, work, "push", e.url("config"), "main")
	for i, v := range push.Env {
		if strings.HasPrefix(v, "GIT_SSH_COMMAND=") {
			push.Env[i] += " " + strings.Join(shared, " ")
		}
	}
	go func() { pushed <- e.run(push) }()
	<-reached
	if _, err := e.keys.Remove("laptop", ""); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"status", "deploy", "git-receive-pack"} {
		e.fails(ssh(command, "config"), 4, fault.Refused)
	}
	e.ssh(laptop, "git@127.0.0.1").want(t, 255, "Permission denied (publickey)")
	release()
	e.deployed(<-pushed, 1)
	e.fails(ssh("git-upload-pack", "config"), 4, fault.Refused)
	if got, want := e.mustGit(nil, repo.Dir, "rev-parse", "refs/heads/main"),
		e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("ref is %s, want %s", got, want)
	}
	if err := master.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := master.Wait(); err == nil {
		t.Error("ssh was not killed")
	}
}

// TestKeyOfAPush: a push is of the user, and with the permissions, that the key has when it begins to send.
func TestKeyOfAPush(t *testing.T) {
	e := start(t)
	e.repo("config")
	before := e.user("before", "deploy:config")
	rename := func(name, rules string) func() {
		return func() {
			list, _, err := e.keys.List()
			if err != nil || len(list) != 1 {
				t.Errorf("%d keys: %v", len(list), err)
				return
			}
			parsed, err := keys.ParseRules(rules)
			_, err2 := e.keys.Remove(list[0].Name, "")
			if err := errors.Join(err, err2, e.keys.Add(name, before.signer.PublicKey(), "test", parsed)); err != nil {
				t.Error(err)
			}
		}
	}
	work := e.work()
	e.log.When("receive-start", rename("after", "deploy:config")) // the client was not asked for anything yet
	e.git(before, work, "push", e.url("config"), "main").want(t, 0)
	if d := e.head("config"); d == nil || d.Record.Pusher.Name != "after" {
		t.Errorf("head is %+v, want one by after", d)
	}
	if log := e.log.Text(); !strings.Contains(log, "repository=config user=after") {
		t.Error("log does not say who pushed")
	}
	e.commit(work, "file", "two\n")
	e.log.When("receive-start", rename("later", "push:config"))
	e.git(before, work, "push", e.url("config"), "main").want(t, 1)
	if e.result() != "refused" {
		t.Errorf("the push is %q", e.result())
	}
	e.commit(work, "file", "three\n")
	e.log.When("receive-start", rename("last", "read:config"))
	e.fails(e.git(before, work, "push", e.url("config"), "main"), 128, fault.Refused)
	e.stop()

	// Every line about a push names the same user.
	users := map[string][]string{}
	for line := range strings.Lines(e.log.Text()) {
		for _, start := range []string{"INFO push ", "DEBUG push ended ", "INFO command failed "} {
			if _, rest, found := strings.Cut(line, " user="); found && strings.HasPrefix(line, start) {
				user, rest, _ := strings.Cut(rest, " ")
				if users[start] = append(users[start], user); strings.Contains(rest, " user=") {
					t.Errorf("two users: %s", line)
				}
			}
		}
	}
	want := map[string][]string{
		"INFO push ": {"after", "later", "last"}, "DEBUG push ended ": {"after", "later", "last"},
		"INFO command failed ": {"last"},
	}
	if !reflect.DeepEqual(users, want) {
		t.Errorf("users are %v, want %v", users, want)
	}
}

// TestPlacesAreNotTold: what goes wrong with the server's files is told by their names; where they are is for the log.
func TestPlacesAreNotTold(t *testing.T) {
	e := start(t)
	repo := e.repo("team/config")
	laptop := e.user("laptop", "admin")
	c := e.dial(laptop)
	file := func(name string) string { return filepath.Join(repo.Dir, name) }
	swap := func(path string) { // for a directory, which nobody can read as a file
		t.Helper()
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	back := func(path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		path     string
		commands []string
		name     string // of the thing that is told
	}{
		{file("config"), []string{"git-upload-pack 'team/config'", "git-receive-pack 'team/config'",
			"log team/config", "status team/config", "repos"}, "config"},
		{e.keys.Path, []string{"repos", "", "git-receive-pack 'team/config'"}, "authorized_keys"},
	} {
		swap(x.path)
		for _, command := range x.commands {
			r := e.exec(c, command)
			r.want(t, 1, "refship: error: ", x.name)
			if strings.Contains(r.stdout+r.stderr, e.dir) {
				t.Errorf("%q tells where the server's files are: %+v", command, r)
			}
		}
		back(x.path)
		if !strings.Contains(e.log.Text(), x.path) {
			t.Errorf("log does not name %s", x.path)
		}
	}
	// The directory of all repositories itself.
	if err := os.Rename(e.repos.Path, e.repos.Path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(e.repos.Path, e.repos.Path); err != nil { // a loop
		t.Fatal(err)
	}
	for _, command := range []string{"log team/config", "git-upload-pack 'team/config'"} {
		if r := e.exec(c, command); r.status == 0 || strings.Contains(r.stdout+r.stderr, e.dir) {
			t.Errorf("%q: %+v", command, r)
		}
	}
}
