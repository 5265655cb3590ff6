package files_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
)

// BenchmarkCompare is what a look costs at a directory of 20,000 files of which none has changed.
func BenchmarkCompare(b *testing.B) {
	const count = 20_000
	path := b.TempDir()
	content := make([]byte, 5_000)
	sum := sha256.Sum256(content)
	var list files.List
	for i := range count {
		dir := fmt.Sprintf("dir-%d", i/100)
		if i%100 == 0 {
			list = append(list, files.Entry{Path: dir, Mode: unix.S_IFDIR | 0o755})
			if err := os.Mkdir(path+"/"+dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		e := files.Entry{Path: fmt.Sprintf("%s/file-%d", dir, i), Mode: unix.S_IFREG | 0o644, Size: 5_000, SHA256: sum}
		list = append(list, e)
		if err := os.WriteFile(path+"/"+e.Path, content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	start := time.Now()
	if _, err := files.Compare(b.Context(), root, list, true); err != nil { // reads all of it
		b.Fatal(err)
	}
	b.Logf("all of it read: %s", time.Since(start))
	time.Sleep(2 * time.Second) // what was just written is read again; this times no test
	if _, err := files.Compare(b.Context(), root, list, true); err != nil {
		b.Fatal(err)
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	if err := list.Write(&text); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		list, err := files.Read(bytes.NewReader(text.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		looked, err := files.Compare(b.Context(), root, list, true)
		if err != nil || len(looked.Differences) > 0 || looked.Learned {
			b.Fatal(looked, err)
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	took := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(took)/1e6/float64(b.N), "cpu-ms/op")
}
