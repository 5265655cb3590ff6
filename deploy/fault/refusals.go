package fault

import (
	"fmt"
	"strings"
)

// maxTold is how many refusals are told at once.
const maxTold = 10

// Refusals are several reasons to refuse something, told as one error, each once. The zero value is empty.
type Refusals struct {
	all   []error
	texts map[string]bool
}

// Add takes err in, unless it is nil or its text is there already.
func (r *Refusals) Add(err error) {
	if err == nil || r.texts[err.Error()] {
		return
	}
	if r.texts == nil {
		r.texts = make(map[string]bool)
	}
	r.texts[err.Error()] = true
	r.all = append(r.all, err)
}

// Err is nil if there is none.
func (r *Refusals) Err() error {
	if len(r.all) == 0 {
		return nil
	}
	return r
}

func (r *Refusals) Error() string {
	first, more := r.Told()
	var texts []string
	for _, err := range first {
		texts = append(texts, err.Error())
	}
	if more != "" {
		texts = append(texts, more)
	}
	return strings.Join(texts, "; ")
}

func (r *Refusals) Unwrap() []error { return r.all }

// Told gives those that are told, and says how many more there are; "" if none.
func (r *Refusals) Told() (first []error, more string) {
	switch n := len(r.all) - maxTold; {
	case n == 1:
		more = "… and 1 more refusal"
	case n > 1:
		more = fmt.Sprintf("… and %d more refusals", n)
	}
	return r.all[:min(len(r.all), maxTold)], more
}
