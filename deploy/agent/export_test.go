package agent

import clientv3 "go.etcd.io/etcd/client/v3"

// For tests of what a node believes, and of what a watch tells it.
var (
	Breaks  = breaks
	Follows = follows
	SeenOf  = seenOf

	FailedAs  = failedAs
	FailureOf = failureOf
)

// See is what is seen in one answer of a watch after another.
func See(revision int64, answers ...*clientv3.WatchResponse) (why string) {
	w := watched{revision: revision}
	for _, answer := range answers {
		if why = w.see(answer); why != "" {
			break
		}
	}
	return why
}
