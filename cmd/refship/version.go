package main

import (
	"context"
	"fmt"
	"runtime"
)

type versionCmd struct{}

// Run prints one line: the program, its version, and what it was built with and for.
func (versionCmd) Run(_ context.Context, a *app) error {
	version, revision := buildVersion()
	if revision != "" {
		revision = " " + revision
	}
	_, err := fmt.Fprintf(a.stdout, "refship %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
