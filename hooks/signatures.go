package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"refship/deploy/git"
	"refship/hooks/output"
	"refship/hooks/signed"
)

// readCertificate judges the push's certificate, if it has one, and tells what was found.
func (p *push) readCertificate(
	ctx context.Context, vars map[string]string, quarantine []string, out *output.Output,
) error {
	oid, err := signed.FindCertificate(vars)
	if err != nil || oid.IsZero() {
		return err
	}
	repo, err := git.OpenRepository(ctx, p.GitDir, quarantine)
	if err != nil {
		return fmt.Errorf("read repository: %w", err)
	}
	raw, err := repo.Raw(oid)
	if err = errors.Join(err, repo.Close()); err != nil {
		return fmt.Errorf("read push certificate: %w", err)
	}
	_, data, _ := bytes.Cut(raw, []byte{0})
	asked := signed.Push{Updates: p.Updates, Options: p.Options.All}
	if p.Key != nil {
		asked.User = p.Key.Name
	}
	p.certificate, err = p.engine.cfg.Trust.ReadCertificate(ctx, oid, data, vars, asked)
	if err == nil {
		out.Line("%s", p.certificate.Words())
	}
	return err
}

// kept is the oid of the certificate that goes with the push's deploys, zero if there is none.
func (p *push) kept() git.OID {
	if p.certificate == nil || !p.certificate.IsKept() {
		return git.OID{}
	}
	return p.certificate.OID
}

// checkSigned says whether a delivery is signed as its target wants. What goes back to an earlier deploy brings nothing
// new, and what a push left was found signed by that push.
func (r *run) checkSigned(ctx context.Context, d *delivery) error {
	if d.vouched || d.idle() || d.job.To != nil || d.target.Name == "" {
		return nil
	}
	if !r.aboutCommit {
		if err := signed.CheckPush(d.job.Repository, d.target, d.certificate); err != nil {
			return err
		}
	}
	commits := signed.Commits{Repo: d.job.Repo, Commit: d.job.Commit}
	commits.Tag, _ = git.ParseOID(d.job.Tag.OID) // zero where it is ""
	over := d.verdict.Head
	if over != nil && !over.Hash.IsTree() && over.Hash != "" {
		commits.Below = over.Hash.OID()
	}
	if over != nil && d.signedOver == over.ID+1 || over == nil && d.signedOver == 1 {
		return nil
	}
	if err := r.engine.cfg.Trust.CheckCommits(ctx, d.job.Repository, d.target, commits); err != nil {
		return err
	}
	if d.signedOver = 1; over != nil {
		d.signedOver = over.ID + 1
	}
	return nil
}
