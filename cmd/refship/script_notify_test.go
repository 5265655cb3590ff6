package main

// Scripts about --notify have these commands, too:
//
//	receiver NAME MODE       an HTTP server on loopback, whose URL is $NAME; it is started when it is named first. MODE is
//	                         a status that it answers, hang (it answers nothing until it has another mode) or down (it
//	                         closes each connection)
//	[!] received NAME REGEXP wait until it was asked something that matches, in a line
//	                         "STATUS EVENT DELIVERY SIGNATURE BODY"; all lines so far are there for stdout. With !, no
//	                         line matches

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"refship/deploy/webhook"
)

// receiversKey is where a script's receivers are.
type receiversKey struct{}

type receiver struct {
	*httptest.Server

	mu      sync.Mutex
	mode    string
	changed chan struct{} // closed when mode changes
	asked   strings.Builder
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.mu.Lock()
	mode, changed := r.mode, r.changed
	fmt.Fprintf(&r.asked, "%s %s %s %s %s\n", mode, req.Header.Get("X-Refship-Event"),
		req.Header.Get("X-Refship-Delivery"), req.Header.Get(webhook.SignatureHeader), body)
	r.mu.Unlock()
	if mode == "hang" {
		<-changed
		r.mu.Lock()
		mode = r.mode
		r.mu.Unlock()
	}
	status, err := strconv.Atoi(mode)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "this is %d", status)
}

func cmdReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receiver NAME MODE")
	}
	all := ts.Value(receiversKey{}).(map[string]*receiver)
	r := all[args[0]]
	if r == nil {
		r = &receiver{changed: make(chan struct{})}
		r.Server = httptest.NewServer(r)
		all[args[0]] = r
		ts.Setenv(args[0], r.URL)
		ts.Defer(func() {
			r.become("down")
			r.Close()
		})
	}
	r.become(args[1])
}

func (r *receiver) become(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = mode
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *receiver) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked.String()
}

func cmdReceived(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] received NAME REGEXP")
	}
	r := ts.Value(receiversKey{}).(map[string]*receiver)[args[0]]
	if r == nil {
		ts.Fatalf("there is no receiver %s", args[0])
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	deadline := time.Now().Add(patience)
	for {
		asked := r.all()
		switch found := pattern.MatchString(asked); {
		case found && neg:
			ts.Fatalf("%s was asked what matches %s:\n%s", args[0], pattern, asked)
		case found || neg:
			fmt.Fprint(ts.Stdout(), asked)
			return
		case time.Now().After(deadline):
			ts.Fatalf("%s was not asked what matches %s:\n%s", args[0], pattern, asked)
		}
		time.Sleep(pollPause)
	}
}
