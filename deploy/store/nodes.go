package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/tree"
)

const dirMode = filemode.Dir

// nodesPerTxn keeps the answer of one txn small: a node can be as large as a chunk, or many chunks.
const nodesPerTxn = 32

func (c *Chain) TreeKey(oid tree.OID) string { return c.Key("tree/" + oid.String()) }

func (c *Chain) ObjectKey(oid tree.OID) string { return c.Key("object/" + oid.String()) }

func (c *Chain) ContentKey(sum tree.SHA256) string {
	return string(c.ns) + "/storage/{sha256}" + sum.String()
}

// ChunkKeys are the keys that a value of a size stands at: the key itself, or key/0, key/1 … if it is cut.
func ChunkKeys(key string, size int64) []string {
	keys := make([]string, chunkCount(size))
	for i := range keys {
		keys[i] = chunkKey(key, size, int64(i))
	}
	return keys
}

// chunkCount is how many keys a value of a size stands at.
func chunkCount(size int64) int64 {
	if size <= tree.ChunkSize {
		return 1
	}
	return (size-1)/tree.ChunkSize + 1
}

// chunkKey is the i-th of them.
func chunkKey(key string, size, i int64) string {
	if size <= tree.ChunkSize {
		return key
	}
	return key + "/" + strconv.FormatInt(i, 10)
}

// PutChunks writes a value at its keys.
func PutChunks(w *etcd.Writer, key string, value []byte) error {
	for i, k := range ChunkKeys(key, int64(len(value))) {
		start := i * tree.ChunkSize
		if err := w.Put(k, value[start:min(start+tree.ChunkSize, len(value))]); err != nil {
			return err
		}
	}
	return nil
}

// Nodes reads tree nodes from etcd and keeps them: a deploy reads each at most once.
type Nodes struct {
	chain  *Chain
	Known  map[tree.OID]*tree.Node
	Text   map[tree.OID]tree.Entry // size and sha256 of the texts
	broken map[tree.OID]string     // what is wrong with a node that is there
}

func (c *Chain) NewNodes() *Nodes {
	return &Nodes{
		chain: c, Known: map[tree.OID]*tree.Node{}, Text: map[tree.OID]tree.Entry{},
		broken: map[tree.OID]string{},
	}
}

// Load reads those of the nodes that are not known yet. A node that is missing, incomplete or broken stays unknown:
// a reader reports it (unknown), and a deploy that has the directory writes it again.
func (n *Nodes) Load(ctx context.Context, oids []tree.OID) error {
	var missing []tree.OID
	asked := map[tree.OID]bool{}
	for _, oid := range oids {
		if n.Known[oid] == nil && !asked[oid] {
			asked[oid] = true
			missing = append(missing, oid)
		}
	}
	for len(missing) > 0 {
		batch := missing[:min(nodesPerTxn, len(missing))]
		missing = missing[len(batch):]
		ops := make([]clientv3.Op, len(batch))
		for i, oid := range batch {
			key := n.chain.TreeKey(oid)
			ops[i] = clientv3.OpGet(key, clientv3.WithRange(key+"0")) // '0' follows '/': the key and its chunks
		}
		resp, err := n.chain.kv.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return fmt.Errorf("read trees of %s: %w", n.chain.ns, etcd.Classify(err))
		}
		for i, oid := range batch {
			n.take(oid, resp.Responses[i].GetResponseRange().Kvs)
		}
	}
	return nil
}

// take keeps a node that was read, if all of it is there.
func (n *Nodes) take(oid tree.OID, kvs []*mvccpb.KeyValue) {
	text, whole := joinChunks(n.chain.TreeKey(oid), kvs)
	if !whole {
		return
	}
	node, err := tree.ParseNode(text)
	if err == nil && node.OID() != oid {
		err = fmt.Errorf("its tree oid is %s", node.OID())
	}
	if err != nil {
		n.broken[oid] = err.Error() // or chunks of which the last ones were never written
		return
	}
	n.Add(oid, node, text)
}

// Unknown says what is wrong with a node that load left unknown.
func (n *Nodes) Unknown(oid tree.OID) error {
	what := n.broken[oid]
	if what == "" {
		what = "it is missing or incomplete"
	}
	return record.Corrupt(n.chain.TreeKey(oid), what)
}

// Distrust forgets a node that is not the one that was deployed: what it says of its entries would be signed again.
func (n *Nodes) Distrust(deployed tree.Entry) {
	if text, ok := n.Text[deployed.OID]; ok && (text.Size != deployed.Size || text.SHA256 != deployed.SHA256) {
		delete(n.Known, deployed.OID)
		delete(n.Text, deployed.OID)
		n.broken[deployed.OID] = "it is not what was deployed"
	}
}

func (n *Nodes) Add(oid tree.OID, node *tree.Node, text []byte) tree.Entry {
	entry := tree.Entry{Mode: dirMode, OID: oid, Size: int64(len(text)), SHA256: sha256.Sum256(text)}
	n.Known[oid], n.Text[oid] = node, entry
	return entry
}

// joinChunks puts a value together from its keys; false if there are none, or one between others is missing.
func joinChunks(key string, kvs []*mvccpb.KeyValue) (text []byte, whole bool) {
	if len(kvs) == 1 && string(kvs[0].Key) == key {
		return kvs[0].Value, true
	}
	index := func(kv *mvccpb.KeyValue) int {
		i, err := strconv.Atoi(strings.TrimPrefix(string(kv.Key), key+"/"))
		if err != nil {
			return -1
		}
		return i
	}
	sort.Slice(kvs, func(i, j int) bool { return index(kvs[i]) < index(kvs[j]) })
	for i, kv := range kvs {
		if index(kv) != i {
			return nil, false
		}
		text = append(text, kv.Value...)
	}
	return text, len(kvs) > 0
}

// LoadBelow loads a directory and all directories below it, and checks that each is what the one above names.
func (n *Nodes) LoadBelow(ctx context.Context, root tree.Entry) error {
	seen := map[tree.OID]bool{root.OID: true}
	for level := []tree.Entry{root}; len(level) > 0; {
		if err := n.verified(ctx, level); err != nil {
			return err
		}
		var next []tree.Entry
		for _, dir := range level {
			for _, e := range dirsOf(n.Known[dir.OID].Entries) {
				if !seen[e.OID] {
					seen[e.OID] = true
					next = append(next, e)
				}
			}
		}
		if len(seen) > maxDirs {
			return tooLarge(fmt.Sprintf("%d directories", maxDirs))
		}
		level = next
	}
	return nil
}
