package main

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/keys"
)

// judge says whether a deploy that was read can be trusted. strict makes it an error if not, for commands that give its
// content away; else it is a warning.
func (f *chainFlags) judge(ctx context.Context, a *app, chain *store.Chain, d *record.Deploy, strict bool) error {
	allowed, err := f.allowed(a)
	if err != nil {
		return err
	}
	return judge(ctx, a, chain, d, allowed, strict)
}

func judge(
	ctx context.Context, a *app, chain *store.Chain, d *record.Deploy, allowed *keys.AllowedSigners, strict bool,
) error {
	if d.Record == nil && d.Damage == nil {
		// In mgmt's namespaces any writer of etcd may deploy, and mgmt runs it.
		newest, _, err := chain.NewestRecord(ctx, d)
		if err != nil {
			return err
		}
		if newest == nil || newest.Record.Frontend.IsMgmt() {
			a.warn(fmt.Errorf("deploy %d is foreign and unverified: no record says who made it", d.ID))
			return nil
		}
	}
	if allowed == nil {
		return tellUnjudged(ctx, a, chain, d)
	}
	allowed, err := record.NewTrust(allowed, chain.Down).Signers(ctx, d)
	if err != nil {
		return err
	}
	if _, err := d.Judge(allowed); err != nil {
		if strict {
			return err
		}
		a.warn(err)
	}
	return nil
}

// judgeBoth is judge for two deploys, without strict. What is to say of both is said once.
func (f *chainFlags) judgeBoth(ctx context.Context, a *app, chain *store.Chain, one, other *record.Deploy) error {
	allowed, err := f.allowed(a)
	switch {
	case err != nil:
		return err
	case one.ID == other.ID:
		return judge(ctx, a, chain, one, allowed, false)
	case allowed == nil && one.Record != nil && other.Record != nil && one.Record.Signer != "" &&
		one.Record.Signer == other.Record.Signer:
		a.say("deploys %d and %d are signed by %s, not judged: no --allowed-signers", one.ID, other.ID, one.Record.Signer)
		return nil
	}
	if err := judge(ctx, a, chain, one, allowed, false); err != nil {
		return err
	}
	return judge(ctx, a, chain, other, allowed, false)
}

// tellUnjudged says who signed a deploy where it is not known whose signatures count.
func tellUnjudged(ctx context.Context, a *app, chain *store.Chain, d *record.Deploy) error {
	switch {
	case d.Record == nil:
		return nil
	case d.Record.Signer != "":
		a.say("deploy %d is signed by %s, not judged: no --allowed-signers", d.ID, d.Record.Signer)
		return nil
	}
	signed, err := newestSigned(ctx, chain, d.ID)
	if err != nil {
		return err
	}
	warnUnsigned(a, d.ID, signed)
	return nil
}

// warnUnsigned says that a deploy is not signed; signed is the newest one below that is, or nil.
func warnUnsigned(a *app, id record.ID, signed *record.Deploy) {
	if signed == nil {
		a.say("deploy %d is not signed", id)
		return
	}
	a.warn(fmt.Errorf("deploy %d is not signed, and deploy %d below it is, by %s: somebody may have put it into etcd",
		id, signed.ID, signed.Record.Signer))
}

// newestSigned is the newest deploy below id that is signed, nil if there is none.
func newestSigned(ctx context.Context, chain *store.Chain, id record.ID) (signed *record.Deploy, err error) {
	found := errors.New("found")
	err = chain.Down(ctx, id-1, func(d *record.Deploy) error {
		if d.Record == nil || d.Record.Signer == "" {
			return nil
		}
		signed = d
		return found
	})
	if err != nil && !errors.Is(err, found) {
		return nil, err
	}
	return signed, nil
}

// unjudged collects, for a list of deploys from the newest down, what to say of signatures that are not judged.
type unjudged struct {
	first  record.ID      // the newest unsigned one above all signed ones
	signed *record.Deploy // the newest signed one
}

func (u *unjudged) add(d *record.Deploy) {
	switch {
	case d.Record == nil || u.signed != nil:
	case d.Record.Signer != "":
		u.signed = d
	case u.first == 0:
		u.first = d.ID
	}
}

// tell says it, if it is not known whose signatures count.
func (u *unjudged) tell(a *app, allowed *keys.AllowedSigners) {
	switch {
	case allowed != nil:
	case u.first != 0:
		warnUnsigned(a, u.first, u.signed)
	case u.signed != nil:
		a.say("deploy %d is signed by %s; no signature is judged: no --allowed-signers", u.signed.ID, u.signed.Record.Signer)
	}
}
