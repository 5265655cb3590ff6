package main

import (
	"context"
	"path/filepath"
	"time"

	"refship/cmd/refship/backup"
	"refship/deploy/etcd/embedded"
	"refship/deploy/text"
)

type restoreCmd struct {
	File    string `arg:"" help:"A file that refship backup has made."`
	DataDir string `required:"" placeholder:"DIR" help:"The data directory to make. It must not exist, or be empty."`
}

func (*restoreCmd) Help() string {
	return "Makes a data directory out of a backup, after every byte of it was checked. Nothing is deployed by that. " +
		"What was pushed and deployed after the backup is not in it: the new server gives the same numbers to other " +
		"deploys. Restore only a backup that is yours: the checks in it are commands that the server runs."
}

// Run restores the backup.
func (c *restoreCmd) Run(ctx context.Context, a *app) error {
	dir, err := dataFlag{DataDir: c.DataDir}.dir(a)
	if err != nil {
		return err
	}
	bar := newProgressBar(a.stderr, a.now)
	log := quietLog(a)
	restored, err := backup.Restore(ctx, c.File, backup.Destination{
		Dir: dir.path, EtcdDir: filepath.Base(dir.etcd()), Progress: bar.update,
		Etcd: func(snapshot, dir string) error { return embedded.Restore(dir, snapshot, log) },
	})
	bar.clear()
	if err != nil {
		return err
	}
	a.say("restored %s from the backup of %s, made on %s: %s", dir.path, text.Printable(restored.Server),
		restored.Time.UTC().Format(time.RFC3339), describeCounts(restored.Counts))
	if !restored.Etcd {
		a.say("its etcd was another one, and is not in it: restore the snapshot that was taken before it, " +
			"as etcd's manual says")
	}
	a.say("start it with: refship serve%s; then see what was pushed and not deployed: ssh HOST status REPO",
		dir.flag())
	return nil
}
