package deploy

import (
	"context"
	"fmt"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxObjects bounds what one deploy's commits hold in memory, in bytes: 10,000 of the usual kind have 5 MiB.
const maxObjects = 64 << 20

// readObjects reads the commits from the previous hash on, and with a path the trees down to it, those that etcd
// lacks. They prove which commit a tree belongs to with etcd alone.
func (p *Prepared) readObjects(ctx context.Context) error {
	if p.job.Dir != nil {
		return nil // its deploy hash is the tree's
	}
	oids := []tree.OID{p.job.Commit}
	if !p.Verdict.More && p.Verdict.Head != nil {
		oids = append(oids, p.Verdict.Commits...)
	}
	oids = append(oids, p.Verdict.above...)
	keys := make([]string, len(oids))
	for i, oid := range oids {
		keys[i] = p.chain.ObjectKey(oid)
	}
	there, err := etcd.Exist(ctx, p.chain.kv, keys)
	if err != nil {
		return fmt.Errorf("look up commits in %s: %w", p.chain.ns, err)
	}
	size := 0
	for i, oid := range oids {
		if there[i] || p.objects[keys[i]] != nil {
			continue
		}
		raw, err := p.job.Repo.Raw(oid)
		if err != nil {
			return fmt.Errorf("read object %s: %w", oid, err)
		}
		p.objects[keys[i]] = raw
		size += len(raw)
		switch {
		case len(raw) > etcd.MaxValue:
			is, limit := text.Size(int64(len(raw))), text.Size(etcd.MaxValue)
			return fault.New(fault.Refused, fmt.Sprintf("git object %s is %s; one value in etcd holds %s", oid, is, limit),
				"shorten the commit's message, or deploy a directory above with fewer entries beside it")
		case size > maxObjects:
			return fault.New(fault.Refused,
				fmt.Sprintf("the commits since %s have more than %s", p.Verdict.previous().Short(), text.Size(maxObjects)),
				"push them in parts")
		}
	}
	p.NewBytes += int64(size)
	p.keys += len(p.objects)
	return nil
}
