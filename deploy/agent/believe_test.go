package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/agent"
	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { fixture.Main(m) }

const namespace = "/refship/site"

// keys is a Reader of the keys in it.
type keys map[string][]byte

func (k keys) Read(_ context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		if value, ok := k[q.Key]; ok {
			found[i] = []store.KeyValue{{Key: q.Key, Value: value, Revision: 1}}
		}
	}
	return found, 1, nil
}

func (k keys) clone() keys {
	other := keys{}
	for key, value := range k {
		other[key] = value
	}
	return other
}

const (
	firstChain  = "00112233445566778899aabbccddeeff"
	secondChain = "ff112233445566778899aabbccddeeff"
)

// put publishes a deploy of a commit of that digit on top of the deploy below, as another server would, and gives the
// record's name.
func (k keys) put(
	t *testing.T, id record.ID, digit string, below record.Ref, change ...func(*record.Record),
) record.Ref {
	t.Helper()
	hash := record.Hash(strings.Repeat(digit, 40))
	r := &record.Record{
		Format: record.Format, Namespace: namespace, Chain: firstChain, ID: id, Undone: []record.Undone{},
		Kind: record.KindPush, Hash: hash, Tree: hash.OID(), TreeSHA256: tree.SHA256{3}, Frontend: record.Files,
		PreviousRecord: below, Time: time.Unix(0, 0).UTC(),
	}
	for _, fn := range change {
		fn(r)
	}
	d, err := record.NewDeploy(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	k[fmt.Sprintf("%s/deploy/%d/hash", namespace, id)] = []byte(r.Hash)
	k[fmt.Sprintf("%s/deploy/%d/record", namespace, id)] = d.RecordBytes
	k[namespace+"/refship/head"] = []byte(id.String())
	return record.Ref{ID: id, SHA256: record.Sum(d.RecordBytes)}
}

// foreign publishes a deploy as mgmt does.
func (k keys) foreign(id record.ID, hash string) {
	k[fmt.Sprintf("%s/deploy/%d/payload", namespace, id)] = []byte("a payload")
	if hash != "" {
		k[fmt.Sprintf("%s/deploy/%d/hash", namespace, id)] = []byte(hash)
	}
	k[namespace+"/refship/head"] = []byte(id.String())
}

func (k keys) seen(t *testing.T) *site.Seen {
	t.Helper()
	chain := store.New(k, namespace)
	head, err := chain.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, err := agent.SeenOf(t.Context(), chain, head)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func forced(r *record.Record) { r.Forced = true }
func mgmt(r *record.Record)   { r.Frontend = record.Lang }

// A head runs only if it leads back to the one that was seen last.
func TestBreaks(t *testing.T) {
	base := keys{}
	one := base.put(t, 1, "1", record.Ref{})
	two := base.put(t, 2, "2", one)
	three := base.put(t, 3, "3", two)
	was := base.seen(t)
	followed := 0
	for name, test := range map[string]struct {
		change func(t *testing.T, k keys)
		want   string // in the reason; "": it extends
	}{
		"the same": {func(*testing.T, keys) {}, ""},
		"the next": {func(t *testing.T, k keys) { k.put(t, 4, "4", three) }, ""},
		"many more": {func(t *testing.T, k keys) {
			below := three
			for id := record.ID(4); id < 200; id++ {
				below = k.put(t, id, "4", below)
			}
		}, ""},
		"forced on top": {func(t *testing.T, k keys) { k.put(t, 4, "4", three, forced) }, ""},
		"a damaged one is passed over": {func(t *testing.T, k keys) {
			k.put(t, 4, "4", three)
			k[namespace+"/deploy/4/record"] = []byte("{}")
			k.put(t, 5, "5", three, forced)
		}, ""},
		"an older backup": {func(_ *testing.T, k keys) {
			delete(k, namespace+"/deploy/3/hash")
			delete(k, namespace+"/deploy/3/record")
			k[namespace+"/refship/head"] = []byte("2")
		}, "it is older"},
		"nothing is left": {func(_ *testing.T, k keys) { clear(k) }, "it is older"},
		"another one with the same number": {func(t *testing.T, k keys) { k.put(t, 3, "9", two) },
			"another deploy with the same number"},
		"the same commit, another record": {func(t *testing.T, k keys) {
			k.put(t, 3, "3", two, func(r *record.Record) { r.Reason = "other" })
		}, "another deploy with the same number"},
		"an older backup that went on": {func(t *testing.T, k keys) {
			k.put(t, 4, "4", k.put(t, 3, "9", two))
		}, "deploy 3 is another one now"},
		"it went on with the same commit": {func(t *testing.T, k keys) {
			k.put(t, 4, "4", k.put(t, 3, "3", two, func(r *record.Record) { r.Reason = "other" }))
		}, "the record of deploy 3 is another one now"},
		"what was seen is passed over": {func(t *testing.T, k keys) {
			k[namespace+"/deploy/3/record"] = []byte("{}")
			k.put(t, 4, "4", two, forced)
		}, "its records pass over deploy 3"},
		"another chain": {func(t *testing.T, k keys) {
			clear(k)
			var below record.Ref
			for id := record.ID(1); id < 6; id++ {
				below = k.put(t, id, "1", below, func(r *record.Record) { r.Chain = secondChain })
			}
		}, "it is of another chain"},
		"a chain that begins above": {func(t *testing.T, k keys) {
			k.put(t, 4, "4", record.Ref{}, forced)
		}, "its records pass over deploy 3"},
	} {
		t.Run(name, func(t *testing.T) {
			k := base.clone()
			test.change(t, k)
			chain := store.New(k, namespace)
			head, err := chain.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			is, err := agent.SeenOf(t.Context(), chain, head)
			if err != nil {
				t.Fatal(err)
			}
			why, err := agent.Breaks(t.Context(), chain, was, is)
			if follows := agent.Follows(head, was); follows && test.want != "" {
				t.Error("it is taken for the next one")
			} else if follows {
				followed++
			}
			if err != nil || test.want == "" && why != "" || !strings.Contains(why, test.want) {
				t.Errorf("it breaks since %q, %v, want %q", why, err, test.want)
			}
		})
	}
	if followed == 0 {
		t.Error("not one is the next one")
	}
	other := *was
	other.Namespace = "/refship/other"
	if why, err := agent.Breaks(t.Context(), store.New(base, namespace), &other, was); err != nil || why == "" {
		t.Errorf("another namespace: %q, %v", why, err)
	}
}

// A record below that is damaged, and that the head leads back over, is told as damage.
func TestBreaksOnDamage(t *testing.T) {
	k := keys{}
	one := k.put(t, 1, "1", record.Ref{})
	was := k.seen(t)
	two := k.put(t, 2, "2", one)
	k.put(t, 3, "3", two)
	is := k.seen(t)
	k[namespace+"/deploy/2/hash"] = []byte(strings.Repeat("7", 40))
	_, err := agent.Breaks(t.Context(), store.New(k, namespace), was, is)
	fixture.WantFault(t, fault.Corrupt, err, "/refship/site/deploy/2/hash", "")
}

// Deploys of mgmt itself have no record: what is known of them is their hash, and the record below.
func TestBreaksWithForeign(t *testing.T) {
	k := keys{}
	one := k.put(t, 1, "1", record.Ref{}, mgmt)
	k.foreign(2, strings.Repeat("2", 40))
	k.foreign(3, "")
	was := k.seen(t)
	if was.ID != 3 || was.Record != one || was.Hash != "" {
		t.Errorf("seen is %+v", was)
	}
	k.foreign(4, "")
	k.put(t, 5, "5", one, mgmt)
	if why, err := agent.Breaks(t.Context(), store.New(k, namespace), was, k.seen(t)); err != nil || why != "" {
		t.Errorf("it breaks since %q, %v", why, err)
	}
	k.foreign(3, strings.Repeat("9", 40))
	k[namespace+"/refship/head"] = []byte("5")
	if why, err := agent.Breaks(t.Context(), store.New(k, namespace), was, k.seen(t)); err != nil || why == "" {
		t.Errorf("another foreign deploy: %q, %v", why, err)
	}
	only := keys{}
	only.foreign(1, "")
	was = only.seen(t)
	only.foreign(2, "")
	if why, err := agent.Breaks(t.Context(), store.New(only, namespace), was, only.seen(t)); err != nil || why != "" {
		t.Errorf("only foreign deploys: it breaks since %q, %v", why, err)
	}
}

func TestSee(t *testing.T) {
	at := func(cluster uint64, revision int64, change ...func(*clientv3.WatchResponse)) *clientv3.WatchResponse {
		resp := &clientv3.WatchResponse{Header: &pb.ResponseHeader{ClusterId: cluster, Revision: revision}}
		for _, fn := range change {
			fn(resp)
		}
		return resp
	}
	event := func(resp *clientv3.WatchResponse) { resp.Events = []*clientv3.Event{{}} }
	compacted := func(resp *clientv3.WatchResponse) { resp.CompactRevision = 9 }
	for want, answers := range map[string][]*clientv3.WatchResponse{
		"":                                      {at(1, 7), at(1, 7), at(1, 9)},
		"changed":                               {at(1, 7), at(1, 8, event)},
		"etcd is another cluster":               {at(1, 7), at(2, 70, event)},
		"etcd's revision went back from 9 to 8": {at(1, 9), at(1, 8)},
		"etcd's revision went back from 7 to 3": {at(1, 3)},
		rpctypes.ErrCompacted.Error():           {at(1, 9, compacted)},
	} {
		if why := agent.See(7, answers...); why != want {
			t.Errorf("the head is read anew since %q, want %q", why, want)
		}
	}
}
