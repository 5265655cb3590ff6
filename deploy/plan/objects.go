package plan

import (
	"bytes"
	"context"
	"fmt"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// maxObjects bounds what one deploy's commits hold in memory, in bytes: 10,000 of the usual kind have 5 MiB.
const maxObjects = 64 << 20

// readObjects reads the task's git objects, those that etcd lacks. They prove which commit a tree belongs to
// with etcd alone.
func (p *Plan) readObjects(ctx context.Context) error {
	oids := p.task.Objects
	if len(oids) == 0 {
		return nil
	}
	keys := make([]string, len(oids))
	for i, oid := range oids {
		keys[i] = p.task.Chain.ObjectKey(oid)
	}
	there, err := etcd.Exist(ctx, p.task.KV, keys)
	if err != nil {
		return fmt.Errorf("look up commits in %s: %w", p.task.Chain.Namespace(), err)
	}
	size := 0
	for i, oid := range oids {
		if p.objects[keys[i]] != nil {
			continue
		}
		raw, err := p.task.Repo.Raw(oid)
		if err != nil {
			return fmt.Errorf("read object %s: %w", oid, err)
		}
		if there[i] {
			same, err := p.isStored(ctx, keys[i], raw)
			if err != nil {
				return err
			}
			if same {
				p.isThere(keys[i])
				continue
			}
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
				fmt.Sprintf("the commits since %s have more than %s", p.task.Since.Short(), text.Size(maxObjects)),
				"push them in parts")
		}
	}
	p.NewBytes += int64(size)
	p.Keys += len(p.objects)
	return nil
}

// isStored tells whether etcd has these very bytes: nothing vouches for an object that is there.
func (p *Plan) isStored(ctx context.Context, key string, value []byte) (bool, error) {
	resp, err := p.task.KV.Get(ctx, key)
	if err != nil {
		return false, fmt.Errorf("read object in %s: %w", p.task.Chain.Namespace(), err)
	}
	return len(resp.Kvs) == 1 && bytes.Equal(resp.Kvs[0].Value, value), nil
}
