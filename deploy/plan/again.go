package plan

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// keysAtOnce is how many keys are looked for together.
const keysAtOnce = 4096

// Again plans to publish a tree again that etcd has from an earlier deploy, whose payload, with mgmt's frontends, is at
// a key. Nothing will be put. What the head has is believed to be there; of all else it is looked whether it is there,
// and the nodes are read. What is not whole is fault.Corrupt.
func Again(ctx context.Context, task Task, root tree.Entry, payload string) (*Plan, error) {
	p := &Plan{Summary: Summary{Frontend: task.Frontend}, Root: root, task: task, share: share{of: task.Memory}}
	p.nodes = task.Chain.NewNodesWithin(p.share.take)
	err := p.countFiles(ctx)
	if err == nil {
		err = p.lookForContents(ctx)
	}
	if err == nil && task.Frontend.IsMgmt() {
		err = p.takePayload(ctx, payload)
	}
	if err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

// takePayload reads what mgmt reads of the earlier deploy.
func (p *Plan) takePayload(ctx context.Context, key string) error {
	values, err := p.task.Chain.Values(ctx, key)
	if err != nil {
		return err
	}
	if values[0].Revision == 0 {
		return record.Missing(key)
	}
	p.Payload = values[0].Value
	p.NewBytes += int64(len(p.Payload))
	return nil
}

// lookForContents looks for the commit, and for the contents that the head's tree does not name at the same places.
func (p *Plan) lookForContents(ctx context.Context) error {
	chain, old := p.task.Chain, tree.Entry{}
	if p.task.Head != nil && !p.fromNothing {
		old = p.task.Head.Root()
	}
	var asked []string
	for _, oid := range p.task.Objects {
		asked = append(asked, chain.ObjectKey(oid))
	}
	look := func() error {
		missing, err := chain.Missing(ctx, asked)
		asked = asked[:0]
		switch {
		case err != nil:
			return fmt.Errorf("look up contents in %s: %w", chain.Namespace(), err)
		case len(missing) > 0:
			return record.Missing(missing[0])
		}
		return nil
	}
	err := p.nodes.Diff(ctx, old, p.Root, func(c store.Change) error {
		if c.New == nil || c.New.Mode == filemode.Submodule {
			return nil
		}
		asked = append(asked, store.ChunkKeys(chain.ContentKey(c.New.SHA256), c.New.Size)...)
		if len(asked) < keysAtOnce {
			return nil
		}
		return look()
	})
	if err != nil {
		return err
	}
	return look()
}
