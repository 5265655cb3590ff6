package main

// What the tests of the page, and its screenshots, look at: a server with chains of every kind, pushed to by two people.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"refship/deploy/fixture"
)

// pageWorld is the pages of a server, and a browser to look at them.
type pageWorld struct {
	*world
	browser context.Context
	at      string // the server's address, "http://127.0.0.1:PORT"
	port    string // that of SSH
	clock   int    // of the commits, in hours
	nodes   map[string]*background
}

// newPageWorld starts a server with its page, and makes Ada, Ben and Eve known to it.
func newPageWorld(t testing.TB, browser context.Context) *pageWorld {
	t.Helper()
	p := &pageWorld{world: &world{TB: t, dir: fixture.ShortDir(t)}, browser: browser, nodes: make(map[string]*background)}
	p.env = fixture.GitEnv(p.dir, "REFSHIP_DATA_DIR="+p.in("data"), "REFSHIP_HTTP=127.0.0.1:0")
	for name, rules := range map[string]string{"ada": "deploy:*", "ben": "force:*", "eve": "read:site"} {
		p.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", p.in(name))
		p.must("refship", "key", "add", name, "--key", p.in(name+".pub"), "--allow", rules)
	}
	t.Cleanup(func() {
		if p.server != nil {
			p.kill()
		}
	})
	return p
}

// of are the same pages for another test.
func (p *pageWorld) of(t testing.TB) *pageWorld {
	w, same := *p.world, *p
	w.TB, same.world = t, &w
	return &same
}

// serve starts the server, which stops at a failure point ("": it does not) until somebody opens the named pipe.
func (p *pageWorld) serve(failpoint, fifo string) {
	p.Helper()
	p.serveUnder([]string{"env", "REFSHIP_FAILPOINT=" + failpoint, "REFSHIP_FAILPOINT_FIFO=" + fifo})
	match := p.server.wait(httpListening)
	if match == nil {
		p.Fatalf("there is no page:\n%s", p.server.text())
	}
	p.at, p.port = match[1], p.server.wait(listening)[1]
}

// as is the environment in which git and ssh act for somebody.
func (p *pageWorld) as(user string) []string {
	name := strings.ToUpper(user[:1]) + user[1:]
	date := fmt.Sprintf("2026-11-%02dT%02d:12:00Z", 2+p.clock/24, p.clock%24)
	return append(p.env[:len(p.env):len(p.env)], fixture.SSHCommand(p.in(user), ""),
		"GIT_AUTHOR_NAME="+name, "GIT_AUTHOR_EMAIL="+user+"@example.org", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME="+name, "GIT_COMMITTER_EMAIL="+user+"@example.org", "GIT_COMMITTER_DATE="+date)
}

// runAs runs a command for somebody, and gives what it wrote.
func (p *pageWorld) runAs(user, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.Context(), p.program(name), args...)
	cmd.Env = p.as(user)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %s %q: %w\n%s", user, name, args, err, out)
	}
	return string(out), err
}

func (p *pageWorld) mustAs(user, name string, args ...string) string {
	p.Helper()
	out, err := p.runAs(user, name, args...)
	if err != nil {
		p.Fatal(err)
	}
	return out
}

// ssh runs a command of the server.
func (p *pageWorld) ssh(user string, args ...string) string {
	p.Helper()
	return p.mustAs(user, "sh", append([]string{"-c", `exec $GIT_SSH_COMMAND -p "$0" git@127.0.0.1 "$@"`, p.port}, args...)...)
}

// change commits files, as path and content one after the other, in a work tree of a repository.
func (p *pageWorld) change(user, repo, message string, files ...string) {
	p.Helper()
	p.clock += 5
	work := p.in("work-" + repo)
	if _, err := os.Stat(work); err != nil {
		p.must("git", "init", "-q", "-b", "main", work)
	}
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(work, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			p.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			p.Fatal(err)
		}
	}
	p.must("git", "-C", work, "add", "-A")
	p.mustAs(user, "git", "-C", work, "commit", "-q", "-m", message)
}

// push pushes what was committed.
func (p *pageWorld) push(user, repo string, options ...string) error {
	args := append([]string{"-C", p.in("work-" + repo), "push"}, options...)
	_, err := p.runAs(user, "git", append(args, "ssh://git@127.0.0.1:"+p.port+"/"+repo, "main")...)
	return err
}

func (p *pageWorld) mustPush(user, repo string, options ...string) {
	p.Helper()
	if err := p.push(user, repo, options...); err != nil {
		p.Fatal(err)
	}
}

// signedIn is a tab of somebody, at the page that a link from `ssh HOST web` leads to.
func (p *pageWorld) signedIn(t testing.TB, user string) *tab {
	t.Helper()
	b := newTab(t, p.browser)
	b.open(p.link(user), 200)
	b.enter()
	return b
}

var signInLink = regexp.MustCompile(`(?m)^http\S+$`)

// link is a link to the page, for once.
func (p *pageWorld) link(user string) string {
	p.Helper()
	link := signInLink.FindString(p.ssh(user, "web"))
	if link == "" {
		p.Fatal("ssh HOST web prints no link")
	}
	return link
}

