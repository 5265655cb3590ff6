package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/transparency"
)

// Policy says how many of which witnesses must have cosigned a checkpoint for it to count.
type Policy struct {
	Witnesses []Witness
	Quorum    int
}

// maxPolicy bounds the file, in bytes.
const maxPolicy = 1 << 20

// maxWitnesses is how many witnesses a policy may have: the cosignatures of one size are read together.
const maxWitnesses = store.MaxQueries

// ReadPolicy reads a file of lines NAME KEYTYPE KEY, with the public keys as OpenSSH has them. Empty lines, and those
// that begin with "#", mean nothing. quorum 0 is all of them.
func ReadPolicy(path string, quorum int) (*Policy, error) {
	lines, err := disk.ReadFile(path, maxPolicy)
	if err != nil {
		return nil, err
	}
	p := &Policy{Quorum: quorum}
	for i, line := range strings.Split(string(lines), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := p.add(line); err != nil {
			return nil, fault.Newf(fault.Failed, "%s, line %d: %w", text.Printable(path), i+1, err)
		}
	}
	switch n := len(p.Witnesses); {
	case n == 0:
		return nil, fault.Newf(fault.Failed, "%s: it names no witness", text.Printable(path))
	case n > maxWitnesses:
		return nil, fault.Newf(fault.Failed, "%s: it names %d witnesses (limit %d)", text.Printable(path), n, maxWitnesses)
	case quorum == 0:
		p.Quorum = n
	case quorum < 0 || quorum > n:
		return nil, fault.Newf(fault.Usage, "a quorum of %d cannot be met: %s names %s", quorum, text.Printable(path),
			text.Plural(n, "witness", "witnesses"))
	}
	return p, nil
}

func (p *Policy) add(line string) error {
	name, key, _ := strings.Cut(line, " ")
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		return errors.New("it is not NAME and a public key")
	}
	added, err := NewWitness(name, parsed)
	if err != nil {
		return err
	}
	for _, w := range p.Witnesses {
		if w.Name == name || w.public.Equal(added.public) { // one witness would count twice
			return fmt.Errorf("name or key of %s is there already", w.Name)
		}
	}
	p.Witnesses = append(p.Witnesses, added)
	return nil
}

// ReasonUncovered: no checkpoint that enough witnesses have cosigned covers a deploy.
const ReasonUncovered fault.Reason = "not-cosigned"

// Covered is the newest checkpoint of a chain that enough witnesses have cosigned.
type Covered struct {
	transparency.Checkpoint
	Names  []string // of the witnesses that have
	Deploy *record.Deploy
}

// maxBehind is how many deploys below the head are looked at for cosignatures.
const maxBehind = 1000

// Covered finds the newest checkpoint, at or below the head's id, that enough witnesses have cosigned, and compares it
// with the log. A fault.Corrupt says that there is none, or that the log forked.
func (p *Policy) Covered(ctx context.Context, chain *store.Chain, head record.ID) (*Covered, error) {
	most := 0
	low := head - min(head, maxBehind)
	for high := head; high > low; {
		var sizes []record.ID
		for ; high > low && (len(sizes)+1)*len(p.Witnesses) <= store.MaxQueries; high-- {
			sizes = append(sizes, high)
		}
		found, err := p.read(ctx, chain, sizes)
		if err != nil {
			return nil, err
		}
		for i, size := range sizes {
			c, n := p.count(size, found[i*len(p.Witnesses):][:len(p.Witnesses)])
			if most = max(most, n); n >= p.Quorum {
				return c, c.check(ctx, chain)
			}
		}
	}
	return nil, &fault.Error{
		Kind: fault.Corrupt, Reason: ReasonUncovered,
		What: fmt.Sprintf("no checkpoint of %s is cosigned by %d of %s: the most is %d", chain.Namespace(), p.Quorum,
			text.Plural(len(p.Witnesses), "witness", "witnesses"), most),
	}
}

// CosignatureKey is where a witness's cosignature of a checkpoint is.
func CosignatureKey(chain *store.Chain, size record.ID, name string) string {
	return chain.Key(fmt.Sprintf("%s%d/%s", store.CosignaturePrefix, size, name))
}

// read reads the cosignatures of all witnesses over each size.
func (p *Policy) read(ctx context.Context, chain *store.Chain, sizes []record.ID) ([]store.KeyValue, error) {
	var keys []string
	for _, size := range sizes {
		for _, w := range p.Witnesses {
			keys = append(keys, CosignatureKey(chain, size, w.Name))
		}
	}
	return chain.Values(ctx, keys...)
}

// count counts the good cosignatures over one size, those of the checkpoint that has most.
func (p *Policy) count(size record.ID, found []store.KeyValue) (best *Covered, most int) {
	var all []*Covered
	for i, w := range p.Witnesses {
		if found[i].Revision == 0 {
			continue
		}
		c, err := ParseCosignature(found[i].Value)
		if err != nil || c.Size != size || !w.Verify(c) {
			continue
		}
		at := slices.IndexFunc(all, func(other *Covered) bool { return other.Checkpoint == c.Checkpoint })
		if at < 0 {
			at = len(all)
			all = append(all, &Covered{Checkpoint: c.Checkpoint})
		}
		all[at].Names = append(all[at].Names, w.Name)
		if len(all[at].Names) > most {
			best, most = all[at], len(all[at].Names)
		}
	}
	return best, most
}

// check compares the checkpoint with the log, and reads its deploy.
func (c *Covered) check(ctx context.Context, chain *store.Chain) error {
	root, err := transparency.Root(c.Size, chain.LogReader(ctx))
	if err != nil {
		return logError(chain, err)
	}
	if root != c.Root {
		return forked(chain, c.Size, "the histories differ")
	}
	if c.Deploy, err = chain.Get(ctx, c.Size); err != nil {
		return err
	}
	if r := c.Deploy.Record; r != nil && r.Chain != c.Chain {
		return forked(chain, c.Size, fmt.Sprintf("that was of chain %s, and this is %s", c.Chain, r.Chain))
	}
	return c.Has(ctx, chain, c.Deploy)
}

// Has says whether a deploy is in the log that was cosigned, as it is: a fault.Corrupt if not.
func (c *Covered) Has(ctx context.Context, chain *store.Chain, d *record.Deploy) error {
	if d.ID > c.Size {
		return &fault.Error{
			Kind: fault.Corrupt, Reason: ReasonUncovered,
			What: fmt.Sprintf("no cosigned checkpoint covers deploy %d: the newest covers those up to deploy %d", d.ID,
				c.Size),
		}
	}
	leaves, err := chain.LeavesOf(ctx, []*record.Deploy{d})
	if err != nil {
		return err
	}
	err = transparency.CheckLeaf(d.ID, leaves[0], c.Checkpoint, chain.LogReader(ctx))
	if errors.Is(err, transparency.ErrForked) {
		return record.Corrupt(chain.DeployKey(d.ID, record.KeyRecord), "the log that was cosigned has another deploy")
	}
	return logError(chain, err)
}
