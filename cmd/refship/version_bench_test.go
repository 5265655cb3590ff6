package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkVersion is what each command takes before it does anything: it runs "refship version", without the race
// detector.
func BenchmarkVersion(b *testing.B) {
	found, err := exec.LookPath("refship")
	if err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(found), plainDir, "refship")
	for b.Loop() {
		if out, err := exec.Command(program, "version").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
