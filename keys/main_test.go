package keys

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
)

// childVariable turns the test's own binary into a real second process that changes keys.
const childVariable = "REFSHIP_TEST_KEYS_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		if err := child(job, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Each step of a state machine here ends with files synced to disk: fewer of them than rapid's 30, unless the
	// command line says so.
	if err := flag.Set("rapid.steps", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// child does its job as often as it is told; after each it prints a line to say that it is done.
func child(job string, args []string) error {
	path, user := args[0], args[1]
	var times int
	if _, err := fmt.Sscan(args[2], &times); err != nil {
		return err
	}
	for i := range times {
		var err error
		switch job {
		case "add":
			err = File{Path: path}.Add(user, fixture.PublicKey(), fmt.Sprint(i), []Rule{{Read, "*"}})
		case "create":
			_, err = LoadOrCreate(fmt.Sprintf("%s/%d/key", path, i), user, Ed25519)
		case "load":
			var signer ssh.Signer
			if signer, err = LoadOrCreate(path, user, Ed25519); err == nil {
				fmt.Println(ssh.FingerprintSHA256(signer.PublicKey()))
				continue
			}
		default:
			err = fmt.Errorf("unknown job %q", job)
		}
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
	return nil
}

// childCommand makes the command of a process that does a job.
func childCommand(t *testing.T, job, path, user string, times int, wrapper ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(wrapper, self, path, user, fmt.Sprint(times))
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"="+job)
	cmd.Stderr = t.Output()
	return cmd
}

// sshKeygen runs the stock program and gives its standard output.
func sshKeygen(t *testing.T, args ...string) string {
	t.Helper()
	fixture.Need(t, "ssh-keygen")
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// keygen makes a key pair with the stock program and gives the private half's path.
func keygen(t *testing.T, kind string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id")
	if kind == "rsa" && !slices.Contains(args, "-b") {
		args = append(args, "-b", "2048") // the default of 3072 takes a second
	}
	sshKeygen(t, append([]string{"-q", "-t", kind, "-N", "", "-C", "me@home", "-f", path}, args...)...)
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
