package deploy_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/store"
)

// small are the files of a small repository: 50 of 3.5 KiB in 2 directories.
func small() files {
	all := files{}
	for i := range 50 {
		all[fmt.Sprintf("d%d/f%d", i%2, i)] = regular(strings.Repeat(fmt.Sprintln("line of file", i), 220))
	}
	return all
}

// BenchmarkCheck takes the verdict on a commit above the head, as each push does first.
func BenchmarkCheck(b *testing.B) {
	f := newSetup(b)
	all := small()
	first := f.repo.commit("first", all)
	f.deploy(first)
	all["d0/f0"] = regular("changed")
	job := f.job(f.repo.commit("second", all, first))
	for b.Loop() {
		if v, err := f.chain.Check(b.Context(), job); err != nil || v.Idle() || len(v.Commits) != 1 {
			b.Fatalf("%+v, %v", v, err)
		}
	}
}

// BenchmarkOneFile deploys one changed file: verdict, lock, what is stored, publish. etcd syncs to the disk.
func BenchmarkOneFile(b *testing.B) {
	f := newSetup(b)
	all := small()
	head := f.repo.commit("first", all)
	f.deploy(head)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		all["d0/f0"] = regular(fmt.Sprint("change ", i))
		head = f.repo.commit("next", all, head)
		job := f.job(head)
		b.StartTimer()
		if _, already, err := f.do(job); err != nil || already {
			b.Fatal(already, err)
		}
	}
}

// BenchmarkCheckout checks a small deploy out, over etcd's socket. It ends with a sync of the file system, which writes
// whatever else is to be written there. Nothing is removed until the end, since ext4 then looks at each inode that was.
func BenchmarkCheckout(b *testing.B) {
	e := fixture.NewEtcd(b)
	f := newSetupOn(b, e.Client())
	d := f.deploy(f.repo.commit("first", small()))
	chain, top := store.Open(e.Remote(), namespace), b.TempDir()
	for i := 0; b.Loop(); i++ {
		if err := chain.Checkout(b.Context(), d, filepath.Join(top, fmt.Sprint(i)), quiet); err != nil {
			b.Fatal(err)
		}
	}
}
