package plan

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/google/uuid"

	"refship/deploy/etcd"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// superblock is mgmt's list of a deploy's files, and its key; zero if there is none.
type superblock struct {
	key   string
	value []byte
}

// layForMgmt makes what mgmt reads of the tree, with one of its frontends: payload and superblock, and the contents
// that it wants stored in another way. What mgmt could not run is refused here.
func (p *Plan) layForMgmt(ctx context.Context) error {
	if !p.Frontend.IsMgmt() {
		return nil
	}
	if err := p.nodes.LoadBelow(ctx, p.Root); err != nil {
		return err
	}
	layout, err := mgmt.Lay(ctx, p.mgmtSource(ctx), mgmt.Options{
		Frontend: string(p.Frontend), Entry: p.task.Settings.Entry, Conf: p.task.Settings.PuppetConf,
		Modules: p.task.Settings.ModulePath, VersionFile: p.task.Settings.VersionFile, Version: string(p.task.Hash),
		MaxValue: etcd.MaxValue,
	})
	if err != nil {
		return err
	}
	if err := layout.CheckSubmodules(); err != nil {
		return err
	}
	p.Frontend, p.Entry = record.Frontend(layout.Frontend), layout.Entry
	at, uri := mgmt.SuperblockPath(uint64(p.task.ID), uuid.NewString()), ""
	if layout.Frontend != mgmt.Empty {
		uri = mgmt.InputURI(at)
	}
	if layout.Superblock != nil {
		p.block = superblock{key: string(p.task.Chain.Namespace()) + at, value: layout.Superblock}
		p.NewBytes += int64(len(layout.Superblock))
		p.Keys++
	}
	p.planMade("metadata.yaml", layout.Made)
	p.planMade(p.task.Settings.VersionFile, layout.Version)
	for _, large := range layout.Large {
		p.planned = append(p.planned, &content{
			oid: large.OID, size: large.Size, sum: large.SHA256, at: place{name: large.Path}, uncut: true,
		})
	}
	payload := mgmt.Payload{
		Frontend: layout.Frontend, Mode: layout.Mode, InputURI: uri, Settings: store.MgmtSettings(p.task.Settings),
	}
	if p.Payload, err = payload.Encode(); err != nil {
		return fmt.Errorf("make mgmt's payload: %w", err)
	}
	p.NewBytes += int64(len(p.Payload))
	return nil
}

// planMade plans to store a file that the layout has beside the tree; nil: it has not.
func (p *Plan) planMade(name string, made []byte) {
	if made == nil {
		return
	}
	p.planned = append(p.planned, &content{
		size: int64(len(made)), sum: sha256.Sum256(made), at: place{name: name}, kept: made, uncut: true,
	})
}

// IsMgmt tells whether mgmt reads the same of a foreign payload and the files that its superblock lists as it would of
// the plan. Permissions and order mean nothing to it.
func (p *Plan) IsMgmt(payload *mgmt.Payload, root *mgmt.File) (bool, error) {
	if p.Payload == nil {
		return false, nil
	}
	ours, err := mgmt.DecodePayload(p.Payload)
	if err != nil || !ours.Same(payload) {
		return false, err
	}
	if p.block.value == nil {
		return len(root.Children) == 0, nil
	}
	files, err := mgmt.DecodeSuperblock(p.block.value)
	return err == nil && mgmt.SameFiles(files, root), err
}

// mgmtSource gives the tree to be deployed. Its nodes are known.
func (p *Plan) mgmtSource(ctx context.Context) mgmt.Source {
	return mgmt.Source{
		Root: p.task.Root,
		Node: p.nodes.Get,
		Content: func(e tree.Entry, path string) (text []byte, err error) {
			err = p.task.Source.Blobs(ctx, []tree.OID{e.OID}, func(_ int, _ int64, r io.Reader) error {
				text, err = io.ReadAll(io.LimitReader(r, e.Size+1))
				return err
			})
			if err == nil && sha256.Sum256(text) != e.SHA256 {
				err = wrongBlob(e.OID)
			}
			if err != nil {
				return nil, p.unread(&place{name: path}, err)
			}
			return text, nil
		},
	}
}
