package conns

import (
	"net/netip"
	"strings"
	"testing"
)

func TestFloodLines(t *testing.T) {
	var f Flood
	for i := range 3 * floodLines {
		if _, ok := f.Next(); ok != (i < floodLines) {
			t.Fatalf("line %d: %v", i, ok)
		}
	}
	f.since = f.since.Add(-2 * floodTime)
	if held, ok := f.Next(); !ok || held != 2*floodLines {
		t.Errorf("later: %d, %v", held, ok)
	}
	if held, ok := f.Next(); !ok || held != 0 {
		t.Errorf("then: %d, %v", held, ok)
	}
}

type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

func TestOrigin(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.7:1234":              {"192.0.2.7/32", "192.0.2.0/24"},
		"[::ffff:192.0.2.7]:1234":     {"192.0.2.7/32", "192.0.2.0/24"},
		"[2001:db8:1:2:3:4:5:6]:1234": {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"[2001:db8:1:2::1]:1":         {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"[2001:db8:1:3::1]:1":         {"2001:db8:1:3::/64", "2001:db8:1::/48"},
		"[fe80::1%eth0]:22":           {"fe80::/64", "fe80::/48"},
	} {
		want := origin{netip.MustParsePrefix(want[0]), netip.MustParsePrefix(want[1])}
		if got := originOf(textAddr(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "@", "/run/socket", "192.0.2.7"} {
		if got := originOf(textAddr(text)); got != (origin{}) {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// TestPlainPacket: a client parses it (RFC 4253, section 6), whatever its length.
func TestPlainPacket(t *testing.T) {
	for n := range 40 {
		payload := []byte(strings.Repeat("x", n))
		p := plainPacket(payload)
		length, padding := int(p[2])<<8|int(p[3]), int(p[4])
		if len(p)%8 != 0 || len(p) < 16 && n > 6 || length != len(p)-4 || padding < 4 ||
			string(p[5:len(p)-padding]) != string(payload) {
			t.Errorf("%d bytes: %v", n, p)
		}
	}
}
