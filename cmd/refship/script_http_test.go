package main

// Scripts about `serve --http` have this command, too; serve sets $HTTP to the address that the server tells:
//
//	fetch URL STATUS [REGEXP]   get URL, again and again until the answer has the status and matches; it is there for
// stdout
//	! fetch URL                 nothing listens there

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// pollPause is how long a server is left alone between two questions that are the same.
const pollPause = 20 * time.Millisecond

var httpListening = regexp.MustCompile(`http on (https?://(?:127\.0\.0\.1|0\.0\.0\.0):\d+)`)

func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg && len(args) == 1 {
		if _, _, err := get(http.DefaultClient, args[0]); !errors.Is(err, syscall.ECONNREFUSED) {
			ts.Fatalf("%s: want that nothing listens there, got: %v", args[0], err)
		}
		return
	}
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: fetch URL STATUS [REGEXP] | ! fetch URL")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	pattern := regexp.MustCompile("")
	if len(args) == 3 {
		pattern = regexp.MustCompile("(?m)" + args[2])
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.Now().Add(patience)
	for {
		status, body, err := get(client, args[0])
		ts.Check(err)
		if status == want && pattern.MatchString(body) {
			fmt.Fprint(ts.Stdout(), body)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %d, want %d and %s:\n%s", args[0], status, want, pattern, body)
		}
		time.Sleep(pollPause)
	}
}

func get(client *http.Client, url string) (status int, body string, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
