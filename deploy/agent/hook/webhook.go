package hook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"refship/deploy/webhook"
)

// Webhook is a URL that is asked for each release.
type Webhook struct {
	URL     string
	Method  string // such as POST
	Status  int    // of an answer that is a success; 0: any is
	Timeout time.Duration
}

func (w *Webhook) request() *webhook.Request {
	return &webhook.Request{URL: w.URL, Method: w.Method, Redirects: true, Timeout: w.Timeout}
}

// Check says what keeps any request from being sent, or any answer from being a success.
func (w *Webhook) Check() error {
	switch err := w.request().Check(); {
	case errors.Is(err, webhook.ErrNoURL):
		return fmt.Errorf("%q %w", w.URL, err)
	case err != nil:
		return err
	}
	if w.Status != 0 && (w.Status < 200 || w.Status > 599) {
		return fmt.Errorf("%d is no status of an answer: 0 is any", w.Status)
	}
	return nil
}

// Run sends one request, without a body, and wants the right status in the answer. It follows no redirect to another
// method.
func (w *Webhook) Run(ctx context.Context, r *Release) error {
	req := w.request()
	req.Header = http.Header{}
	req.Header.Set("Gitsync-Hash", string(r.Hash))
	req.Header.Set("Refship-Id", r.ID.String())
	req.Header.Set("Refship-Chain", string(r.Chain))
	answer, err := req.Send(ctx)
	if err != nil {
		return err
	}
	if w.Status != 0 && answer.Code != w.Status {
		what := fmt.Sprintf("the answer is %s, not %d", answer.Status, w.Status)
		if answer.Line != "" {
			what += ": " + answer.Line
		}
		return errors.New(what)
	}
	return nil
}
