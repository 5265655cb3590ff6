package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
)

const (
	tablesList    = "tables.list"
	maxTablesList = 1 << 20 // bytes
	maxTable      = 1 << 30
)

// ReadReftable reads the tables that hold all refs of the repository at gitDir, as they are: what each file of its
// directory reftable/ has, by name, at one moment. nil: its refs are in files, see [ReadPackedRefs].
func ReadReftable(ctx context.Context, gitDir string) (files map[string][]byte, err error) {
	if !hasReftable(gitDir) {
		return nil, nil
	}
	var last []byte
	for ctx.Err() == nil {
		files, err = readTables(filepath.Join(gitDir, "reftable"))
		// git has joined some tables into a new one since the list was read, which has another list, too.
		if !errors.Is(err, fs.ErrNotExist) || bytes.Equal(files[tablesList], last) {
			break
		}
		last = files[tablesList]
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	return files, nil
}

// readTables reads the list, and then the tables that it names. The files that were read come with an error, too.
func readTables(dir string) (files map[string][]byte, err error) {
	list, err := disk.ReadFile(filepath.Join(dir, tablesList), maxTablesList)
	if err != nil {
		return nil, err
	}
	files = map[string][]byte{tablesList: list}
	for name := range strings.FieldsSeq(string(list)) {
		if name != filepath.Base(name) || !strings.HasSuffix(name, ".ref") && !strings.HasSuffix(name, ".log") {
			return files, fmt.Errorf("reftable/%s names %q, which is no table", tablesList, name)
		}
		if files[name], err = disk.ReadFile(filepath.Join(dir, name), maxTable); err != nil {
			return files, err
		}
	}
	return files, nil
}
