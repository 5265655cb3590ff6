// Reader is the smallest program that reads a chain: it prints the id and hash of each deploy, the newest first.
// Usage: reader ENDPOINT NAMESPACE
package main

import (
	"context"
	"fmt"
	"os"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, endpoint, namespace string) error {
	ns, err := record.ParseNamespace(namespace)
	if err != nil {
		return err
	}
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return err
	}
	defer client.Close()
	return store.Open(client, ns).Log(ctx, 0, func(d *record.Deploy) error {
		_, err := fmt.Println(d.ID, d.Hash)
		return err
	})
}
