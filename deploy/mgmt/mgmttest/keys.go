package mgmttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Below gives the keys of a namespace without it. A key that is not in the namespace is an error.
func Below(namespace string, values map[string][]byte) (map[string][]byte, error) {
	below := make(map[string][]byte, len(values))
	for key, value := range values {
		rest, ok := strings.CutPrefix(key, namespace+"/")
		if !ok {
			return nil, fmt.Errorf("key %q is not below %s", key, namespace)
		}
		below["/"+rest] = value
	}
	return below, nil
}

// mgmts are the first elements of the keys in which mgmt keeps its own state.
var mgmts = []string{"scheduler", "resources", "strings", "converged", "chooser", "endpoints", "nominated", "volunteer"}

// CheckKeys holds keys that mgmt did not write to its rules: none of them makes a running mgmt ignore
// deploys or a starting one exit, and none is where mgmt keeps its own state.
func CheckKeys(keys []string) error {
	for _, key := range keys {
		if _, _, err := deployKey(key); err != nil {
			return err
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(key, "/"), "/")
		if slices.Contains(mgmts, first) {
			return fmt.Errorf("key %q: %s is mgmt's own", key, first)
		}
	}
	return nil
}

// deployKey splits /deploy/<N>/<what>. Of a key that is elsewhere, N is 0.
func deployKey(key string) (n uint64, what string, err error) {
	if !strings.HasPrefix(key, "/") {
		return 0, "", fmt.Errorf("key %q does not begin with a slash", key)
	}
	if key != "/deploy" && !strings.HasPrefix(key, "/deploy/") {
		return 0, "", nil
	}
	parts := strings.Split(key, "/")[2:]
	if len(parts) != 2 {
		return 0, "", fmt.Errorf("key %q stops a running mgmt: %d elements below /deploy, not two", key, len(parts))
	}
	n, err = strconv.ParseUint(parts[0], 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != parts[0] {
		return 0, "", fmt.Errorf("key %q stops a running mgmt: %q is no id of a deploy", key, parts[0])
	}
	if parts[1] == "" {
		return 0, "", fmt.Errorf("key %q: nothing after the id", key)
	}
	return n, parts[1], nil
}
