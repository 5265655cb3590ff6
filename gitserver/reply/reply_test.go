package reply

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"refship/deploy/fixture"
)

var line = fixture.PktLine

var advertisement = line(strings.Repeat("1", 40)+" refs/heads/main\x00report-status report-status-v2 delete-refs "+
	"side-band-64k quiet atomic ofs-delta object-format=sha1") + line(strings.Repeat("2", 40)+" refs/heads/side\n") + flush

const banded = "side-band-64k"

// answer gives what the client reads of git's answer, which comes in the given pieces.
func answer(t testing.TB, capability string, deny func(string) string, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	r := New(&out)
	r.Asked([]string{"report-status", capability})
	for _, p := range pieces {
		if n, err := r.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(p), err)
		}
	}
	if err := r.End(deny); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func denyMain(ref string) string {
	if ref != "refs/heads/main" {
		return ""
	}
	return "pushed, not deployed: …"
}

func band(n byte, content string) string { return line(string(n) + content) }

// TestExample: the examples of doc.go.
func TestExample(t *testing.T) {
	report := "000eunpack ok\n" + "0017ok refs/heads/main\n" + "0031ng refs/heads/side pre-receive hook declined\n" + flush
	in := []string{
		"0014\x02refship: hello\n", "0005\x01", "0017\x01000eunpack ok\n0017", "0018\x01ok refs/heads/main\n", "0009\x010000",
		"0000",
	}
	out := answer(t, banded, nil, append([]string{"0000"}, in...)...)
	if want := flush + in[0] + in[1] + band(1, "000eunpack ok\n0017ok refs/heads/main\n0000") + flush; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	out = answer(t, "", denyMain, flush, report)
	want := flush + strings.Replace(report, "0017ok refs/heads/main\n",
		line("ng refs/heads/main pushed, not deployed: …\n"), 1)
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// TestReport: what becomes of one report, with and without bands.
func TestReport(t *testing.T) {
	const unpacked = "000eunpack ok\n"
	no := line("ng refs/heads/main no\n")
	ok, side := line("ok refs/heads/main\n"), line("ok refs/heads/side\n")
	ng := line("ng refs/heads/main pushed, not deployed: …\n")
	option := line("option refname refs/heads/other\n") + line("option forced-update\n")
	for name, c := range map[string]struct{ report, want string }{
		"one":          {unpacked + ok + flush, unpacked + ng + flush},
		"no newline":   {unpacked + line("ok refs/heads/main") + flush, unpacked + ng + flush},
		"another":      {unpacked + side + flush, unpacked + side + flush},
		"both":         {unpacked + side + ok + flush, unpacked + side + ng + flush},
		"its options":  {unpacked + ok + option + side + flush, unpacked + ng + side + flush},
		"other's":      {unpacked + ok + side + option + flush, unpacked + ng + side + option + flush},
		"refused":      {unpacked + no + flush, unpacked + no + flush},
		"a longer ref": {unpacked + line("ok refs/heads/main2\n") + flush, unpacked + line("ok refs/heads/main2\n") + flush},
		"nothing":      {"", ""},
		"breaks off":   {unpacked + ok[:8], unpacked},
		"no report":    {unpacked + ok + "hello, ok refs/heads/main", unpacked + ng},
	} {
		if got := answer(t, "", denyMain, advertisement, c.report); got != advertisement+c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		in, want := flush, flush
		if c.report != "" {
			in = band(1, c.report) + flush
		}
		if c.want != "" {
			want = band(1, c.want) + flush
		}
		if got := answer(t, banded, denyMain, advertisement, in); got != advertisement+want {
			t.Errorf("%s, with bands: got %q, want %q", name, got, want)
		}
		if got := answer(t, "", nil, advertisement, c.report); got != advertisement+c.report {
			t.Errorf("%s, not denied: got %q", name, got)
		}
	}
}

// TestWhy: why a ref is denied is one line, of no more than clients read.
func TestWhy(t *testing.T) {
	why := func(string) string { return "two\nlines" + strings.Repeat("…", 1000) }
	out := answer(t, "", why, flush, line("ok x\n"), flush)
	if strings.Count(out, "\n") != 1 || len(out) > maxWhy+30 || !strings.Contains(out, `ng x two\nlines…`) {
		t.Errorf("got %q", out)
	}
}

// TestAtOnce: what the client shows and what keeps it waiting comes while git works, the report and git's end last.
func TestAtOnce(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	write := func(s string) {
		if _, err := r.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	got := func(want string) {
		t.Helper()
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
		out.Reset()
	}
	write(advertisement[:100])
	write(advertisement[100:])
	got(advertisement)
	r.Asked([]string{"side-band-64k"})
	write(band(1, "000eunpack ok\n") + band(2, "remote") + "0005")
	got(band(2, "remote"))
	write("\x01")
	got(band(1, ""))
	write(band(1, flush) + band(3, "fatal: x"))
	got(band(3, "fatal: x"))
	write(flush)
	got("")
	if err := r.End(nil); err != nil {
		t.Fatal(err)
	}
	got(band(1, "000eunpack ok\n"+flush) + flush)
}

// TestBroken: of what is no answer of git's, nothing that a client might take for success is left where a ref is
// denied; else all of it.
func TestBroken(t *testing.T) {
	for _, rest := range []string{"hello", "0003", "0004", "+005\x01", "fffe", band(1, line("ok refs/heads/main\n"))} {
		in := band(1, "000eunpack ok\n") + flush + rest
		if got := answer(t, banded, nil, flush, in); got != flush+in {
			t.Errorf("got %q, want %q", got, in)
		}
		if got := answer(t, banded, denyMain, flush, in); strings.Contains(got, rest) {
			t.Errorf("%q is left in %q", rest, got)
		}
	}
	for _, cut := range []string{"", "00", advertisement[:70], line("ERR no")} { // git ended before it had begun to answer
		if got := answer(t, "", denyMain, cut); got != cut {
			t.Errorf("got %q, want %q", got, cut)
		}
	}
}

// demultiplex takes an answer with bands apart: what each has, joined.
func demultiplex(t testing.TB, out string) (bands [4]string, empty int) {
	t.Helper()
	for out != flush {
		var n int
		if _, err := fmt.Sscanf(out, "%04x", &n); err != nil || n < 5 || n > maxPacket || n > len(out) || out[4] > 3 {
			t.Fatalf("no packet of a band: %.40q (%d bytes)", out, len(out))
		}
		if n == 5 {
			empty++
		}
		bands[out[4]] += out[5:n]
		out = out[n:]
	}
	return bands, empty
}

// TestRandom: however git cuts its answer into packets, and however these arrive, the client reads what git said, but
// for the refs that are denied.
func TestRandom(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 13))
		report, want := line("unpack ok\n"), line("unpack ok\n")
		for i := range rnd.IntN(4 + 2000*int(seed%50/49)) {
			ref := fmt.Sprintf("refs/heads/%d%s", i, strings.Repeat("x", rnd.IntN(100)))
			said := line("ok " + ref + "\n")
			switch rnd.IntN(4) {
			case 0:
				said = line("ng " + ref + " hook declined\n")
				want += said
			case 1:
				said += line("option old-oid " + strings.Repeat("1", 40) + "\n")
				want += said
			default:
				want += line("ng " + ref + "/denied no\n")
				said = line("ok " + ref + "/denied\n")
				if rnd.IntN(2) == 0 {
					said += line("option forced-update\n")
				}
			}
			report += said
		}
		report, want = report+flush, want+flush
		deny := func(ref string) string {
			if strings.HasSuffix(ref, "/denied") {
				return "no"
			}
			return ""
		}
		in, shown, alive := "", "", 0
		for rest := report; rest != ""; {
			switch rnd.IntN(4) {
			case 0:
				in, shown = in+band(2, "remote\n"), shown+"remote\n"
			case 1:
				in, alive = in+band(1, ""), alive+1
			default:
				n := min(1+rnd.IntN(1+rnd.IntN(maxPacket-5)), len(rest))
				in, rest = in+band(1, rest[:n]), rest[n:]
			}
		}
		in = advertisement + in + flush
		for name, c := range map[string]struct {
			deny func(string) string
			want string
		}{"denied": {deny, want}, "as it was": {nil, report}} {
			out, ok := strings.CutPrefix(answer(t, banded, c.deny, cut(rnd, in)...), advertisement)
			bands, empty := demultiplex(t, out)
			if !ok || bands[1] != c.want || bands[2] != shown || empty != alive {
				t.Fatalf("seed %d, %s: got %q %d, want %q %d", seed, name, bands, empty, c.want, alive)
			}
			out = answer(t, "side-band", c.deny, cut(rnd, advertisement+report)...)
			if out != advertisement+c.want {
				t.Fatalf("seed %d, %s, no bands: got %q, want %q", seed, name, out, c.want)
			}
		}
	}
}

