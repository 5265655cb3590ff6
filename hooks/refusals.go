package hooks

import (
	"errors"
	"strings"

	"refship/deploy"
	"refship/deploy/text"
)

// maxRefusals is how many refusals of one push are told.
const maxRefusals = 10

// refusals are all reasons why a push is refused, each once.
type refusals struct {
	all  []error
	said map[string]bool // their texts
}

func (r *refusals) Error() string {
	var texts []string
	for _, e := range r.first() {
		texts = append(texts, e.Error())
	}
	if more := r.more(); more != "" {
		texts = append(texts, more)
	}
	return strings.Join(texts, "; ")
}

func (r *refusals) Unwrap() []error { return r.all }

// first are those that are told.
func (r *refusals) first() []error { return r.all[:min(len(r.all), maxRefusals)] }

// more says how many are not told, "" if none.
func (r *refusals) more() string {
	if n := len(r.all) - maxRefusals; n > 0 {
		return "… and " + text.Count(n, "more refusal")
	}
	return ""
}

// add takes err in, unless it is nil or its text is there already.
func (r *refusals) add(err error) {
	if err == nil || r.said[err.Error()] {
		return
	}
	if r.said == nil {
		r.said = make(map[string]bool)
	}
	r.said[err.Error()] = true
	r.all = append(r.all, err)
}

// err is nil if there is no refusal.
func (r *refusals) err() error {
	if len(r.all) == 0 {
		return nil
	}
	return r
}

// Explain puts an error into lines, as a pusher reads it: what became of the push ("refused", "pushed, not deployed"),
// why, and what to do, which remedy words. Of many refusals it gives the first few, and no hint twice.
func Explain(remedy func(error) string, verb string, err error) []string {
	lines := explain(remedy, verb, err)
	for i, line := range lines {
		lines[i] = text.Printable(line)
	}
	return lines
}

func (e *Engine) explain(verb string, err error) []string { return explain(e.cfg.Remedy, verb, err) }

func explain(remedy func(error) string, verb string, err error) []string {
	var all *refusals
	if !errors.As(err, &all) {
		return explainOne(remedy, verb, err, make(map[string]bool))
	}
	var lines []string
	hinted := make(map[string]bool)
	for _, e := range all.first() {
		lines = append(lines, explainOne(remedy, verb, e, hinted)...)
	}
	if more := all.more(); more != "" {
		lines = append(lines, more)
	}
	return lines
}

func explainOne(remedy func(error) string, verb string, err error, hinted map[string]bool) []string {
	lines := []string{verb + ": " + err.Error()}
	var conflict *deploy.ConflictError
	if errors.As(err, &conflict) {
		lines = []string{verb + ": " + conflict.At(), conflict.Why}
	}
	if hint := remedy(err); hint != "" && !hinted[hint] {
		hinted[hint] = true
		lines = append(lines, "hint: "+hint)
	}
	return lines
}
