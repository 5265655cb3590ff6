package verify

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// judge looks at a deploy's own keys: package store has compared them with each other and with those below.
func (r *run) judge(of *record.Deploy) *Deploy {
	d := &Deploy{Deploy: of, Answers: map[Check]Answer{}, By: map[Check]string{}}
	for _, check := range Checks() {
		d.Answers[check] = None
	}
	for _, revision := range of.Revisions {
		if revision != 0 {
			r.ownKeys++
		}
	}
	if of.Revisions[record.KeyRecord] != 0 {
		r.records = max(r.records, of.ID)
	}
	switch {
	case of.Damage != nil:
		r.damaged(d)
		return d
	case of.Record == nil:
		r.isMgmt = true
		return d
	}
	r.named = of.Record.PreviousRecord
	r.isMgmt = r.isMgmt || of.Record.Frontend.IsMgmt()
	d.Answers[Record], d.Answers[Chain] = Holds, Holds
	if of.Record.Tag.OID != "" {
		d.Answers[Tag] = NotChecked
	}
	if of.Record.PushCertificate != "" {
		d.Answers[Certificate] = NotChecked
	}
	r.judgeSignature(d)
	if !of.Record.Frontend.IsMgmt() && of.Revisions[record.KeyPayload] != 0 {
		_ = r.fail(d, Record, record.Corrupt(r.chain.DeployKey(of.ID, record.KeyPayload),
			"the frontend is files, and there is a payload for mgmt"))
	}
	if of.ID == 1 && of.Record.PreviousHash != "" {
		_ = r.fail(d, Chain, record.Corrupt(r.chain.DeployKey(of.ID, record.KeyRecord),
			"it is the first deploy, and its previous hash is "+string(of.Record.PreviousHash)))
	}
	return d
}

// damaged tells of a deploy whose record cannot be believed, or not be read.
func (r *run) damaged(d *Deploy) {
	for _, check := range Checks() {
		d.Answers[check] = NotChecked
	}
	f, key := newFinding(d.Damage), r.chain.DeployKey(d.ID, record.KeyRecord)
	switch {
	case record.IsNewer(d.Damage): // it is no damage, and cannot be proved here
		f.Key = key
	case f.Key != r.chain.DeployKey(d.ID, record.KeySignature) || d.RecordBytes == nil || d.Signature == nil:
	case r.named.ID != d.ID: // a signature that does not cover the record does not say which of them was changed
		f.What += "; it was changed, or " + key
	case r.named.SHA256 != record.Sum(d.RecordBytes):
		f = newFinding(record.Corrupt(key, "it is not what the record above names by its sha256, and was signed"))
	}
	r.add(d, Record, f)
}

// follow finds out whether a deploy's signer is one whom an allowed one has announced below.
func (r *run) follow(ctx context.Context, d *record.Deploy) (err error) {
	r.allowed, err = r.trust.Signers(ctx, d)
	return err
}

// replaced tells of a deploy above by a key that this trusted one has replaced: where it announces who signs from then
// on, its own signer does so no more. It is told at the end: what is above has been told.
func (r *run) replaced(d *Deploy) {
	signer, next := d.Record.Signer, d.Record.NextSigner
	if above := r.signed[signer]; next != "" && next != signer && above != 0 {
		r.stray(record.Corrupt(r.chain.DeployKey(above, record.KeySignature), fmt.Sprintf(
			"it is by %s, which deploy %d has replaced by %s", signer, d.ID, text.Printable(next))))
	}
	r.signed[signer] = d.ID
}

// judgeSignature says whose signature a record has: that it covers the record, and is by the key that this names, is
// known.
func (r *run) judgeSignature(d *Deploy) {
	key := r.chain.DeployKey(d.ID, record.KeySignature)
	signed := d.Record.Signer != ""
	if r.allowed == nil {
		if d.Answers[Signature] = None; signed {
			d.Answers[Signature] = NotChecked
		}
		return
	}
	isVouched := r.vouched == d.ID
	signer, err := d.Judge(r.allowed)
	if err == nil {
		d.Answers[Signature], d.Signer = Holds, signer
		r.vouched = d.Record.PreviousRecord.ID
		r.replaced(d)
		return
	}
	what := strings.TrimPrefix(err.Error(), fmt.Sprintf("verify deploy %d: ", d.ID))
	switch {
	case signed:
	case isVouched:
		r.vouched = d.Record.PreviousRecord.ID
		return
	default:
		what += ", and no trusted record above names it"
	}
	f := newFinding(fault.New(fault.Corrupt, fmt.Sprintf("verify %s: %s", key, what), fault.RemedyOf(err)))
	f.Key = key
	r.add(d, Signature, f)
}

// fits compares a deploy with the one below.
func (r *run) fits(d *Deploy, below *record.Deploy) {
	if d.Record == nil || below.Damage != nil {
		return
	}
	key := r.chain.DeployKey(d.ID, record.KeyRecord)
	if d.Record.PreviousHash != below.Hash {
		_ = r.fail(d, Chain, record.Corrupt(key, fmt.Sprintf("its previous hash is %s, and deploy %d is %s",
			hashWords(d.Record.PreviousHash), below.ID, hashWords(below.Hash))))
	}
}

func hashWords(h record.Hash) string {
	if h == "" {
		return "none"
	}
	return string(h)
}
