package main

import (
	"context"
	"embed"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (*completionCmd) Help() string {
	return "The script completes commands, flags, the data directory's repositories and chains, and deploys' ids while " +
		"its server runs. make install puts it where the shell looks for it. By hand, for this shell only: " +
		"source <(refship completion bash), the same with zsh, or refship completion fish | source."
}

// completions are the scripts. Each runs refship complete.
//
//go:embed completion/refship.bash completion/_refship completion/refship.fish
var completions embed.FS

// Run prints a shell's script.
func (c *completionCmd) Run(_ context.Context, a *app) error {
	name := map[string]string{"bash": "refship.bash", "zsh": "_refship", "fish": "refship.fish"}[c.Shell]
	script, err := completions.ReadFile("completion/" + name)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(script)
	return err
}
