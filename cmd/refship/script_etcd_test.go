package main

// Scripts that need a real etcd of its own have these commands, too:
//
//	etcd run N [FLAG...]                start a cluster of N members, m1 to mN; $ETCD is the URL of m1, $ETCDS those of
//	                                    all, with commas, and etcdctl is told of them
//	etcd kill|pause|resume NAME         a member
//	etcd restart NAME [FLAG...]         kill it, if it runs, and start it again, with more flags
//	etcd leader                         $LEADER is the name of the member that leads
//	etcd learner                        add one member more as a learner; its URL comes first in $ETCDS, and is $LEARNER
//	etcd restore SNAPSHOT               put what a snapshot holds in the place of what all members have
//	etcd promote|remove NAME            make a voter of a learner, or take a member out of the cluster
//	certificates DIR                    make DIR with a CA, ca.crt, and the certificates server.crt and client.crt with
//	                                    server.key and client.key

import (
	"context"
	"log/slog"
	"os"
	"slices"
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
	for _, tool := range []string{fixture.Program, "etcdctl", "plink", "puttygen", "dbclient", "dropbearconvert",
		"python3"} {
		fixture.Need(t, tool)
	}
	for _, module := range []string{"dulwich", "pygit2"} {
		if err := pythonHas(module); err != nil && os.Getenv("REFSHIP_REQUIRE_TOOLS") != "" {
			t.Errorf("python3 lacks %s: %v", module, err)
		}
	}
}

// membersKey is where a script's etcd is, a *[]*fixture.Process.
type membersKey struct{}

func cmdEtcd(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "usage: etcd run N [FLAG...] | leader | learner | restore SNAPSHOT | restart NAME [FLAG...] | " +
		"kill|pause|resume|promote|remove NAME"
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
	case args[0] == "learner" && len(args) == 1:
		asMember(ts, *members, func(ctx context.Context, client *etcd.Client) error {
			learner, err := fixture.RunLearner(ctx, client, *members)
			if learner != nil {
				*members = append(*members, learner)
				ts.Setenv("LEARNER", learner.URL())
				ts.Setenv("ETCDS", learner.URL()+","+ts.Getenv("ETCDS"))
			}
			return err
		})
	case args[0] == "restore" && len(args) == 2:
		ts.Check(fixture.RestoreCluster(*members, ts.MkAbs(args[1])))
	case len(args) == 2 || len(args) > 2 && args[0] == "restart":
		for _, p := range *members {
			if p.Name == args[1] {
				ts.Check(etcdAct(ts, *members, p, args[0], args[2:]...))
				return
			}
		}
		ts.Fatalf("no member %s", args[1])
	default:
		ts.Fatalf(usage)
	}
}

func etcdAct(ts *testscript.TestScript, members []*fixture.Process, p *fixture.Process, what string,
	flags ...string,
) error {
	switch what {
	case "kill":
		p.Kill()
		return nil
	case "pause":
		return p.Pause()
	case "resume":
		return p.Resume()
	case "restart":
		return p.Restart(flags...)
	case "promote":
		asMember(ts, members, func(ctx context.Context, client *etcd.Client) error {
			return fixture.Promote(ctx, client, p)
		})
		return nil
	case "remove":
		// The others are asked: a member that is taken out stops, perhaps before it answers.
		others := slices.DeleteFunc(slices.Clone(members), func(m *fixture.Process) bool { return m == p })
		asMember(ts, others, func(ctx context.Context, client *etcd.Client) error {
			return fixture.Remove(ctx, client, p)
		})
		return nil
	}
	ts.Fatalf("etcd: no %s", what)
	return nil
}

func findLeader(ts *testscript.TestScript, members []*fixture.Process) (name string) {
	asMember(ts, members, func(ctx context.Context, client *etcd.Client) error {
		leader, err := fixture.Leader(ctx, client, members)
		if err == nil {
			name = leader.Name
		}
		return err
	})
	return name
}

// asMember does something with a client of the members.
func asMember(ts *testscript.TestScript, members []*fixture.Process,
	do func(context.Context, *etcd.Client) error,
) {
	ctx := context.Background()
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: fixture.URLs(members), Log: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	defer client.Close()
	ts.Check(do(ctx, client))
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
