package git

import "golang.org/x/sys/unix"

// limitMemory sets RLIMIT_DATA of setrlimit(2): the heap and private memory that can be written. Files that are mapped
// to be read are not in it, as they are in RLIMIT_AS, which would also end a Go program. Only the soft limit is set, so
// that a later call can raise it: git never does that by itself.
func limitMemory(pid int, bytes int64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &limit); err != nil {
		return err
	}
	limit.Cur = min(uint64(bytes), limit.Max)
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
}
