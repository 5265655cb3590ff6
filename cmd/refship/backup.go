package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"refship/cmd/refship/backup"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/text"
)

type backupCmd struct {
	storeFlags
	File string `arg:"" help:"The file to make. It must not exist."`
}

func (*backupCmd) Help() string {
	return "Copies a server's data directory into one file: etcd, keys, repositories with their settings. Pushes go on " +
		"meanwhile, and what they deploy may or may not be in it. The server may run or not. Keep the file safe: " +
		"the server's private keys are in it.\n\n" +
		"If the server uses another etcd, give the same --endpoints: that etcd is not in the file, and the command that " +
		"takes its snapshot is printed.\n\n" +
		"The file is a tar. To check it: tar -xf FILE && sha256sum --check --quiet manifest"
}

// Run makes the backup.
func (c *backupCmd) Run(ctx context.Context, a *app) error {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir.path); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Failed, "there is no data directory "+dir.path, "name the server's: --data-dir DIR")
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host name: %w", err)
	}
	version, _ := buildVersion()
	bar := newProgressBar(a.stderr, a.now)
	source := backup.Source{
		Repos: dir.repos(), Keys: dir.keysDir(), Time: a.now(), Server: host, Version: version,
		Progress: bar.update,
		Say:      func(words string) { a.say("%s", words) },
	}
	if len(c.Endpoints) > 0 {
		a.say("the etcd at %s is not in the backup; take its snapshot first, each time, with: %s",
			text.Endpoints(c.Endpoints...), c.snapshotCommand(c.File))
	} else {
		source.Etcd = func(ctx context.Context) (int64, io.ReadCloser, error) { return c.snapshot(ctx, a, dir) }
	}
	began := a.now()
	made, err := backup.Write(ctx, c.File, source)
	bar.clear()
	if err != nil {
		return err
	}
	with := ""
	if source.Etcd != nil {
		with = "etcd, "
	}
	a.say("made %s in %s: %s%s", c.File, text.Took(a.now().Sub(began)), with, describeCounts(*made))
	return nil
}

// describeCounts says what is in a backup: "2 repositories, 7 files of keys, 3.1 MiB".
func describeCounts(c backup.Counts) string {
	return fmt.Sprintf("%s, %s of keys, %s", text.Plural(c.Repositories, "repository", "repositories"),
		text.Count(c.Keys, "file"), text.Size(c.Bytes))
}

// snapshotCommand takes the snapshot of another etcd, as its operator would.
func (f *etcdFlags) snapshotCommand(file string) string {
	command := "etcdctl --endpoints " + text.Quote(f.Endpoints[0])
	for _, flag := range []struct{ name, value string }{
		{"cacert", f.CACert}, {"cert", f.Cert}, {"key", f.Key},
	} {
		if flag.value != "" {
			command += " --" + flag.name + " " + text.Quote(flag.value)
		}
	}
	if f.User != "" {
		command += " --user root" // a snapshot has all that users and roles keep apart
	}
	return command + " snapshot save " + text.Quote(file+".etcd")
}

// snapshot begins a snapshot of the embedded etcd: of the server that runs, or else of one that is started for it.
func (c *backupCmd) snapshot(ctx context.Context, a *app, dir dataDir) (size int64, _ io.ReadCloser, err error) {
	log := quietLog(a)
	closers := new(closers)
	defer func() {
		if err != nil {
			_ = closers.Close() // err says what went wrong
		}
	}()
	if !dir.servesEtcd() {
		if err := c.startEtcd(ctx, a, dir, closers); err != nil {
			return 0, nil, err
		}
	}
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{etcd.Socket(dir.etcd())}, Log: log})
	if err != nil {
		return 0, nil, err
	}
	closers.add(client.Close)
	snapshot, err := etcd.TakeSnapshot(ctx, client)
	if err != nil {
		return 0, nil, err
	}
	closers.add(snapshot.Close)
	return snapshot.Size, struct {
		io.Reader
		io.Closer
	}{snapshot, closers}, nil
}

// startEtcd starts the embedded etcd where no server runs.
func (c *backupCmd) startEtcd(ctx context.Context, a *app, dir dataDir, closers *closers) error {
	holds, err := dir.holdsEtcd()
	switch {
	case err != nil:
		return err
	case !holds:
		return fault.New(fault.Usage, "there is no etcd in "+dir.path,
			"name the one that its server uses: --endpoints URL,…")
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	release, err := dir.lock()
	if fault.Is(err, fault.Conflict) {
		return fault.New(fault.Conflict, err.Error()+", and its etcd is not the embedded one, or not on yet",
			"give the --endpoints that the server has; or, if it has just been started, try again")
	}
	if err != nil {
		return err
	}
	closers.add(func() error { release(); return nil })
	opened, err := c.open(ctx, dir, new(embedded.Config), quietLog(a))
	if err != nil {
		return err
	}
	closers.add(opened.Close)
	return nil
}

// closers are called in reverse order, once.
type closers struct{ all []func() error }

func (c *closers) add(one func() error) { c.all = append(c.all, one) }

// Close calls them all.
func (c *closers) Close() error {
	var errs []error
	for _, one := range slices.Backward(c.all) {
		errs = append(errs, one())
	}
	c.all = nil
	return errors.Join(errs...)
}
