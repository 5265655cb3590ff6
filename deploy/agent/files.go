package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy/disk"
)

// beside is the path of a file that is named relative to the root, or by an absolute path.
func (a *Agent) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(a.site.Root(), path)
}

// touch makes the touch file, or gives it the time of now.
func (a *Agent) touch() error {
	if a.cfg.TouchFile == "" {
		return nil
	}
	path := a.beside(a.cfg.TouchFile)
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("touch a file: %w", err)
	}
	f, err := dir.OpenFile(filepath.Base(path), os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		now := time.Now()
		err = errors.Join(f.Close(), dir.Chtimes(filepath.Base(path), now, now))
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("touch a file: %w", err)
	}
	return nil
}

// fileError is what is in the error file, as git-sync has it there.
type fileError struct {
	Msg  string
	Err  string
	Args map[string]any
}

// writeError writes a failure into the error file.
func (a *Agent) writeError(ctx context.Context, failure error) {
	if a.cfg.ErrorFile == "" {
		return
	}
	encoded, err := json.Marshal(fileError{
		Msg: "try failed", Err: failure.Error(), Args: map[string]any{"failCount": a.failures},
	})
	if err == nil {
		err = disk.WriteFile(a.beside(a.cfg.ErrorFile), append(encoded, '\n'), 0o644)
	}
	if err != nil {
		a.log.ErrorContext(ctx, "write the error file", "error", err)
	}
}

// clearError removes the error file.
func (a *Agent) clearError(ctx context.Context) {
	if a.cfg.ErrorFile == "" {
		return
	}
	path := a.beside(a.cfg.ErrorFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := disk.Remove(path); err != nil {
		a.log.ErrorContext(ctx, "remove the error file", "error", err)
	}
}
