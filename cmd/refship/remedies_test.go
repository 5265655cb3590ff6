package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/plan"
	"refship/hooks/install"
	"refship/hooks/target"
)

// Commands in remedies can be pasted.
func TestRemediesOfHooks(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*fault.Error{
		"put it back, or take the hooks out and install them again: refship hook uninstall '/a b'": {
			Reason: install.ReasonEarlierGone, About: []string{"/a b"},
		},
		"sudo -u git refship hook install '/a b'": {Reason: install.ReasonOwner,
			About: []string{"git", "install", "/a b"}},
		"refship hook uninstall '/a b'; then install again": {Reason: install.ReasonReinstall, About: []string{"/a b"}},
		"deploy it, then try again: refship deploy --repo '/a b' --rev refs/heads/main --target www": {
			Reason: install.ReasonUndeployed, About: []string{"/a b", "refs/heads/main", "www"},
		},
		"it has no target yet: refship repo target add REPO NAME makes one": {
			Reason: target.ReasonNone, Remedy: "it has no target yet",
		},
	} {
		if got := remedyOf(fmt.Errorf("install hooks: %w", err)); got != want {
			t.Errorf("%s: %q, want %q", err.Reason, got, want)
		}
	}
}

// What a refused deploy is told depends on where it is read, and on whether it was a push.
func TestRemediesOfRefusedDeploys(t *testing.T) {
	const command = "refship deploy --repo DIR --rev REV --force --reason TEXT"
	const push = "with the force permission: git push -o deploy.force -o deploy.reason=TEXT"
	server, elsewhere := serverRemedyOf, remedyOf
	for _, c := range []struct {
		words  func(error) string
		reason fault.Reason
		about  []string
		want   string
	}{
		{server, deploy.ReasonCommitOlder, []string{"push", "7"},
			"to go back: ssh HOST rollback REPO ID REASON; or git revert what came after it, and push that; or override it, " +
				push},
		{server, deploy.ReasonCommitOlder, []string{"deploy", "7"},
			"to go back: ssh HOST rollback REPO ID REASON; or git revert what came after it, and push or deploy that; " +
				"or override it, on the server: " + command + ", or " + push},
		{elsewhere, deploy.ReasonCommitOlder, []string{"push", "7"},
			"to go back: refship rollback ID --reason TEXT; or git revert what came after it, and push that; " +
				"or override it, on the git server: " + command},
		{elsewhere, deploy.ReasonCommitOlder, []string{"deploy", "7"},
			"to go back: refship rollback ID --reason TEXT; or git revert what came after it, and push or deploy that; " +
				"or override it, with --force --reason TEXT"},
		{server, plan.ReasonFileLarge, nil,
			"take it out of the commit and push again, or ask the server's operator to raise its limit, --max-file-size"},
		{elsewhere, deploy.ReasonHeadCommit, []string{"deploy", "7", "/refship/config"},
			"a chain of commits goes on with commits: deploy one that contains it, " +
				"refship deploy --repo DIR --rev REV, or give the directory a namespace of its own; or override it, with --force " +
				"--reason TEXT"},
		{server, deploy.ReasonHeadDirectory, []string{"push", "7", "/refship/config"},
			"a chain of plain directories goes on with plain directories, " +
				"refship deploy --dir DIR: give the repository a namespace of its own; or override it, " + push},
		{server, deploy.ReasonHeadForeign, []string{"push", "7", "/refship/config"},
			"if that is so, give the target a namespace of its own; if it is not, override it, " + push},
		{elsewhere, deploy.ReasonHeadNewer, []string{"deploy", "7"}, "a newer refship has written it: use that"},
		{server, deploy.ReasonHeadUnhashed, []string{"push", "7", "/refship/config"},
			"override it, " + push + "; or deploy once with the tool that made it, with a hash"},
		{server, deploy.ReasonHeadUnhashed, []string{"push", "7", "/_mgmt"},
			"override it, " + push + "; or deploy once with mgmt itself: in a clone, with a hash, and with mgmt's own " +
				"--force; then push again"},
		{elsewhere, deploy.ReasonHeadCommit, []string{"deploy", "7", "/_mgmt"},
			"a chain of commits goes on with commits: deploy one that contains it, " +
				"refship deploy --repo DIR --rev REV; or override it, with --force --reason TEXT"},
		{server, deploy.ReasonHeadDirectory, []string{"push", "7", "/_mgmt"},
			"a chain of plain directories goes on with plain directories, refship deploy --dir DIR; or override it, " + push},
		{server, deploy.ReasonHeadForeign, []string{"push", "7", "/_mgmt"}, "override it, " + push},
		{server, deploy.ReasonNamespaceMixed, []string{"config", "web", "/_mgmt"},
			"mgmt reads no other namespace: deploy for one of its frontends, --frontend F"},
		{server, deploy.ReasonHeadUnknown, []string{"push", "7"},
			"bring it in from where it was deployed (see refship show 7), merge or rebase, " +
				"then push again; or override it, " + push},
		{server, deploy.ReasonMaxStored, []string{"config", "web"}, "take large files out of the commit and push again; " +
			"or the server's operator deletes old deploys' files (refship gc), or raises the limit: " +
			"refship repo set config --max-stored SIZE"},
		{elsewhere, deploy.ReasonMaxStored, []string{"config", "web"}, "take large files out of the commit and push again; " +
			"or the server's operator deletes old deploys' files (refship gc), or raises the limit: " +
			"git config refship.max-stored SIZE"},
		{elsewhere, deploy.ReasonNotAllowed, []string{"push", ""},
			"the git server's operator gives the hooks a key: refship hook install DIR --signing-key FILE"},
		{elsewhere, deploy.ReasonNotAllowed, []string{"deploy", ""}, "sign it: --signing-key FILE"},
		{server, deploy.ReasonNotAllowed, []string{"push", "SHA256:x"},
			"add that key's line to the allowed signers: refship keys signer prints a server's"},
		{server, deploy.ReasonNamespaceMixed, []string{"config", "web", "/refship/config"},
			"give the target a namespace of its own: refship repo target set config web --namespace NS"},
		{elsewhere, deploy.ReasonNamespaceMixed, []string{"config", "web", "/refship/config"},
			"give the target a namespace of its own: refship hook install DIR --target web --namespace NS"},
		{elsewhere, deploy.ReasonNamespaceMixed, []string{"config", "", "/refship/config"},
			"deploy into a namespace of its own: --namespace NS"},
		{server, deploy.ReasonPathMissing, []string{"config", "web"},
			"commit that directory and push again, or push to a ref that is not deployed; " +
				"the server's operator gives the target another path with: refship repo target set config web --path PATH"},
		{elsewhere, deploy.ReasonPathMissing, []string{"config", ""}, "commit that directory, or name another with --path"},
		{server, deploy.ReasonUndone, []string{"rollback", "4", "2"},
			"look at it; if it shall come back, name it by its number: ssh HOST rollback REPO 2 REASON"},
		{elsewhere, deploy.ReasonUndone, []string{"rollback", "4", "2"},
			"look at it; if it shall come back, name it by its number: refship rollback 2 --reason TEXT"},
		{server, deploy.ReasonContentGone, []string{"2", "1f00", "/refship/a/b", "a/b", "default", "/data/repos/a/b.git"},
			"take another deploy; or the server's operator deploys that commit anew, in the data directory: " +
				"refship deploy --data-dir . --repo repos/a/b.git --rev 1f00 --target default --force --reason TEXT"},
		{elsewhere, deploy.ReasonContentGone, []string{"2", "1f00", "/refship/b", "b", "default", "/a b/.git"},
			"take another deploy; or deploy that commit anew: " +
				"refship deploy --repo '/a b/.git' --rev 1f00 --target default --force --reason TEXT"},
		{server, deploy.ReasonContentGone, []string{"2", "1f00", "/refship/b", "", "", ""},
			"take another deploy; or deploy that commit anew, from a clone that has it: " +
				"refship deploy --repo DIR --rev 1f00 --namespace /refship/b --force --reason TEXT"},
		{server, deploy.ReasonContentGone, []string{"2", "tree:1f00", "/refship/b", "", "", ""},
			"take another deploy; or deploy that directory anew: " +
				"refship deploy --dir DIR --namespace /refship/b --force --reason TEXT"},
	} {
		err := fmt.Errorf("deploy: %w", &fault.Error{Kind: fault.Refused, Reason: c.reason, About: c.about})
		if got := c.words(err); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.reason, c.about, got, c.want)
		}
	}
}

