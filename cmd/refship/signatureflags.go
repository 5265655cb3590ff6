package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"refship/hooks/target"
)

// signatureFlags say what a target wants signed.
type signatureFlags struct {
	RequireSignedPush    *bool             `help:"Take only pushes with a certificate, git push --signed, of one of the user's own keys or of an allowed signer. --require-signed-push=false takes all again."`
	RequireSignedCommits signedCommitsFlag `placeholder:"" help:"Deploy only a commit that an allowed signer has signed, or whose tag is; with =all, want that of every commit that a deploy brings. --require-signed-commits=false deploys all again."`
}

// signedCommitsFlag takes "--require-signed-commits", and "=all" or "=false" behind it.
type signedCommitsFlag struct {
	given bool
	which target.SignedCommits
}

// IsBool lets kong take the flag without a value.
func (*signedCommitsFlag) IsBool() bool { return true }

// Decode reads the flag.
func (f *signedCommitsFlag) Decode(ctx *kong.DecodeContext) error {
	f.given, f.which = true, target.DeployedCommit
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	switch value := fmt.Sprint(ctx.Scan.Pop().Value); value {
	case "true":
	case "false":
		f.which = ""
	default:
		f.which = target.SignedCommits(value)
	}
	return target.CheckSignedCommits(f.which)
}

func (f *signatureFlags) apply(t *target.Target) {
	if f.RequireSignedPush != nil {
		t.RequireSignedPush = *f.RequireSignedPush
	}
	if f.RequireSignedCommits.given {
		t.RequireSignedCommits = f.RequireSignedCommits.which
	}
}

// describeRequired says what a target wants signed: "signed pushes".
func describeRequired(t target.Target) (words []string) {
	if t.RequireSignedPush {
		words = append(words, "signed pushes only")
	}
	switch t.RequireSignedCommits {
	case target.DeployedCommit:
		words = append(words, "signed commits only")
	case target.AllCommits:
		words = append(words, "signed commits only, each of them")
	}
	return words
}
