package text

import "strings"

// Endpoints names etcd's addresses, without the user name and the password that one may have before an @: what is told
// to users and to logs must not hold them. A password with a comma has made two addresses of one: all between a scheme
// and the last @ is left out.
func Endpoints(all ...string) string {
	var shown, addresses []string // from one scheme to the next
	show := func() {
		joined := strings.Join(addresses, ", ")
		scheme, rest, found := strings.Cut(joined, "://")
		if !found {
			scheme, rest = "", joined
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 && scheme != "unix" { // a socket's path may have one
			joined = strings.TrimSuffix(joined, rest) + "…" + rest[at:]
		}
		if len(addresses) > 0 {
			shown = append(shown, joined)
		}
		addresses = nil
	}
	for _, endpoint := range all {
		if strings.Contains(endpoint, "://") {
			show()
		}
		addresses = append(addresses, endpoint)
	}
	show()
	return strings.Join(shown, ", ")
}
