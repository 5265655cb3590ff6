package gc_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
)

// gc holds the chain's lock for 2 s at a time at most, however much is left to delete and however slow etcd is: so many
// deletions of a slow etcd as fit into that are all that it does before it gives the lock back. It is counted, since a
// machine may be slower than that.
func TestLockIsHeldBriefly(t *testing.T) {
	t.Parallel() // it waits
	const takes, most, txns = 400 * time.Millisecond, 2 * time.Second, 9
	f := newSetup(t)
	many := files{"always": "there"}
	for i := range txns * deploy.MaxDeletions {
		many["old/"+strconv.Itoa(i)] = "old " + strconv.Itoa(i)
	}
	f.deploy(many)
	head := f.deploy(files{"always": "there"})

	lock := namespace + "/refship/lock"
	var holds []int // how many deletions each has
	f.through(&hooked{before: func(op clientv3.Op) {
		_, thens, _ := op.Txn()
		for _, then := range thens {
			key := string(then.KeyBytes())
			switch {
			case then.IsPut() && key == lock:
				holds = append(holds, 0)
				return
			case then.IsDelete() && strings.HasPrefix(key, namespace+"/storage/"):
				holds[len(holds)-1]++
				time.Sleep(takes) // etcd does
				return
			}
		}
	}})
	f.collect(1)
	f.directly()
	deletions := 0
	for _, n := range holds {
		deletions += n
		if took := time.Duration(n) * takes; took > most {
			t.Errorf("%d deletions under one lock, which take %s, want no more than fit in %s: %v", n, took, most, holds)
		}
	}
	if deletions < txns {
		t.Errorf("%d txns have deleted something, want at least %d", deletions, txns)
	}
	f.wantExpired(1)
	f.wantWhole(head.ID)
}
