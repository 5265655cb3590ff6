package intent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxAncestors is how far up receive-pack is looked for: between it and a hook are a dispatcher and its shells at most.
const maxAncestors = 8

// ThisProcess names this process to others on the machine: boot, namespace of process ids, process id and start time
// (proc(5)), separated by slashes. "" if it is not known.
func ThisProcess() string { return processName(os.Getpid()) }

func processName(pid int) string {
	space := processSpace()
	_, start := processStat(pid)
	if space == "" || start == "" {
		return ""
	}
	return space + "/" + strconv.Itoa(pid) + "/" + start
}

// ReceivePack names the git receive-pack that this process is a hook of, so that another process can find out whether
// it still runs. Without a receive-pack among the ancestors it is the parent.
func ReceivePack() string {
	pid := os.Getppid()
	for at, i := pid, 0; i < maxAncestors && at > 1; i++ {
		if isReceivePack(at) {
			pid = at
			break
		}
		at, _ = processStat(at)
	}
	return processName(pid)
}

// ProcessLife tells whether a process with such a name runs, or has ended; or it cannot be told.
func ProcessLife(process string) Life {
	parts := strings.Split(process, "/")
	boot, space, _ := strings.Cut(processSpace(), "/")
	if len(parts) != 4 || boot == "" {
		return unknown
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil || parts[0] != boot || parts[1] != space {
		return unknown // on another machine, or in another container, or before this one was started again
	}
	// Where accounts see their own processes only (proc(5), hidepid), that one is not there proves nothing.
	for _, seen := range []int{1, pid} {
		if _, err := os.Stat(processFile(seen, "stat")); err != nil && (seen == 1 || !errors.Is(err, fs.ErrNotExist)) {
			return unknown
		}
	}
	if _, start := processStat(pid); start != parts[3] {
		return Ended
	}
	return running
}

// processSpace is this boot, and the namespace in which process ids mean something.
func processSpace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + space
}

func processFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

func isReceivePack(pid int) bool {
	line, err := os.ReadFile(processFile(pid, "cmdline"))
	return err == nil && slices.ContainsFunc(strings.Split(string(line), "\x00"), func(arg string) bool {
		return arg == "receive-pack" || filepath.Base(arg) == "git-receive-pack"
	})
}

// processStat gives a process's parent and start time; 0 and "" if it is gone, or a zombie, which runs no more.
func processStat(pid int) (parent int, start string) {
	text, err := os.ReadFile(processFile(pid, "stat"))
	if err != nil {
		return 0, ""
	}
	// The second field, the name, is in parentheses and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const stateField, parentField, startField = 0, 1, 19
	if len(fields) <= startField || fields[stateField] == "Z" || fields[stateField] == "X" {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[parentField])
	return parent, fields[startField]
}