// cut cuts a text anywhere.
func cut(rnd *rand.Rand, s string) (pieces []string) {
	for s != "" {
		n := min(1+rnd.IntN(1+rnd.IntN(len(s))), len(s))
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

// FuzzReply: whatever git might write, nothing is lost where no ref is denied, and no "ok" is left where all are.
func FuzzReply(f *testing.F) {
	f.Add(advertisement+band(1, line("unpack ok\n")+line("ok refs/heads/main\n")+flush)+band(2, "x")+flush, true, 20)
	f.Add(advertisement+line("unpack ok\n")+line("ok refs/heads/main\n")+flush, false, 3)
	f.Add("0000hello", true, 0)
	f.Fuzz(func(t *testing.T, in string, bands bool, at int) {
		at = max(0, min(at, len(in)))
		capability := ""
		if bands {
			capability = banded
		}
		same := answer(t, capability, nil, in[:at], in[at:])
		if !bands && same != in {
			t.Errorf("got %q, want %q", same, in)
		}
		if whole := answer(t, capability, nil, in); whole != same {
			t.Errorf("in one: %q, in two: %q", whole, same)
		}
		denied := answer(t, capability, func(string) string { return "no" }, in[:at], in[at:])
		report := denied[advertised(in):]
		for !bands && report != "" {
			n, whole := packetLength([]byte(report))
			if !whole {
				t.Fatalf("no packet is %q, of %q", report, in)
			}
			if strings.HasPrefix(report[lengthDigits:n], "ok ") {
				t.Errorf("%q is left of %q", report[:n], in)
			}
			report = report[n:]
		}
	})
}

// advertised is how much of an answer is the advertisement.
func advertised(in string) (length int) {
	for {
		n, whole := packetLength([]byte(in[length:]))
		switch {
		case n < 0:
			return length
		case !whole:
			return len(in)
		}
		if length += n; n == lengthDigits {
			return length
		}
	}
}
