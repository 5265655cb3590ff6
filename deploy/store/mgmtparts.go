package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// MgmtPart is a key that mgmt needs of a deploy, beside the contents as refship has them.
type MgmtPart struct {
	Key   string
	Value []byte     // what belongs there; nil: the content of File, uncut
	File  tree.Entry // zero if there is a Value
	Path  string     // of File
	block *mgmt.File // of the superblock, what it lists
}

// Holds tells whether a stored value is, or says, what belongs there. Superblocks of two processes that say the same
// may differ in their bytes.
func (p *MgmtPart) Holds(stored []byte) bool {
	if p.block == nil || bytes.Equal(stored, p.Value) {
		return bytes.Equal(stored, p.Value)
	}
	root, err := mgmt.DecodeSuperblock(stored)
	return err == nil && mgmt.Same(root, p.block)
}

// MgmtPayload reads the payload of a deploy that has a record, and checks that it says what the record does, and names
// the superblock of that deploy: else it is a fault.Corrupt. The record's settings come with it.
func (c *Chain) MgmtPayload(ctx context.Context, d *record.Deploy) (
	payload *mgmt.Payload, settings record.Settings, err error,
) {
	key := c.DeployKey(d.ID, record.KeyPayload)
	bad := func(err error) (*mgmt.Payload, record.Settings, error) { return nil, settings, err }
	values, err := c.Values(ctx, key)
	if err != nil {
		return bad(err)
	}
	if values[0].Revision == 0 {
		return bad(record.Missing(key))
	}
	if payload, err = mgmt.DecodePayload(values[0].Value); err != nil {
		return bad(record.Corrupt(key, err.Error()))
	}
	for name, value := range d.Record.Settings {
		if err := settings.Set(name, value); err != nil {
			return bad(record.Corrupt(c.DeployKey(d.ID, record.KeyRecord), err.Error()))
		}
	}
	if payload.Frontend != string(d.Record.Frontend) || payload.Settings != MgmtSettings(settings) ||
		payload.Strategy != nil {
		return bad(record.Corrupt(key, "it has another frontend, or other settings, than the record"))
	}
	at := payload.SuperblockPath()
	if at == "" {
		return payload, settings, nil
	}
	of, err := c.payloadsOrigin(ctx, d)
	if err != nil {
		return bad(err)
	}
	if of != 0 && !strings.HasPrefix(at, mgmt.SuperblockPath(uint64(of), "")) {
		return bad(record.Corrupt(key, fmt.Sprintf("it names %q, which is not the superblock of deploy %d", text.Clip(at),
			of)))
	}
	return payload, settings, nil
}

// MgmtParts gives what mgmt needs of a deploy that has a record, and checks its payload as MgmtPayload does. A tree
// that is not whole is a fault.Corrupt, too.
func (c *Chain) MgmtParts(ctx context.Context, d *record.Deploy) ([]*MgmtPart, error) {
	return c.NewNodes().MgmtParts(ctx, d)
}

// MgmtParts is that of the chain; it reads only nodes that are not known.
func (n *Nodes) MgmtParts(ctx context.Context, d *record.Deploy) ([]*MgmtPart, error) {
	c := n.chain
	payload, settings, err := c.MgmtPayload(ctx, d)
	if err != nil {
		return nil, err
	}
	layout, err := n.layStored(ctx, d, settings)
	if err != nil {
		return nil, fmt.Errorf("lay out deploy %d for mgmt: %w", d.ID, err)
	}
	if payload.Mode != layout.Mode {
		return nil, record.Corrupt(c.DeployKey(d.ID, record.KeyPayload), "it has another mode than the record's settings")
	}
	var parts []*MgmtPart
	for _, made := range [][]byte{layout.Made, layout.Version} {
		if made != nil {
			parts = append(parts, &MgmtPart{Key: c.ContentKey(sha256.Sum256(made)), Value: made})
		}
	}
	for _, large := range layout.Large {
		parts = append(parts, &MgmtPart{
			Key: c.ContentKey(large.SHA256), Path: large.Path,
			File: tree.Entry{OID: large.OID, Size: large.Size, SHA256: large.SHA256},
		})
	}
	if layout.Superblock != nil { // the last: nodes come before the superblock
		parts = append(parts, &MgmtPart{
			Key: string(c.ns) + payload.SuperblockPath(), Value: layout.Superblock, block: layout.Root,
		})
	}
	return parts, nil
}

// payloadsOrigin gives the deploy whose superblock a deploy's payload names: that of a rollback is the one that it went
// back to, by way of other rollbacks perhaps. It is 0 if a record on the way cannot be read.
func (c *Chain) payloadsOrigin(ctx context.Context, d *record.Deploy) (record.ID, error) {
	for d.Record.Kind == record.KindRollback {
		to, _ := record.ParseRollback(d.Record)
		if to == 0 || to >= d.ID {
			return 0, record.Corrupt(c.DeployKey(d.ID, record.KeyRecord), "it does not say which deploy it went back to")
		}
		below, err := c.Get(ctx, to)
		switch {
		case fault.Is(err, fault.Corrupt), record.IsNewer(err), err == nil && below.Record == nil:
			return 0, nil
		case err != nil:
			return 0, err
		}
		d = below
	}
	return d.ID, nil
}

// layStored lays out a tree as etcd has it.
func (n *Nodes) layStored(ctx context.Context, d *record.Deploy, s record.Settings) (*mgmt.Layout, error) {
	c := n.chain
	if err := n.LoadBelow(ctx, d.Record.Root()); err != nil {
		return nil, err
	}
	src := mgmt.Source{
		Root: d.Record.Tree,
		Node: n.Get,
		Content: func(e tree.Entry, _ string) ([]byte, error) {
			values, err := c.Values(ctx, c.ContentKey(e.SHA256))
			if err == nil && sha256.Sum256(values[0].Value) != e.SHA256 {
				err = record.Corrupt(values[0].Key, "it is not what was deployed")
			}
			if err != nil {
				return nil, err
			}
			return values[0].Value, nil
		},
	}
	return mgmt.Lay(ctx, src, mgmt.Options{
		Frontend: string(d.Record.Frontend), Entry: s.Entry, Conf: s.PuppetConf, Modules: s.ModulePath,
		VersionFile: s.VersionFile, Version: string(d.Record.Hash), MaxValue: etcd.MaxValue,
	})
}

// MgmtSettings are settings as a payload has them.
func MgmtSettings(s record.Settings) mgmt.Settings {
	m := mgmt.Settings{
		Noop: s.Noop, Sema: s.Sema, NoAutoEdges: s.NoAutoEdges, NoAutoGroup: s.NoAutoGroup,
		UnifyName: s.UnifyName, UnifyOptimizations: s.UnifyOptimizations,
	}
	if s.Sema == 0 {
		m.Sema = -1 // mgmt's own default
	}
	return m
}
