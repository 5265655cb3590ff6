package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// run of a module of its own: what go test says of it is kept, status too, and skipped tests are named.
func TestSkippedTestsAreNamed(t *testing.T) {
	const passes = "func TestPasses(t *testing.T) { t.Log(`hidden`) }\n" +
		"func TestSkipped(t *testing.T) { t.Run(`sub`, func(t *testing.T) { t.Parallel(); t.Skip(`no strace here`) }) }\n"
	for _, test := range []struct {
		name, code string
		status     int
		want, not  []string // patterns
	}{
		{"passes", passes, 0, []string{
			`(?m)^ok  \texample/x\t\S+$`, `(?m)^skipped: 1\n  example/x TestSkipped/sub: \S+: no strace here\n\z`,
		}, []string{"hidden", "PASS", "RUN"}},
		{"fails", passes + "func TestFails(t *testing.T) { t.Error(`seen`) }\n", 1, []string{
			`(?m)^--- FAIL: TestFails`, `: seen\n`, `(?m)^FAIL\texample/x\t\S+$`, `(?m)^skipped: 1\n`,
		}, []string{"hidden", "RUN", "ok "}},
		{"panics", passes + "func TestPanics(t *testing.T) { panic(`broken`) }\n", 1, []string{
			`panic: broken`, `x_test\.go:\d+`, `(?m)^FAIL\texample/x\t\S+$`,
		}, nil},
		{"does not build", "func TestOdd(t *testing.T) { t.Odd() }\n", 1, []string{
			`t.Odd undefined`, `(?m)^FAIL\texample/x \[build failed\]$`, `\nno test was skipped\n\z`,
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "go.mod"), "module example/x\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "x_test.go"), "package x\n\nimport \"testing\"\n\n"+test.code)
			var out, stderr bytes.Buffer
			status, err := run(&out, &stderr, dir, "-count=1", "-vet=off", ".")
			if status != test.status || err != nil {
				t.Errorf("status %d, %v, want %d", status, err, test.status)
			}
			for _, pattern := range test.want {
				if !regexp.MustCompile(pattern).MatchString(out.String()) {
					t.Errorf("%s is missing", pattern)
				}
			}
			for _, words := range test.not {
				if strings.Contains(out.String(), words) {
					t.Errorf("%q is there", words)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", out.String(), stderr.String())
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
