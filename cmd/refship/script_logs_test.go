package main

// Scripts about the server's log have this command, too:
//
//	logged NAME MSG [KEY=REGEXP...]   every line that the server has written is one JSON object; wait until exactly one
// of
//	                                  them has a msg that matches MSG and all of these fields, matched as a whole
//	                                  (numbers and lists as JSON writes them)
//	knock PORT                        connect, and leave

import (
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: logged NAME MSG [KEY=REGEXP...]")
	}
	server, want := findServer(ts, args[0]), map[string]*regexp.Regexp{"msg": exactly(args[1])}
	for _, arg := range args[2:] {
		key, pattern, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%s is not KEY=REGEXP", arg)
		}
		want[key] = exactly(pattern)
	}
	deadline := time.After(patience)
	for {
		server.mu.Lock()
		text, changed := server.said.String(), server.changed
		server.mu.Unlock()
		switch n := countLogged(ts, text, want); {
		case n == 1:
			return
		case n > 1:
			ts.Fatalf("server %s logged this %d times: %s\n%s", args[0], n, args[1:], text)
		}
		select {
		case <-changed:
		case <-deadline:
			ts.Fatalf("server %s did not log %s:\n%s", args[0], args[1:], text)
		}
	}
}

func exactly(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?s)\A(?:` + pattern + `)\z`) }

// countLogged tells how many lines of a log have the fields. Each has to be JSON, with a time and a level.
func countLogged(ts *testscript.TestScript, text string, want map[string]*regexp.Regexp) int {
	count := 0
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // still being written
		}
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["time"] == nil || fields["level"] == nil ||
			fields["msg"] == nil {
			ts.Fatalf("no line of a JSON log: %s%v", line, err)
		}
		if hasFields(ts, fields, want) {
			count++
		}
	}
	return count
}

func hasFields(ts *testscript.TestScript, fields map[string]any, want map[string]*regexp.Regexp) bool {
	for key, pattern := range want {
		value, ok := fields[key]
		if !ok {
			return false
		}
		text, isText := value.(string)
		if !isText {
			raw, err := json.Marshal(value)
			ts.Check(err)
			text = string(raw)
		}
		if !pattern.MatchString(text) {
			return false
		}
	}
	return true
}

func cmdKnock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: knock PORT")
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	conn.Close()
}
