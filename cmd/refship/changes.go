package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/text"
	"refship/hooks/permit"
)

// The commands key and repo change the data directory beside a server, or without one. What they have changed, and who
// ran them, is to be in the server's log: so they append it to a file, DATA/changes, which the server reads into its
// log and empties, at its start too. What is edited by hand is not told.

const (
	// changesEvery is how often a server looks for changes.
	changesEvery = time.Second
	// maxChanges bounds what a server reads at once, in bytes: some 400,000 changes.
	maxChanges = 64 << 20
)

// change is one line of the file.
type change struct {
	Time time.Time `json:"time"`
	By   string    `json:"by"`
	What string    `json:"what"` // "key add: …"
}

func (d dataDir) changes() string { return filepath.Join(d.path, "changes") }

// note tells the server's log what a command has changed. The change is made: where it cannot be told, the user is.
func (d dataDir) note(ctx context.Context, a *app, format string, args ...any) {
	c := change{Time: a.now().UTC(), By: changer(a), What: fmt.Sprintf(format, args...)}
	if err := d.appendChange(ctx, c); err != nil {
		a.warn(fmt.Errorf("this change is made, and the server's log will not tell of it: %w", err))
	}
}

func (d dataDir) appendChange(ctx context.Context, c change) (err error) {
	unlock, err := disk.Lock(ctx, d.changes()+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(d.changes(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer closeInto(&err, file)
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return file.Sync()
}

// changer is who runs a command, as far as the environment tells: "ada", "ada as refship" through sudo,
// "refship, sshd from 192.0.2.7".
func changer(a *app) string {
	who := permit.PusherFromEnv(a.getenv)
	by := who.Name
	if sudo, _ := a.getenv("SUDO_USER"); sudo != "" && sudo != by {
		by = sudo + " as " + by
	}
	if strings.HasPrefix(who.Via, "sshd ") {
		by += ", " + who.Via
		if who.Key != "" {
			by += " with " + who.Key
		}
	}
	return text.Printable(by)
}

// tellChanges reads changes into the log until ctx ends.
func (s *server) tellChanges(ctx context.Context) error {
	tick := time.NewTicker(changesEvery)
	defer tick.Stop()
	var told string // the error that was told last
	for {
		err := s.tellNewChanges(ctx)
		if err != nil && err.Error() != told && ctx.Err() == nil {
			told = err.Error()
			s.log.WarnContext(ctx, "changes of keys and repositories cannot be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tellNewChanges reads what there is. A server that is killed before the file is empty tells it again.
func (s *server) tellNewChanges(ctx context.Context) error {
	path := s.dir.changes()
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	unlock, err := disk.Lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	lines, err := disk.ReadFile(path, maxChanges)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(lines) {
		var c change
		if err := json.Unmarshal(line, &c); err != nil { // half a line, of a process that died
			s.log.WarnContext(ctx, "a change of keys or repositories cannot be read", "line", text.Clip(string(line)))
			continue
		}
		s.log.InfoContext(ctx, "changed", "what", c.What, "by", c.By, "at", c.Time.Format(time.RFC3339))
	}
	return os.Truncate(path, 0)
}
