package deploy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/google/uuid"

	"refship/deploy/etcd"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// superblock is mgmt's list of a deploy's files, and its key; zero if there is none.
type superblock struct {
	key   string
	value []byte
}

// layForMgmt makes what mgmt reads of the tree, with one of its frontends: payload and superblock, and the contents
// that it wants stored in another way. What mgmt could not run is refused here.
func (p *Prepared) layForMgmt(ctx context.Context) error {
	if !p.Frontend.IsMgmt() {
		return nil
	}
	if err := p.nodes.LoadBelow(ctx, p.root); err != nil {
		return err
	}
	layout, err := mgmt.Lay(ctx, p.mgmtSource(ctx), mgmt.Options{
		Frontend: string(p.Frontend), Entry: p.job.Settings.Entry, MaxValue: etcd.MaxValue,
	})
	if err != nil {
		return err
	}
	p.Frontend, p.Entry = record.Frontend(layout.Frontend), layout.Entry
	uri := ""
	if layout.Superblock != nil {
		at := mgmt.SuperblockPath(uint64(p.nextID()), uuid.NewString())
		p.block = superblock{key: string(p.chain.ns) + at, value: layout.Superblock}
		uri = mgmt.InputURI(at)
		p.NewBytes += int64(len(layout.Superblock))
		p.keys++
	}
	if layout.Made != nil {
		p.objects[p.chain.ContentKey(sha256.Sum256(layout.Made))] = layout.Made
		p.NewBytes += int64(len(layout.Made))
		p.keys++
	}
	for _, large := range layout.Large {
		p.planned = append(p.planned, &content{
			oid: large.OID, size: large.Size, sum: large.SHA256, path: large.Path, uncut: true,
		})
	}
	s := p.job.Settings
	payload := mgmt.Payload{
		Frontend: layout.Frontend, InputURI: uri,
		Settings: mgmt.Settings{Noop: s.Noop, Sema: s.Sema, NoAutoEdges: s.NoAutoEdges, NoAutoGroup: s.NoAutoGroup},
	}
	if s.Sema == 0 {
		payload.Sema = -1 // mgmt's own default
	}
	if p.payload, err = payload.Encode(); err != nil {
		return fmt.Errorf("make mgmt's payload: %w", err)
	}
	p.NewBytes += int64(len(p.payload))
	return nil
}

// mgmtSource gives the tree to be deployed. Its nodes are known.
func (p *Prepared) mgmtSource(ctx context.Context) mgmt.Source {
	return mgmt.Source{
		Root: p.Verdict.tree,
		Node: func(oid tree.OID) (*tree.Node, error) {
			if node := p.nodes.Node(oid); node != nil {
				return node, nil
			}
			return nil, p.nodes.Unknown(oid)
		},
		Content: func(e tree.Entry, path string) (text []byte, err error) {
			err = p.job.Source().Blobs(ctx, []tree.OID{e.OID}, func(_ int, _ int64, r io.Reader) error {
				text, err = io.ReadAll(io.LimitReader(r, e.Size+1))
				return err
			})
			if err == nil && sha256.Sum256(text) != e.SHA256 {
				err = wrongBlob(e.OID)
			}
			if err != nil {
				return nil, p.unread(path, err)
			}
			return text, nil
		},
	}
}
