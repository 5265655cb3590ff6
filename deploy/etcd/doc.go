// Package etcd TODO.
package etcd