// enter uses the form that a link leads to.
func (b *tab) enter() {
	b.Helper()
	b.until(`document.querySelector("form") !== null`)
	eval[bool](b, `document.querySelector("form").requestSubmit() || true`)
	b.untilText("h1", "All chains")
}

const (
	nginxConf = `worker_processes 2;
events { worker_connections 512; }
http {
    gzip on;
    server {
        listen 8080;
        root /srv/shop;
        location /static/ { expires 1h; }
    }
}
`
	cartGo = `package cart

// Total is what a customer pays, in cents.
func Total(prices []int) int {
	sum := 0
	for _, price := range prices {
		sum += price
	}
	return sum
}
`
)

// evilName is a name, and text, that would run as a script if a page took it for its own.
const evilName = "<img src=x onerror=alert(1)>"

// furnishAll fills the server: shop has a history with a rollback and a force, site has rings of nodes, dns is on hold.
func (p *pageWorld) furnishAll() {
	p.Helper()
	p.must("refship", "repo", "create", "shop")
	p.change("ada", "shop", "nginx and a cart", "nginx.conf", nginxConf, "cart/cart.go", cartGo, "motd", "welcome\n")
	p.mustPush("ada", "shop")
	gzip := strings.Replace(nginxConf, "gzip on;", "gzip on;\n    gzip_types text/css;", 1)
	p.change("ada", "shop", "compress what is sent", "nginx.conf", gzip)
	p.change("ada", "shop", "greet customers by name", "motd", "welcome, {{name}}\n")
	p.mustPush("ada", "shop")
	p.change("ben", "shop", "hotfix: no caching of the basket", "basket.conf", "cache = off\n")
	p.mustPush("ben", "shop")
	faster := strings.NewReplacer("expires 1h", "expires 30d", "worker_processes 2", "worker_processes 4").Replace(gzip)
	p.change("ada", "shop", "cache static files for a month", "nginx.conf", faster)
	p.mustPush("ada", "shop")
	p.ssh("ben", "rollback", "shop", "3", "customers see old prices")
	discount := strings.Replace(cartGo, "sum += price\n", "sum += price - price/10 // ten per cent off\n", 1)
	p.change("ada", "shop", "ten per cent off, and new names for static files", "cart/cart.go", discount,
		"motd", "sale: 10 % off\n", "nginx.conf", strings.Replace(faster, "/static/", "/static/v2/", 1))
	p.mustPush("ada", "shop", "-o", "deploy.again=5")
	p.must("git", "-C", p.in("work-shop"), "reset", "-q", "--hard", "HEAD~2")
	p.change("ben", "shop", "the sale is over", "motd", "welcome\n")
	p.mustPush("ben", "shop", "--force", "-o", "deploy.force", "-o", "deploy.reason=the sale ends at noon")

	p.must("refship", "repo", "create", "dns")
	p.change("ben", "dns", "a zone", "example.org.zone", "@ 3600 IN A 192.0.2.1\n")
	p.mustPush("ben", "dns")
	long := strings.Repeat("long", 60)
	p.change("ben", "dns", evilName+long, "zones/"+long[:200]+"/"+long[:200], long+long+"\n", "picture", "\x00\x01",
		evilName, "<b>"+evilName+"\n")
	p.mustPush("ben", "dns")
	p.change("ben", "dns", "a shorter life for the address", "example.org.zone", "@ 300 IN A 192.0.2.1\n")
	p.mustPush("ben", "dns")
	p.ssh("ben", "hold", "dns", "the registrar moves us until Monday")

	p.must("refship", "repo", "create", "site", "--rings", "canary,rest", "--ring-pause", "24h")
	p.agent("web1", "canary")
	p.agent("web2", "rest")
	p.agent("web3", "rest")
	p.change("ada", "site", "a front page", "index.html", "<h1>Shop</h1>\n")
	p.mustPush("ada", "site")
	p.ssh("ada", "promote", "site")
	for _, node := range []string{"web1", "web2", "web3"} {
		p.runs(node, 1)
	}
	p.change("ada", "site", "a front page in two languages", "index.html", "<h1>Shop, Laden</h1>\n")
	p.mustPush("ada", "site")
	p.runs("web1", 2)
}

// agent starts a node of the chain site.
func (p *pageWorld) agent(name, ring string) {
	p.Helper()
	cmd := exec.Command(p.program("refship"), "agent", "site", "--root", p.in(name), "--link", "current", "--name", name,
		"--ring", ring)
	cmd.Env = p.env
	node := &background{cmd: cmd, changed: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = node, node
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	go func() {
		node.err = cmd.Wait()
		close(node.ended)
	}()
	p.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-node.ended
	})
	p.nodes[name] = node
}

// runs waits until a node runs a deploy.
func (p *pageWorld) runs(name string, id int) {
	p.Helper()
	if node := p.nodes[name]; node.wait(regexp.MustCompile(fmt.Sprintf(`msg=switched id=%d `, id))) == nil {
		p.Fatalf("%s does not run deploy %d; it said:\n%s", name, id, node.text())
	}
}
