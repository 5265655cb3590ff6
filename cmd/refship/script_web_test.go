package main

// Scripts about the page have these commands, too:
//
//	browse NAME METHOD PATH STATUS [from=ADDRESS] [link=FILE] [HEADER=VALUE...]
//	                       ask $HTTP as the browser NAME, which keeps its cookies, follows no redirect, and trusts
//	                       $CA; STATUS is a number, or "in": the page itself answered; link=FILE sends the form with
//	                       what is in FILE; the answer is there for stdout
//	nosecret NAME FILE...  the server has said nothing of the secrets in the links in FILE

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// browsersKey is where a script's browsers are.
type browsersKey struct{}

func cmdBrowse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: browse NAME METHOD PATH STATUS [from=ADDRESS] [link=FILE] [HEADER=VALUE...]")
	}
	jars := ts.Value(browsersKey{}).(map[string]http.CookieJar)
	if jars[args[0]] == nil {
		jar, err := cookiejar.New(nil)
		ts.Check(err)
		jars[args[0]] = jar
	}
	transport := &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: roots(ts)}
	form, header, host := url.Values{}, http.Header{}, ""
	for _, word := range args[4:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "from":
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(value)}}
			transport.DialContext = dialer.DialContext
		case "link":
			form.Set("link", ts.ReadFile(value))
		case "Host":
			host = value
		default:
			header.Add(name, value)
		}
	}
	r, err := http.NewRequest(args[1], ts.Getenv("HTTP")+args[2], strings.NewReader(form.Encode()))
	ts.Check(err)
	r.Header, r.Host = header, host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Timeout: patience, Transport: transport, Jar: jars[args[0]],
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s", body)
	isIn := answer.StatusCode < 300 || answer.StatusCode == http.StatusNotFound
	if args[3] == "in" && !isIn || args[3] != "in" && args[3] != strconv.Itoa(answer.StatusCode) {
		ts.Fatalf("%s %s: %s, want %s:\n%s", args[1], r.URL, answer.Status, args[3], body)
	}
}

// roots are the authorities that a script's browsers trust.
func roots(ts *testscript.TestScript) *tls.Config {
	pool := x509.NewCertPool()
	if file := ts.Getenv("CA"); file != "" {
		pool.AppendCertsFromPEM([]byte(ts.ReadFile(file)))
	}
	return &tls.Config{RootCAs: pool}
}

func cmdNoSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nosecret NAME FILE...")
	}
	said := findServer(ts, args[0]).text()
	for _, file := range args[1:] {
		_, secret, _ := strings.Cut(strings.TrimSpace(ts.ReadFile(file)), "#")
		if secret == "" || strings.Contains(said, secret) {
			ts.Fatalf("%s: the server said the secret %q:\n%s", file, secret, said)
		}
	}
}
