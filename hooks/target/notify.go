package target

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"refship/deploy/fault"
)

// Notify is where it is told what becomes of a target: URLs with commas between, which may be secrets. A URL that
// begins with "slack+" gets what Slack takes, and one that begins with "insecure+" may be plain HTTP to another machine.
type Notify string

const (
	maxReceivers = 5
	maxURL       = 2000 // bytes
)

// Receiver is one of the URLs of a Notify.
type Receiver struct {
	Text string // as it stands in Notify
	URL  string // to ask
	// Slack: it gets {"text": …}, which Slack, Mattermost and others show.
	Slack bool
}

// String is the receiver for people: where it is, without what may be secret.
func (r Receiver) String() string {
	prefix := strings.TrimSuffix(r.Text, r.URL)
	at, err := url.Parse(r.URL)
	if err != nil {
		return prefix + "…"
	}
	words := prefix + at.Scheme + "://" + at.Host
	if at.User != nil || at.Path != "" && at.Path != "/" || at.RawQuery != "" {
		words += "/…"
	}
	return words
}

// Receivers are the URLs one by one. What cannot be one is an error, which does not repeat it.
func (n Notify) Receivers() ([]Receiver, error) {
	if n == "" {
		return nil, nil
	}
	all := strings.Split(string(n), ",")
	if len(all) > maxReceivers {
		return nil, fault.Refuse("one receiver can tell others", "notify has %d URLs (limit %d)", len(all), maxReceivers)
	}
	var receivers []Receiver
	for i, text := range all {
		r, err := parseReceiver(text)
		if err != nil {
			return nil, fmt.Errorf("notify, URL %d: %w", i+1, err)
		}
		if slices.ContainsFunc(receivers, func(o Receiver) bool { return o.URL == r.URL }) {
			return nil, fault.Refuse("give it once", "notify has URL %d twice", i+1)
		}
		receivers = append(receivers, r)
	}
	return receivers, nil
}

func parseReceiver(text string) (Receiver, error) {
	r, insecure := Receiver{Text: text, URL: text}, false
	r.URL, r.Slack = strings.CutPrefix(r.URL, "slack+")
	r.URL, insecure = strings.CutPrefix(r.URL, "insecure+")
	const remedy = "give one such as https://ci.example.com/hook; a comma inside a URL is written %2C"
	isOdd := func(r rune) bool { return r <= ' ' || r > '~' || unicode.IsSpace(r) }
	if len(r.URL) > maxURL || strings.ContainsFunc(r.URL, isOdd) {
		return r, fault.Refuse(remedy, "it is longer than %d bytes, or has other than ASCII characters", maxURL)
	}
	at, err := url.Parse(r.URL)
	switch {
	case err != nil, at.Hostname() == "", at.Scheme != "https" && at.Scheme != "http":
		return r, fault.Refuse(remedy, "it is no URL of https")
	case at.Scheme == "http" && !insecure && !isLoopback(at.Hostname()):
		return r, fault.Refuse("use https; or, if everybody on the way may read what is told, write it as insecure+http://…",
			"it is plain HTTP to another machine")
	}
	return r, nil
}

// isLoopback tells whether a host is this machine, by its name alone.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// String is Notify for people.
func (n Notify) String() string {
	receivers, err := n.Receivers()
	if err != nil {
		return "not readable"
	}
	var all []string
	for _, r := range receivers {
		all = append(all, r.String())
	}
	return strings.Join(all, ", ")
}

func (t Target) checkNotify() error {
	_, err := t.Notify.Receivers()
	return err
}

// Same tells whether two targets deploy the same in the same way; who is told of it does not count.
func (t Target) Same(o Target) bool {
	t.Notify, o.Notify = "", ""
	return t == o
}
