package main

// Scripts about nodes have these commands, too:
//
//	background NAME COMMAND [ARG...]   run `refship COMMAND ARG...` in the background, as a server is: said, signal,
//	                                   waitserver and stopserver take its NAME. $HTTP is the URL of --http-bind
//	encrypt RECIPIENTS FILE OUT        write FILE as OUT, encrypted as age -R RECIPIENTS does
//	eventually PROGRAM [ARG...]        run a program again and again until it ends with 0

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/rogpeppe/go-internal/testscript"
)

var httpOn = regexp.MustCompile(`(?m)^refship: http on (http://\S+)$`)

func cmdBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: background NAME COMMAND [ARG...]")
	}
	name, flags := args[0], args[1:]
	program := ts.Getenv("PROGRAMS") + "/refship"
	if raced, err := exec.LookPath("refship"); err == nil { // with the race detector, as servers run
		program = raced
	}
	cmd := exec.Command(program, flags...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(scriptEnv(ts), "GIT_SSH_COMMAND="+ts.Getenv("GIT_SSH_COMMAND"))
	node := &background{cmd: cmd, changed: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = node, node
	ts.Check(cmd.Start())
	go func() {
		node.err = cmd.Wait()
		close(node.ended)
	}()
	servers(ts)[name] = node
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-node.ended
		ts.Logf("[%s]\n%s", name, node.text())
	})
	if slices.Contains(args, "--http-bind") {
		match := node.wait(httpOn)
		if match == nil {
			ts.Fatalf("%s does not say where HTTP is; it said:\n%s", name, node.text())
		}
		ts.Setenv("HTTP", match[1])
	}
}

func cmdEncrypt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: encrypt RECIPIENTS FILE OUT")
	}
	var to []age.Recipient
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		one, err := agessh.ParseRecipient(line)
		if err != nil {
			one, err = age.ParseX25519Recipient(line)
		}
		ts.Check(err)
		to = append(to, one)
	}
	var encrypted bytes.Buffer
	w, err := age.Encrypt(&encrypted, to...)
	ts.Check(err)
	_, err = w.Write([]byte(ts.ReadFile(args[1])))
	ts.Check(errors.Join(err, w.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), encrypted.Bytes(), 0o600))
}

func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually PROGRAM [ARG...]")
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s: not in %s: %v", strings.Join(args, " "), patience, err)
		}
	}
}