// Every reason of the tree has words, with and without a server of refship's own.
func TestEveryReasonHasWords(t *testing.T) {
	t.Parallel()
	const root = "../.."
	found := 0
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for name, reason := range reasonsIn(t, path) {
			found++
			err := &fault.Error{Reason: reason, About: []string{"one", "two", "three", "four", "five", "six"}}
			for _, words := range []string{remedyOf(err), serverRemedyOf(err)} {
				if words == "" || strings.Contains(words, "$") {
					t.Errorf("%s: %s: remedy %q", path, name, words)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < len(remedies) {
		t.Errorf("%d reasons found, and there are remedies for %d", found, len(remedies))
	}
}

// reasonsIn finds constants of type fault.Reason in a file.
func reasonsIn(t *testing.T, path string) map[string]fault.Reason {
	t.Helper()
	reasons := map[string]fault.Reason{}
	ast.Inspect(parse(t, path), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || qualified(spec.Type) != "fault.Reason" {
			return true
		}
		for i, name := range spec.Names {
			if _, isOther := spec.Values[i].(*ast.SelectorExpr); isOther {
				continue // another name for a reason of another package
			}
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons[name.Name] = fault.Reason(value)
		}
		return false
	})
	return reasons
}

func TestRemediesAreSorted(t *testing.T) {
	t.Parallel()
	var names []string
	ast.Inspect(parse(t, "remedies.go"), func(n ast.Node) bool {
		if entry, ok := n.(*ast.KeyValueExpr); ok {
			names = append(names, qualified(entry.Key))
		}
		return true
	})
	if len(names) != len(remedies) || !slices.IsSorted(names) {
		t.Errorf("remedies are not sorted by package and name: %q", names)
	}
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// qualified is package.Name, or "" for another expression.
func qualified(e ast.Expr) string {
	if selector, ok := e.(*ast.SelectorExpr); ok {
		if pkg, ok := selector.X.(*ast.Ident); ok {
			return pkg.Name + "." + selector.Sel.Name
		}
	}
	return ""
}
