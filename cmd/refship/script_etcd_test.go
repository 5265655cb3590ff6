package main

// Scripts that need a real etcd of its own have these commands, too:
//
//	etcd run N [FLAG...]                start a cluster of N members, m1 to mN; $ETCD is the URL of m1, $ETCDS those of
//	                                    all, with commas, and etcdctl is told of them
//	etcd kill|pause|resume|restart NAME a member; restart kills it before, if it runs
//	etcd leader                         $LEADER is the name of the member that leads
//	certificates DIR                    make DIR with a CA, ca.crt, and the certificates server.crt and client.crt with
//	                                    server.key and client.key

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// A script skips itself where it lacks a tool; where everything must run, this fails.
func TestScriptsHaveTheirTools(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{fixture.Program, "etcdctl"} {
		fixture.Need(t, tool)
	}
}

// membersKey is where a script's etcd is, a *[]*fixture.Process.
type membersKey struct{}

func cmdEtcd(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "usage: etcd run N [FLAG...] | leader | kill|pause|resume|restart NAME"
	if neg || len(args) == 0 {
		ts.Fatalf(usage)
	}
	members := ts.Value(membersKey{}).(*[]*fixture.Process)
	switch {
	case args[0] == "run" && len(args) > 1:
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		*members, err = fixture.RunCluster(ts.MkAbs("etcd"), n, args[2:]...)
		ts.Check(err)
		ts.Defer(func() {
			for _, p := range *members {
				p.Kill()
			}
		})
		urls := fixture.URLs(*members)
		ts.Setenv("ETCD", urls[0])
		ts.Setenv("ETCDS", strings.Join(urls, ","))
		ts.Setenv("ETCDCTL_ENDPOINTS", strings.Join(urls, ","))
		ts.Setenv("ETCDCTL_API", "3")
	case args[0] == "leader" && len(args) == 1:
		ts.Setenv("LEADER", findLeader(ts, *members))
	case len(args) == 2:
		for _, p := range *members {
			if p.Name == args[1] {
				ts.Check(etcdAct(ts, p, args[0]))
				return
			}
		}
		ts.Fatalf("no member %s", args[1])
	default:
		ts.Fatalf(usage)
	}
}

func etcdAct(ts *testscript.TestScript, p *fixture.Process, what string) error {
	switch what {
	case "kill":
		p.Kill()
		return nil
	case "pause":
		return p.Pause()
	case "resume":
		return p.Resume()
	case "restart":
		return p.Restart()
	}
	ts.Fatalf("etcd: no %s", what)
	return nil
}

func findLeader(ts *testscript.TestScript, members []*fixture.Process) string {
	ctx := context.Background()
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: fixture.URLs(members), Log: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	defer client.Close()
	leader, err := fixture.Leader(ctx, client, members)
	ts.Check(err)
	return leader.Name
}

func cmdCertificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificates DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ca, err := fixture.NewAuthority(dir)
	ts.Check(err)
	ts.Check(ca.Issue("server", true))
	ts.Check(ca.Issue("client", false))
}
