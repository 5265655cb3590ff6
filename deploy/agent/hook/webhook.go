package hook

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Webhook is a URL that is asked for each release.
type Webhook struct {
	URL     string
	Method  string // such as POST
	Status  int    // of an answer that is a success; 0: any is
	Timeout time.Duration
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
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer resp.Body.Close()
	if w.Status != 0 && resp.StatusCode != w.Status {
		return fmt.Errorf("the answer is %s, not %d: %s", resp.Status, w.Status, firstLine(resp.Body))
	}
	return nil
}
