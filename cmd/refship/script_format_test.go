package main

import (
	"path/filepath"
	"testing"
)

// formatScripts are those that run a second time with SHA-256 repositories: each way in which something is deployed,
// refused, read, proven and run.
var formatScripts = []string{
	"agent", "first_push", "force_hints", "hook_bare", "hook_gitolite", "hook_rollback", "manual_deploy", "mgmt", "notes", "path",
	"previous_hash", "rollback", "signed_commits", "signed_push", "tags", "targets", "verify",
}

// TestScriptsSHA256: repositories with SHA-256 object names are no special case.
func TestScriptsSHA256(t *testing.T) {
	t.Parallel()
	var files []string
	for _, name := range formatScripts {
		files = append(files, filepath.Join("testdata", "script", name+".txtar"))
	}
	runScripts(t, files, "sha256")
}
