package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Run prints one line: the program, its version, and what it was built with and for.
func (versionCmd) Run(_ context.Context, a *app) error {
	version, revision := buildVersion()
	if revision != "" {
		revision = " " + revision
	}
	_, err := fmt.Fprintf(a.stdout, "refship %s%s %s %s/%s\n",
		version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion is the program's module version, and the commit it was built from; each may be unknown.
func buildVersion() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			revision = setting.Value
		}
	}
	return info.Main.Version, revision
}
