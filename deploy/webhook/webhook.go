package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"refship/deploy/text"
)

const (
	// SignatureHeader is the header with the signature.
	SignatureHeader = "X-Hub-Signature-256"
	// maxRedirects is how many redirects are followed.
	maxRedirects = 10
	// maxLine is how much of an answer is told, in bytes.
	maxLine = 2000
	// maxHeader is how much of an answer's header is read, in bytes.
	maxHeader = 64 << 10
)

// Sign gives the value of SignatureHeader for a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Verify tells whether a value of SignatureHeader is that of a body. It takes as long for a wrong one as for a right
// one. Without a secret nothing is right.
func Verify(secret string, body []byte, signature string) bool {
	return secret != "" && hmac.Equal([]byte(Sign(secret, body)), []byte(signature))
}

// ErrNoURL: a URL cannot be asked.
var ErrNoURL = errors.New("is no URL such as http://127.0.0.1:8000/hook")

// Request is what is sent.
type Request struct {
	URL       string
	Method    string // such as POST
	Header    http.Header
	Body      []byte
	Secret    string // signs Body; "": nothing is signed
	Redirects bool   // follow those to the same method
	Timeout   time.Duration
}

// Answer is what came back.
type Answer struct {
	Code       int
	Status     string        // "200 OK"
	Line       string        // the start of its body, for people
	RetryAfter time.Duration // for how long it asks to be left alone; 0: it does not
	Took       time.Duration
}

// Check says what keeps any request from being sent.
func (r *Request) Check() error {
	switch req, err := http.NewRequest(r.Method, r.URL, nil); {
	case err != nil:
		return withoutURL(err)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https", req.URL.Host == "":
		return ErrNoURL
	}
	return nil
}

// Send sends it once, and gives the answer, whichever it is. The error is that there was none.
func (r *Request) Send(ctx context.Context) (*Answer, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("no answer within %s", r.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, withoutURL(err)
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if r.Secret != "" {
		req.Header.Set(SignatureHeader, Sign(r.Secret, r.Body))
	}
	client := &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if !r.Redirects || next.Method != r.Method || len(via) >= maxRedirects {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	return &Answer{
		Code: resp.StatusCode, Status: text.Printable(resp.Status), Line: firstLine(resp.Body),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After")), Took: time.Since(began),
	}, nil
}

// firstLine reads the start of a body.
func firstLine(r io.Reader) string {
	line, _ := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n') // what there is of it will do
	return text.Printable(strings.TrimSpace(line))
}

// retryAfter reads a number of seconds. A date, the other form that there is, is not asked for by any known receiver.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseUint(strings.TrimSpace(header), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// withoutURL is an error of net/http's without the URL.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}
