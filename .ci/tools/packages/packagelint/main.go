// Packagelint checks what a release is described by, with the code of the programs that will read it: a Dockerfile as
// "docker build --check" does, with BuildKit's own rules, those called experimental included; and goreleaser's
// configuration as goreleaser reads it, which refuses what it does not know. Neither needs Docker, a registry, or a git
// remote. "goreleaser check" also fills in its defaults, for which it needs the remote; and all of goreleaser is far more
// to build.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/opencontainers/go-digest"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: packagelint DOCKERFILE GORELEASER-YAML")
		os.Exit(2)
	}
	if err := lint(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "packagelint:", err)
		os.Exit(1)
	}
	if _, err := config.Load(os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "packagelint: %s: %v\n", os.Args[2], err)
		os.Exit(1)
	}
}

// named is an image of which nothing is known but its name.
type named struct{}

func (named) ResolveImageConfig(
	_ context.Context, ref string, _ sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture": "amd64", "os": "linux"}`), nil
}

// lint checks a Dockerfile.
func lint(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	source := llb.NewSourceMap(nil, path, "Dockerfile", text)
	source.Definition = &llb.Definition{} // it comes from no build
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, dockerfile2llb.ConvertOpt{
		Config:       dockerui.Config{LinterConfig: &linter.Config{ExperimentalAll: true}},
		SourceMap:    source,
		MetaResolver: named{},
	})
	if err != nil {
		return err
	}
	results.PrintErrorTo(os.Stdout, nil)
	for _, warning := range results.Warnings {
		if err := warning.PrintTo(os.Stdout, results.Sources, nil); err != nil {
			return err
		}
	}
	if results.Error != nil {
		return fmt.Errorf("%s cannot be built: %s", path, results.Error.Message)
	}
	if len(results.Warnings) > 0 {
		return fmt.Errorf("%s breaks %d rules", path, len(results.Warnings))
	}
	return nil
}
