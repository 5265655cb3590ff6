package hook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 10

// Webhook is a URL that is asked for each release.
type Webhook struct {
	URL     string
	Method  string // such as POST
	Status  int    // of an answer that is a success; 0: any is
	Timeout time.Duration
}

// Check says what keeps any request from being sent, or any answer from being a success.
func (w *Webhook) Check() error {
	switch req, err := http.NewRequest(w.Method, w.URL, nil); {
	case err != nil:
		return err
	case req.URL.Scheme != "http" && req.URL.Scheme != "https", req.URL.Host == "":
		return fmt.Errorf("%q is no URL such as http://127.0.0.1:8000/reload", w.URL)
	case w.Status != 0 && (w.Status < 200 || w.Status > 599):
		return fmt.Errorf("%d is no status of an answer: 0 is any", w.Status)
	}
	return nil
}

// Run sends one request, without a body, and wants the right status in the answer. It follows no redirect to another
// method.
func (w *Webhook) Run(ctx context.Context, r *Release) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.Timeout, fmt.Errorf("no answer within %s", w.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, w.Method, w.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Gitsync-Hash", string(r.Hash))
	req.Header.Set("Refship-Id", r.ID.String())
	req.Header.Set("Refship-Chain", string(r.Chain))
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.Method != w.Method || len(via) >= maxRedirects {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer resp.Body.Close()
	if w.Status != 0 && resp.StatusCode != w.Status {
		what := fmt.Sprintf("the answer is %s, not %d", resp.Status, w.Status)
		if line := firstLine(resp.Body); line != "" {
			what += ": " + line
		}
		return errors.New(what)
	}
	return nil
}
