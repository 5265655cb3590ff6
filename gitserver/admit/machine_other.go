//go:build !linux

package admit

// MachineMemory is known on Linux only.
func MachineMemory() int64 { return 0 }
