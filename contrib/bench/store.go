package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
)

// What is told of the server.
const (
	growthOf   = "growth of the database by one file"
	peakMemory = "peak memory of the server's process in a first push"
	ownMemory  = "own memory of the server's process after pushes of new content: "
	ownPuts    = "etcd's own puts"
)

// putClients is how many puts etcd gets at once; etcd's own benchmark is often run with as many.
const putClients = 128

// withEtcd are the servers by their peers' names.
func (b *meter) withEtcd() map[string]*server {
	servers := map[string]*server{embeddedName: b.embedded}
	if b.external != nil {
		servers[externalName] = b.external
	}
	return servers
}

// puts measures how fast an etcd takes the contents of a corpus as single puts, 128 at once, as its own benchmark does.
func (b *meter) puts(ctx context.Context, c corpus, name string, round int) error {
	took, err := b.withEtcd()[name].puts(ctx, c, uint64(1000+round))
	if err == nil {
		b.add(key{ownPuts, c.name, name, "MB/s"}, float64(c.bytes)/1e6/took.Seconds())
	}
	return err
}

// puts puts the contents of a corpus and removes them again.
func (s *server) puts(ctx context.Context, c corpus, seed uint64) (took time.Duration, err error) {
	client, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	const prefix = "/bench-puts/"
	next := make(chan int)
	failed := make(chan error, putClients)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	texts := make([]string, c.files)
	for i := range texts {
		texts[i] = c.content(seed, i)
	}
	var all sync.WaitGroup
	began := time.Now()
	for range putClients {
		all.Go(func() {
			for i := range next {
				if _, err := client.Put(ctx, prefix+strconv.Itoa(i), texts[i]); err != nil {
					failed <- err
					cancel()
					return
				}
			}
		})
	}
	for i := range texts {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	took = time.Since(began)
	select {
	case err := <-failed:
		return 0, fmt.Errorf("put: %w", err)
	default:
	}
	_, err = client.Delete(ctx, prefix, clientv3.WithPrefix())
	return took, err
}

// growth measures what a deploy of one file adds to the database, of a server of its own: in one that other parts have
// used, what is compacted meanwhile would be measured, too.
func (b *meter) growth(ctx context.Context) error {
	s, err := b.serve(ctx, "growth", "")
	if err != nil {
		return err
	}
	defer s.stop()
	peers := []peer{s.peer(embeddedName, true)}
	r, err := b.source(ctx, b.large, "growth", peers)
	if err != nil {
		return err
	}
	if _, err := b.push(ctx, r, 0, peers[0]); err != nil {
		return err
	}
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	const deploys = 20
	before, err := inUse(ctx, client)
	if err != nil {
		return err
	}
	for round := range deploys {
		if err := r.change(ctx, b.world, r.dir, round); err != nil {
			return err
		}
		if _, err := b.push(ctx, r, 0, peers[0]); err != nil {
			return err
		}
	}
	after, err := inUse(ctx, client)
	if err == nil {
		b.add(key{growthOf, b.large, embeddedName, "KiB"}, float64(after-before)/1024/deploys)
	}
	return err
}

// inUse is how much of the database's file etcd uses, once that stays the same: etcd writes every 100 ms what it has
// acknowledged.
func inUse(ctx context.Context, client *etcd.Client) (int64, error) {
	for last := int64(-1); ; {
		status, err := client.Status(ctx, client.Endpoints()[0])
		if err != nil || status.DbSizeInUse == last {
			return last, err
		}
		last = status.DbSizeInUse
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// memory measures a server of its own: its peak in a first push, and what it keeps after pushes that replace every
// file.
func (b *meter) memory(ctx context.Context) error {
	s, err := b.serve(ctx, "memory", "")
	if err != nil {
		return err
	}
	defer s.stop()
	peers := []peer{s.peer(embeddedName, true)}
	r, err := b.source(ctx, b.large, "memory", peers)
	if err != nil {
		return err
	}
	for seed := range uint64(4) {
		if seed > 0 {
			if err := r.commit(ctx, b.world, r.dir, seed+1); err != nil {
				return err
			}
		}
		if _, err := b.push(ctx, r, 0, peers[0]); err != nil {
			return err
		}
		peak, own, err := memoryOf(s.pid)
		if err != nil {
			return err
		}
		if seed == 0 {
			b.add(key{peakMemory, b.large, embeddedName, "MiB"}, peak)
		}
		b.add(key{ownMemory + strconv.Itoa(int(seed)+1), b.large, embeddedName, "MiB"}, own)
	}
	return nil
}

var memoryLine = regexp.MustCompile(`(?m)^(VmHWM|RssAnon):\s+(\d+) kB$`)

// memoryOf gives a process's peak of resident memory, and what it has of its own now, in MiB: what it maps of files,
// such as etcd's database, is in the first and not in the second.
func memoryOf(pid int) (peak, own float64, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for _, found := range memoryLine.FindAllStringSubmatch(string(text), -1) {
		kib, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return 0, 0, err
		}
		if strings.HasPrefix(found[1], "Vm") {
			peak = kib / 1024
		} else {
			own = kib / 1024
		}
	}
	if peak == 0 || own == 0 {
		return 0, 0, fmt.Errorf("process %d: the kernel does not tell both VmHWM and RssAnon:\n%s", pid, text)
	}
	return peak, own, nil
}
