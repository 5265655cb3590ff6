package bundle

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"refship/deploy/record"
)

// place is where keys of a bundle are, after the namespace. The places are sorted, and none lies in another.
type place struct {
	prefix string // of several keys, or one whole key
	rest   *regexp.Regexp
}

// places are those of all keys that a bundle has; rest is what follows the prefix, nil: nothing. They are made when a
// bundle is read or written: most runs of the program need none.
var places = sync.OnceValue(func() []place {
	const chunk = `(/(0|[1-9][0-9]{0,9}))?$`
	number := regexp.MustCompile(`^[1-9][0-9]{0,19}$`)
	return []place{
		{"/deploy/", regexp.MustCompile(`^[1-9][0-9]{0,19}/(` + strings.Join(record.KeyNames[:], "|") + `)$`)},
		{"/fs/deploy/", regexp.MustCompile(`^[0-9]{1,20}-[0-9A-Za-z-]{1,64}$`)},
		{"/refship/checkpoint", nil},
		{"/refship/cosignature/", regexp.MustCompile(`^(0|[1-9][0-9]{0,19})/[!-~]{1,200}$`)},
		{eventsAt, regexp.MustCompile(`^[0-9]{1,20}$`)},
		{"/refship/expired", nil},
		{"/refship/head", nil},
		{"/refship/hold", nil},
		{"/refship/keep/", number},
		{"/refship/log/", number},
		{objectsAt, regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)},
		{treesAt, regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})` + chunk)},
		{contentsAt, regexp.MustCompile(`^[0-9a-f]{64}` + chunk)},
	}
})

// Some of these places.
const (
	deploysAt  = "/deploy/"
	blocksAt   = "/fs/deploy/"
	objectsAt  = "/refship/object/"
	treesAt    = "/refship/tree/"
	contentsAt = "/storage/{sha256}"
	eventsAt   = "/refship/" + record.EventPrefix
	headAt     = "/refship/head"
	holdAt     = "/refship/hold"
	expiredAt  = "/refship/" + record.ExpiredKey
)

// live are keys that only say what goes on in an etcd: a bundle has none of them, and an import passes over them.
var live = []string{
	"/refship/lock", "/refship/stored", "/refship/" + record.ImportedKey, "/refship/" + record.RunsKey, "/refship/rollout", "/refship/rollout-owner",
	"/refship/" + record.NodeKeys, "/refship/" + record.AliveKeys,
}

// belongs tells whether a key is one that a bundle of a namespace may have.
func belongs(ns record.Namespace, key string) bool {
	name, ok := strings.CutPrefix(key, string(ns))
	return ok && slices.ContainsFunc(places(), func(p place) bool {
		rest, ok := strings.CutPrefix(name, p.prefix)
		return ok && (p.rest == nil && rest == "" || p.rest != nil && p.rest.MatchString(rest))
	})
}

// isLive tells whether a key says only what goes on.
func isLive(ns record.Namespace, key string) bool {
	name, ok := strings.CutPrefix(key, string(ns))
	return ok && slices.ContainsFunc(live, func(at string) bool {
		return name == at || strings.HasSuffix(at, "/") && strings.HasPrefix(name, at)
	})
}
