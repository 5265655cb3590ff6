// Package etcdtest runs a real embedded etcd for tests. An etcd takes about a
// tenth of a second to start; tests that write under different prefixes can share one.
package etcdtest
