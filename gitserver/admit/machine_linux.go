package admit

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MachineMemory is how many bytes of memory this process may use: the machine's, or less where one of the control
// groups that it is in has a limit (cgroups(7): memory.max of version 2, memory.limit_in_bytes of version 1), as
// systemd's MemoryMax= and containers set it.
func MachineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	most := min(info.Totalram*uint64(info.Unit), math.MaxInt64)
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return int64(most)
	}
	return min(int64(most), groupMemory("/sys/fs/cgroup", string(groups)))
}

// groupMemory is the least limit of the control groups that groups, of /proc/self/cgroup, names below root, and of
// those that they are in. A group that lies elsewhere for this process, as in a container, has its limit at the root.
func groupMemory(root, groups string) int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		top, file := root, "memory.max"
		switch {
		case parts[1] == "memory":
			top, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		case parts[1] != "":
			continue
		}
		for at := filepath.Clean("/" + parts[2]); ; at = filepath.Dir(at) {
			text, err := os.ReadFile(filepath.Join(top, at, file))
			if limit, e := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && e == nil && limit > 0 {
				least = min(least, limit)
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}
