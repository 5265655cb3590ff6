package embedded

import (
	"fmt"
	"time"

	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// leastGrowth is by how many bytes etcd's database grows at once.
	leastGrowth = 16 << 20
	// mapStep is what the kernel is asked for the database's memory in.
	mapStep = 1 << 30
	// heap is the memory that is needed beside the database's, in bytes.
	heap = 256 << 20
)

// checkDisk refuses to start where etcd would only panic.
func checkDisk(m *member) error {
	need := int64(leastGrowth)
	if !m.log.there {
		need += 2 * etcd.LogFile
	}
	if m.log.torn {
		need += etcd.LogFile // etcd copies the file first
	}
	free, err := disk.Free(m.dir)
	if err != nil {
		return err
	}
	if free < need {
		return fault.New(fault.Unavailable,
			fmt.Sprintf("etcd needs %s on the disk of %s, and %s are free", text.Size(need), m.dir, text.Size(free)),
			"free some space there")
	}
	return nil
}

// checkLimits refuses the limits of setrlimit(2) under which etcd would panic, now or when its database has grown.
func checkLimits(quota int64) error {
	most := quota + quota/10 // etcd may take a tenth more, to delete keys when it is full
	var file unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &file); err != nil {
		return fmt.Errorf("read the limit of a file's size: %w", err)
	}
	need := max(most, 2*etcd.LogFile)
	if uint64(file.Cur) < uint64(need) { //nolint:unconvert // other systems have other types there
		return fault.New(fault.Unavailable,
			fmt.Sprintf("a file of this process may have %s (ulimit -f), and etcd's database may grow to %s",
				text.Size(int64(file.Cur)), text.Size(need)),
			"raise that limit: ulimit -f unlimited, or LimitFSIZE=infinity of systemd")
	}
	// etcd maps all that the database may become at once. So does this, and gives it back.
	size := (most+mapStep-1)/mapStep*mapStep + heap
	if quota == storage.DefaultQuotaBytes {
		size = int64(backend.InitialMmapSize) + heap // etcd's own choice for that quota
	}
	mapped, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fault.New(fault.Unavailable,
			fmt.Sprintf("etcd needs %s of address space, most of it for its database's file: %v", text.Size(size), err),
			"raise that limit: ulimit -v unlimited, or LimitAS=infinity of systemd")
	}
	if err := unix.Munmap(mapped); err != nil {
		return fmt.Errorf("look at the limit of address space: %w", err)
	}
	return nil
}

const (
	startTime = 30 * time.Second
	// readSpeed is how many bytes of its database etcd reads a second at its start, from a slow disk.
	readSpeed = 20 << 20
)

// startLimit is how long etcd may take to answer, with a database of that size.
func startLimit(db int64) time.Duration {
	return startTime + time.Duration(db/readSpeed)*time.Second
}
