package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
	"refship/keys"
)

// chainKeys is a store.Reader over a map.
type chainKeys map[string]string

func (c chainKeys) Read(_ context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		if value, ok := c[q.Key]; ok {
			found[i] = []store.KeyValue{{Key: q.Key, Value: []byte(value), Revision: 1}}
		}
	}
	return found, 1, nil
}

// publish puts the next deploy of a chain, by a server with a signing key, 0: none.
func (c chainKeys) publish(t *testing.T, ns record.Namespace, id record.ID, server string, key byte) {
	t.Helper()
	chain := store.New(c, ns)
	r := &record.Record{
		Format: record.Format, Namespace: ns, Chain: "00112233445566778899aabbccddeeff", ID: id, Kind: record.KindPush,
		Tree: tree.HashObject(tree.FormatSHA1, "tree", nil), TreeSHA256: tree.SHA256{1}, Frontend: record.Files, Undone: []record.Undone{},
		Server: server, Time: time.Unix(1767225600+int64(id), 0).UTC(),
	}
	r.Hash = record.TreeHash(r.Tree)
	if below, ok := c[chain.DeployKey(id-1, record.KeyRecord)]; ok {
		r.PreviousRecord = record.Ref{ID: id - 1, SHA256: record.Sum([]byte(below))}
	}
	var signer ssh.Signer
	if key != 0 {
		signer = fixture.Signer(key)
		r.Signer = ssh.FingerprintSHA256(signer.PublicKey())
	}
	d, err := record.NewDeploy(r, signer)
	if err != nil {
		t.Fatal(err)
	}
	c[chain.DeployKey(id, record.KeyHash)] = string(d.Hash)
	c[chain.DeployKey(id, record.KeyRecord)] = string(d.RecordBytes)
	if signer != nil {
		c[chain.DeployKey(id, record.KeySignature)] = string(d.Signature)
	}
	c[chain.Key("head")] = id.String()
}

// A lost key is found wherever it has signed under the server's name, and another server's only where there is none.
func TestWhichKeysAreLost(t *testing.T) {
	type by struct {
		server string
		key    byte
	}
	many := make([]by, maxLooked)
	for i := range many {
		many[i] = by{"ci", 9}
	}
	for name, c := range map[string]struct {
		chains map[record.Namespace][]by // deploys from 1 on
		delete string
		want   []string // key, where
		said   string
	}{
		"the newest": {chains: map[record.Namespace][]by{"/a": {{"h1", 1}, {"h1", 1}}},
			want: []string{"1 deploy 2 of /a by the server h1"}},
		"below another server's": {chains: map[record.Namespace][]by{"/a": {{"h1", 1}, {"ci", 2}, {"ci", 3}}},
			want: []string{"1 deploy 1 of /a by the server h1"}},
		"several, the newest first": {chains: map[record.Namespace][]by{"/a": {{"h1", 1}, {"h1", 1}, {"h1", 2}, {"h1", 0}},
			"/b": {{"h1", 1}}}, want: []string{"2 deploy 3 of /a by the server h1",
			"1 deploy 2 of /a by the server h1, deploy 1 of /b by the server h1"}, said: "deploy 4 of /a is not signed"},
		"under another name": {chains: map[record.Namespace][]by{"/a": {{"old", 1}, {"old", 2}}, "/b": {{"old", 3}}},
			want: []string{"2 deploy 2 of /a by the server old", "3 deploy 1 of /b by the server old"}},
		"under another name in one": {chains: map[record.Namespace][]by{"/a": {{"old", 2}}, "/b": {{"h1", 3}}},
			want: []string{"3 deploy 1 of /b by the server h1"}},
		"allowed already": {chains: map[record.Namespace][]by{"/a": {{"h1", 7}, {"ci", 2}}},
			said: "has a line in the allowed signers, which stays as it is: deploy 1 of /a"},
		"below what is damaged": {chains: map[record.Namespace][]by{"/a": {{"h1", 1}, {"h1", 2}, {"h1", 3}}},
			delete: "/a/deploy/3/signature", want: []string{"2 deploy 2 of /a by the server h1",
				"1 deploy 1 of /a by the server h1"},
			said: "warning: who signed the head of /a is not known: verify /a/deploy/3/signature"},
		"nothing sound": {chains: map[record.Namespace][]by{"/a": {{"h1", 1}}}, delete: "/a/deploy/1/hash",
			said: "warning: who signed the head of /a is not known: verify /a/deploy/1/hash"},
		"too far down": {chains: map[record.Namespace][]by{"/a": append([]by{{"h1", 1}}, many...)},
			want: []string{"9 deploy 1001 of /a by the server ci"}},
		"just not too far": {chains: map[record.Namespace][]by{"/a": append([]by{{"h1", 1}}, many[1:]...)},
			want: []string{"1 deploy 1 of /a by the server h1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := chainKeys{}
			for ns, deploys := range c.chains {
				for i, d := range deploys {
					all.publish(t, ns, record.ID(i+1), d.server, d.key)
				}
			}
			delete(all, c.delete)
			var said bytes.Buffer
			a := &app{stderr: &said}
			known := &keys.Signer{Principals: "known", Namespaces: keys.Namespace, PublicKey: fixture.Signer(7).PublicKey()}
			found := lostKeys{allowed: keys.NewAllowedSigners("test", known), host: "h1"}
			for _, ns := range []record.Namespace{"/a", "/b"} {
				if err := found.lookAt(t.Context(), a, store.New(all, ns)); err != nil {
					t.Fatal(err)
				}
			}
			if err := found.lookAtOthers(a); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, lost := range found.newestFirst() {
				for seed := range byte(10) {
					if seed > 0 && bytes.Equal(fixture.Signer(seed).PublicKey().Marshal(), lost.PublicKey.Marshal()) {
						got = append(got, fmt.Sprint(seed, " ", strings.Join(lost.seen, ", ")))
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("lost keys (-want +got):\n%s", diff)
			}
			if !strings.Contains(said.String(), c.said) || c.said == "" && said.Len() > 0 {
				t.Errorf("said %q, want %q", said.String(), c.said)
			}
		})
	}
}
