package admit

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestGroupMemory: the least limit of all groups that the process is in counts, in both versions of control groups.
func TestGroupMemory(t *testing.T) {
	root := t.TempDir()
	for path, limit := range map[string]string{
		"system.slice/memory.max":                 "2147483648\n",
		"system.slice/refship.service/memory.max": "max\n",
		"user.slice/memory.max":                   "1000\n",
		"memory/memory.limit_in_bytes":            "9223372036854771712\n",
		"memory/docker/memory.limit_in_bytes":     "536870912\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(limit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]int64{
		"0::/system.slice/refship.service\n": 2 << 30,
		"0::/\n":                             math.MaxInt64,
		"0::/elsewhere\n":                    math.MaxInt64,
		"":                                   math.MaxInt64,
		"nonsense\n":                         math.MaxInt64,
		"5:cpu,cpuacct:/user.slice\n4:memory:/docker/1\n":                        512 << 20,
		"4:memory:/docker\n0::/system.slice\n":                                   512 << 20,
		"0::/../../user.slice\n":                                                 1000,
		"1:name=systemd:/user.slice\n0::/system.slice/refship.service/payload\n": 2 << 30,
	} {
		if got := groupMemory(root, groups); got != want {
			t.Errorf("%q: got %d, want %d", groups, got, want)
		}
	}
	if got := MachineMemory(); got < 64<<20 {
		t.Errorf("this machine has %d bytes", got)
	}
}
