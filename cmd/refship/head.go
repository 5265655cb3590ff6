package main

import (
	"context"
	"io"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

type headCmd struct {
	chainFlags
	JSON  bool   `help:"Print one JSON object: namespace, chain, size, root, signer, checkpoint."`
	Chain string `arg:"" optional:"" name:"chain" help:"CHAIN: REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
}

func (*headCmd) Help() string {
	return "Prints the checkpoint of a chain: a signed note of some 200 bytes that stands for all of its deploys. Who " +
		"compares it with another's knows that both saw one history. It is that of the newest deploy that an ed25519 key " +
		"signed: refship's own is one."
}

// headJSON is the head of a log, for programs.
type headJSON struct {
	Namespace  record.Namespace `json:"namespace"`
	Chain      record.ChainID   `json:"chain"`
	Size       record.ID        `json:"size"`       // the newest deploy in it
	Root       string           `json:"root"`       // base64
	Signer     string           `json:"signer"`     // the allowed signer; "" if that is not known
	Checkpoint string           `json:"checkpoint"` // the note
}

func (c *headCmd) Run(ctx context.Context, a *app) error {
	return c.read(ctx, a, c.Chain, func(chain *store.Chain, out io.Writer) error {
		head, err := c.readHead(ctx, a, chain)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(out, headJSON{
				Namespace: chain.Namespace(), Chain: head.Chain, Size: head.Size, Root: head.Root.String(), Signer: head.Signer,
				Checkpoint: string(head.Signed),
			})
		}
		_, err = out.Write(head.Signed)
		return err
	})
}

// readHead reads the head of a chain's log, and says where it is not known whose signatures count.
func (f *chainFlags) readHead(ctx context.Context, a *app, chain *store.Chain) (*witness.Head, error) {
	allowed, err := f.allowed(a)
	if err != nil {
		return nil, err
	}
	head, err := witness.ReadHead(ctx, chain, allowed)
	if err == nil && allowed == nil {
		err = tellUnjudged(ctx, a, chain, head.Deploy)
	}
	return head, err
}

// parseCheckpoint reads a checkpoint that somebody has kept: it is believed as it is.
func parseCheckpoint(path string) (transparency.Checkpoint, error) {
	signed, err := disk.ReadFile(path, maxCheckpoint)
	if err != nil {
		return transparency.Checkpoint{}, err
	}
	cp, err := transparency.ReadCheckpoint(signed)
	if err != nil {
		return cp, fault.Newf(fault.Failed, "%s: %w", text.Printable(path), err)
	}
	return cp, nil
}

// maxCheckpoint bounds a checkpoint's file, in bytes: it may have cosignatures.
const maxCheckpoint = 1 << 20
