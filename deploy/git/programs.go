package git

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// A repository's own configuration names programs, and git runs some of them when it only looks: core.fsmonitor when it
// reads the index, filter.<driver>.clean and .process when it compares files with it, and, to fetch an object that a
// partial clone lacks, core.sshCommand and others of a remote's. Another account may have written that configuration
// than the one that runs refship. Settings in the environment go before those of files (git-config(1),
// GIT_CONFIG_COUNT).

// noFetch lets git fetch nothing. The second is for a git before 2.45, which does not know the first.
var noFetch = []string{"GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL="}

// withoutPrograms is the environment in which git runs none of the programs that a repository's configuration names,
// as far as reading can make it run them; filters are its filter drivers, where git compares a work tree.
func withoutPrograms(filters []string) []string {
	env, count := slices.Clone(noFetch), 0
	set := func(key, value string) {
		n := strconv.Itoa(count)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+key, "GIT_CONFIG_VALUE_"+n+"="+value)
		count++
	}
	set("core.fsmonitor", "false")
	for _, name := range filters {
		driver := "filter." + name + "."
		set(driver+"clean", "")
		set(driver+"process", "")
		set(driver+"required", "false")
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
}

// filterDrivers are the filter drivers of the configuration at path, the user's own included: what a driver of the
// user's does may be up to the repository's configuration (Git LFS runs programs that lfs.extension names).
func filterDrivers(ctx context.Context, path string) ([]string, error) {
	out, err := AsUser(ctx, "-C", path, "config", "-z", "--name-only", "--get-regexp", `^filter\.`)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // there are none
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list filter drivers: %w", err)
	}
	var names []string
	for key := range strings.SplitSeq(out, "\x00") {
		name := strings.TrimPrefix(key, "filter.")
		if last := strings.LastIndexByte(name, '.'); last >= 0 {
			names = append(names, name[:last])
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
