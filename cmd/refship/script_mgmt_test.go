package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/record"
)

// Commands about what mgmt reads, in the namespace /_mgmt of $ETCD:
//
//	mgmtruns [DIR]             read the newest deploy as strictly as a running mgmt at its worst, and print it: id,
//	                           frontend, the entry file and the settings that are on; with DIR, write its files there
//	mgmtgolden NAME N [HASH]   put what `mgmt deploy` itself once wrote, as deploy N; HASH is its deploy hash, or @FILE
// that holds it;
//	                           none if it is left out

const mgmtNamespace = "/_mgmt"

func cmdMgmtRuns(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: mgmtruns [DIR]")
	}
	var d *mgmttest.Deploy
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Get(ctx, mgmtNamespace+"/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		values := map[string][]byte{}
		for _, kv := range resp.Kvs {
			if strings.HasPrefix(string(kv.Key), mgmtNamespace+record.HostKeys) {
				continue // a host has written it
			}
			values[string(kv.Key)] = kv.Value
		}
		if values, err = mgmttest.Below(mgmtNamespace, values); err != nil {
			return err
		}
		if err := mgmttest.CheckKeys(slices.Collect(maps.Keys(values))); err != nil {
			return err
		}
		d, err = mgmttest.Read(values)
		return err
	})
	text := fmt.Sprintf("%d %s", d.ID, d.Name)
	if d.Entry != "" {
		text += " " + d.Entry
	}
	if d.Mode != "" {
		text += " mode=" + d.Mode
	}
	for name, on := range map[string]bool{"noop": d.Noop, "sema": d.Sema > 0, "no-autoedges": d.NoAutoEdges,
		"no-autogroup": d.NoAutoGroup} {
		if on {
			text += " " + name
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Strategy)) {
		text += fmt.Sprintf(" %s=%s", key, d.Strategy[key])
	}
	_, err := fmt.Fprintln(ts.Stdout(), text)
	ts.Check(err)
	if len(args) == 1 {
		ts.Check(os.CopyFS(ts.MkAbs(args[0]), d.FS))
	}
}

func cmdMgmtGolden(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: mgmtgolden NAME N [HASH]")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "mgmt", "testdata", "golden", args[0]+".json"))
	ts.Check(err)
	values := map[string][]byte{}
	ts.Check(json.Unmarshal(text, &values))
	if len(args) == 3 {
		hash := args[2]
		if file, ok := strings.CutPrefix(hash, "@"); ok {
			hash = strings.TrimSpace(ts.ReadFile(file))
		}
		values[mgmtNamespace+"/deploy/1/hash"] = []byte(hash)
	}
	var puts []clientv3.Op
	for key, value := range values {
		key = strings.Replace(key, "/deploy/1/", "/deploy/"+args[1]+"/", 1)
		puts = append(puts, clientv3.OpPut(key, string(value)))
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).Then(puts...).Commit()
		return err
	})
}
