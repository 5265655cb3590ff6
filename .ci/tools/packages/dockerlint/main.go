// Dockerlint checks a Dockerfile as "docker build --check" does, with BuildKit's own rules, those called experimental included. It needs
// no Docker, and no registry: of the images that a stage builds on it takes nothing but their names.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/opencontainers/go-digest"
)

// named is an image of which nothing is known but its name.
type named struct{}

func (named) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture": "amd64", "os": "linux"}`), nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dockerlint DOCKERFILE")
		os.Exit(2)
	}
	if err := lint(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dockerlint:", err)
		os.Exit(1)
	}
}

func lint(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, dockerfile2llb.ConvertOpt{
		Config:       dockerui.Config{LinterConfig: &linter.Config{ExperimentalAll: true}},
		SourceMap:    llb.NewSourceMap(nil, path, "Dockerfile", text),
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
