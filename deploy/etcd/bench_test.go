package etcd_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

const (
	benchKeys  = 500
	benchValue = 10_000 // bytes, about what a file of a source tree has
)

// BenchmarkWrite compares Writer with one Put after another; the keys are the
// same in each round, so that the database stays small.
func BenchmarkWrite(b *testing.B) {
	e := fixture.StartEtcd(b, embedded.Config{Listen: "127.0.0.1:0"})
	value := make([]byte, benchValue)
	for _, client := range []struct {
		name string
		*clientv3.Client
	}{
		{"in-process", e.Client()},
		{"dialled", dial(b, etcd.Config{Endpoints: []string{e.Addr()}})},
	} {
		b.Run(client.name+"/writer", func(b *testing.B) {
			b.SetBytes(benchKeys * benchValue)
			for b.Loop() {
				w := etcd.NewWriter(b.Context(), client)
				for i := range benchKeys {
					put(b, w, fmt.Sprintf("key/%d", i), value)
				}
				barrier(b, w)
			}
		})
		b.Run(client.name+"/puts", func(b *testing.B) {
			b.SetBytes(benchKeys * benchValue)
			for b.Loop() {
				for i := range benchKeys {
					if _, err := client.Put(b.Context(), fmt.Sprintf("key/%d", i), string(value)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
