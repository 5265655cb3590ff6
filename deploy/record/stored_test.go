package record_test

import (
	"testing"

	"refship/deploy/fault"
	"refship/deploy/record"
)

func TestLimits(t *testing.T) {
	const quota = 8 << 30
	for _, c := range []struct {
		text  string
		is    record.Limit
		bytes int64
		words string
	}{
		{"", record.DefaultLimit, 2 << 30, "2 GiB, a quarter of etcd's quota"},
		{"none", record.NoLimit, 0, "none"},
		{"500MiB", 500 << 20, 500 << 20, "500 MiB"},
		{"524288000", 500 << 20, 500 << 20, "500 MiB"},
		{"1", 1, 1, "1 B"},
	} {
		l, err := record.ParseLimit(c.text)
		if err != nil || l != c.is || l.In(quota) != c.bytes || l.Words(quota) != c.words {
			t.Errorf("%q: %d, %d bytes, %q, %v", c.text, l, l.In(quota), l.Words(quota), err)
		}
		if again, err := record.ParseLimit(l.String()); again != l || err != nil {
			t.Errorf("%q is written as %q", c.text, l)
		}
	}
	for _, bad := range []string{"0", "-1", "None", "some", "9999999PiB", " "} {
		if l, err := record.ParseLimit(bad); !fault.Is(err, fault.Refused) || fault.RemedyOf(err) == "" {
			t.Errorf("%q: %d, %v", bad, l, err)
		}
	}
	if l := record.DefaultLimit; l.In(0) != 0 || l.Words(0) != "none: etcd does not tell its quota" {
		t.Errorf("without a quota: %d, %q", l.In(0), l.Words(0))
	}
}

// What is no count is unknown, and so counted anew.
func TestParseStored(t *testing.T) {
	want := record.Stored{Bytes: 7, Unsure: 3, Deploy: 2}
	if got := record.ParseStored(want.Encode()); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "7", "{", `{"bytes":-1}`, `{"bytes":1,"unsure":2}`, `{"bytes":1,"unsure":-2}`} {
		if got := record.ParseStored([]byte(bad)); got != nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	for _, head := range []*record.Deploy{nil, {ID: 1}, {ID: 2}, {ID: 3}} {
		if got := want.CountsTo(head); got != (head != nil && head.ID == 2) {
			t.Errorf("%+v: %t", head, got)
		}
	}
}
