package incoming

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
)

const (
	one  = "1111111111111111111111111111111111111111"
	zero = "0000000000000000000000000000000000000000"
	sha1 = git.FormatSHA1
	main = " refs/heads/main"
)

var line = fixture.PktLine

// TestReadList: a list is given as it came, with nothing that is behind it, and whether a pack follows is known.
func TestReadList(t *testing.T) {
	const capable = "\x00 report-status push-options agent=git/2.39.5"
	for name, c := range map[string]struct {
		list string
		pack bool
	}{
		"one":            {line(zero+" "+one+main) + "0000", true},
		"two":            {line(zero+" "+one+main+"\n") + line(one+" "+one+main) + "0000", true},
		"deletes":        {line(one+" "+zero+main) + "0000", false},
		"SHA-256":        {line(zero+zero[:24]+" "+one+one[:24]+main) + "0000", true},
		"of SHA-256":     {line(one+one[:24]+" "+zero+zero[:24]+main) + "0000", false},
		"capitals":       {line(zero+" "+strings.Repeat("AB", 20)+main) + "0000", true},
		"no oid":         {line(zero + " " + one[1:] + "x" + main), false},
		"deletes and":    {line(one+" "+zero+main) + line(one+" "+one+main) + "0000", true},
		"options":        {line(zero+" "+one+main+capable) + "0000" + line("deploy.skip\n") + "0000", true},
		"no option":      {line(zero+" "+one+main+capable) + "00000000", true},
		"not capable":    {line(zero+" "+one+main+"\x00no-push-options push-option") + "0000", true},
		"late":           {line(zero+" "+one+main) + line(zero+" "+one+main+capable) + "00000000", true},
		"shallow":        {line("shallow "+one) + line(zero+" "+one+main) + "0000", true},
		"nothing":        {"0000", false},
		"only shallow":   {line("shallow "+one) + "0000", false},
		"empty input":    {"", false},
		"a certificate":  {signed(zero+" "+one+main) + "0000" + line("deploy.skip\n") + "0000", true},
		"no certificate": {line("push-cert\x00push-options") + "0000", false},
		"a short line":   {line(zero + " " + one), false},
		"a word":         {line("hello"), false},
		"an empty line":  {"0004", false},
		"a delimiter":    {"0001", false},
		"no length":      {"PACK", false},
		"a signed":       {"+00a", false},
		"a short length": {"0003", false},
	} {
		rest := "PACK…"
		r := bufio.NewReader(strings.NewReader(c.list + rest))
		if name == "empty input" {
			r, rest = bufio.NewReader(strings.NewReader("")), ""
		}
		list, err := ReadList(r)
		updates := c.pack || name == "deletes" || name == "of SHA-256"
		if err != nil || string(list.Bytes) != c.list || list.Pack != c.pack || list.Updates != updates {
			t.Errorf("%s: got %+v, %v", name, list, err)
		}
		if left, _ := io.ReadAll(r); string(left) != rest {
			t.Errorf("%s: left is %q", name, left)
		}
	}
}

// signed is a signed list of one line.
func signed(update string) string {
	header := line("push-cert\x00push-options side-band-64k") + line("certificate version 0.1\n") + line("\n")
	end := line("-----BEGIN SSH SIGNATURE-----\n") + line(one+" "+one+" in it\n") + line("push-cert-end\n")
	return header + line(update+"\n") + end
}

// TestReadListAbout: what the answer to a push depends on.
func TestReadListAbout(t *testing.T) {
	update := zero + " " + one + main
	for name, c := range map[string]struct {
		list         string
		nothing      bool
		capabilities string
	}{
		"nothing":       {"0000", true, ""},
		"only shallow":  {line("shallow "+one) + line("shallow "+one+"\n") + "0000", true, ""},
		"an update":     {line(update+"\x00 report-status  side-band-64k\n") + "0000", false, "report-status side-band-64k"},
		"two say it":    {line(update+"\x00quiet") + line(update+"\x00atomic") + "0000", false, "quiet atomic"},
		"a certificate": {signed(update) + "00000000", false, "push-options side-band-64k"},
		"breaks off":    {"000", false, ""},
		"empty input":   {"", false, ""},
		"no list":       {line("hello") + "0000", false, ""},
	} {
		list, err := ReadList(bufio.NewReader(strings.NewReader(c.list)))
		if err != nil || list.Nothing != c.nothing || strings.Join(list.Capabilities, " ") != c.capabilities {
			t.Errorf("%s: got %+v, %v", name, list, err)
		}
	}
}

// TestReadListCut: a list that breaks off is given up to there.
func TestReadListCut(t *testing.T) {
	whole := line(zero+" "+one+main+"\x00push-options") + "0000" + line("deploy.skip") + "0000"
	for n := range len(whole) {
		list, err := ReadList(bufio.NewReader(strings.NewReader(whole[:n])))
		if err != nil || list.Pack || string(list.Bytes) != whole[:n] {
			t.Errorf("%d bytes: %+v, %v", n, list, err)
		}
	}
	broken := errors.New("broken")
	_, err := ReadList(bufio.NewReader(io.MultiReader(strings.NewReader(whole[:50]), failing{broken})))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestReadListLimits: what is too much is refused before it was all read.
func TestReadListLimits(t *testing.T) {
	update := func(i int) string { return line(fmt.Sprintf("%s %s refs/heads/%05d", zero, one, i)) }
	var full strings.Builder
	for i := range git.MaxUpdates {
		full.WriteString(update(i))
	}
	list, err := ReadList(bufio.NewReader(strings.NewReader(full.String() + "0000")))
	if err != nil || !list.Pack {
		t.Errorf("%d updates: %v", git.MaxUpdates, err)
	}
	option := line(strings.Repeat("o", 60_000))
	for want, input := range map[string]string{
		"a push updates more than 10000 refs": full.String() + update(git.MaxUpdates),
		"a push names a ref in more than 8 KiB": line(zero + " " + one + main +
			strings.Repeat("x", maxUpdate)),
		"a push names its refs in more than 4 MiB": line(zero+" "+one+main+"\x00push-options") + "0000" +
			strings.Repeat(option, maxList/len(option)+1),
		"a push certificate has more than 1 MiB": line("push-cert\x00x") +
			strings.Repeat(line(strings.Repeat("x", 8_000)), git.MaxCertificate/8_000+1),
		"than 4 MiB": strings.Repeat(line("shallow "+one), maxList/52+1),
	} {
		_, err := ReadList(bufio.NewReader(io.MultiReader(strings.NewReader(input), failing{errors.New("read on")})))
		remedy := "push fewer refs at once"
		if strings.Contains(want, "names a ref") {
			remedy = "give it a shorter name"
		}
		fixture.WantFault(t, fault.Refused, err, want, remedy)
	}
}

// gitPack is a pack of a format that git made, with deltas, and how many objects it has.
func gitPack(t testing.TB, f git.Format) (pack []byte, objects int64) {
	t.Helper()
	repo := fixture.NewRepository(t, "--object-format="+f.String())
	text := strings.Repeat("a line of text, and some more\n", 300)
	var list strings.Builder
	for i := range 5 {
		blob := repo.Blob(text + fmt.Sprint(i))
		root := repo.Tree("100644 blob " + blob.String() + "\ttext")
		fmt.Fprintf(&list, "%s text\n%s\n%s\n", blob, root, repo.CommitTree(root, fmt.Sprint(i)))
	}
	out, err := repo.TryGit(list.String(), "pack-objects", "--stdout", "-q")
	if err != nil {
		t.Fatal(err)
	}
	pack = []byte(out)
	count := pack[packHeader-1]
	return pack, int64(count)
}

// TestReadPack: a pack of git's is copied byte by byte, and nothing behind it.
func TestReadPack(t *testing.T) {
	for _, f := range []git.Format{sha1, git.FormatSHA256} {
		t.Run(f.String(), func(t *testing.T) { testReadPack(t, f) })
	}
}

func testReadPack(t *testing.T, f git.Format) {
	pack, objects := gitPack(t, f)
	read := func(r io.Reader, w io.Writer, limit int) (Pack, error) { return ReadPack(r, f, w, int64(limit)) }
	var out bytes.Buffer
	p, err := read(io.MultiReader(bytes.NewReader(pack), strings.NewReader("more"), failing{io.ErrClosedPipe}), &out,
		len(pack))
	if err != nil || !bytes.Equal(out.Bytes(), pack) {
		t.Fatalf("%d of %d bytes copied, %v", out.Len(), len(pack), err)
	}
	if p.Objects != objects || p.Bytes != int64(len(pack)) || p.Largest < 18_000 || p.Largest > 36_000 {
		t.Errorf("got %+v, want %d objects", p, objects)
	}
	if _, err := read(bytes.NewReader(pack), io.Discard, len(pack)-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over the limit: %v", err)
	}
	broken := errors.New("broken")
	if _, err := read(bytes.NewReader(pack), failingWriter{broken}, 1<<20); !errors.Is(err, broken) {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := read(io.MultiReader(bytes.NewReader(pack[:40]), failing{broken}), io.Discard, 1<<20); !errors.Is(err,
		broken) {
		t.Errorf("a broken input: %v", err)
	}
	for n := range len(pack) { // a pack that breaks off anywhere is known for that
		if _, err := read(bytes.NewReader(pack[:n]), io.Discard, 1<<20); !errors.Is(err, ErrEnded) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// TestLargest: what git puts together in memory, in all ways in which a pack can ask for it.
func TestLargest(t *testing.T) {
	bomb, _ := fixture.DeltaBomb(1024)
	for name, c := range map[string]struct {
		pack []byte
		want int64
	}{
		"delta":       {bomb, 1<<30 + 64<<10 + 1<<30/(64<<10) + 8},
		"large blob":  {packOf(func(p *fixture.Pack) { p.Blob(strings.Repeat("x", git.FileInPieces+1)) }), 0},
		"small blob":  {packOf(func(p *fixture.Pack) { p.Blob(strings.Repeat("x", git.FileInPieces)) }), git.FileInPieces},
		"large tree":  {packOf(func(p *fixture.Pack) { p.Tree(strings.Repeat("x", 5<<20)) }), 5 << 20},
		"no object":   {packOf(func(*fixture.Pack) {}), 0},
		"empty blobs": {packOf(func(p *fixture.Pack) { p.Blob(""); p.Blob("") }), 0},
	} {
		var out bytes.Buffer
		p, err := ReadPack(bytes.NewReader(c.pack), sha1, &out, 1<<30)
		if err != nil || p.Largest != c.want || !bytes.Equal(out.Bytes(), c.pack) {
			t.Errorf("%s: largest is %d, want %d; %d of %d bytes; %v", name, p.Largest, c.want, out.Len(), len(c.pack), err)
		}
	}
	if got := (Pack{Objects: 1 << 32, Largest: 1<<63 - 1}).Memory(); got != 1<<63-1 {
		t.Errorf("too much is %d", got)
	}
}

func packOf(fill func(*fixture.Pack)) []byte {
	var p fixture.Pack
	fill(&p)
	return p.Bytes()
}

// TestNoPack: what git will not understand ends the reading there, and is git's to judge.
func TestNoPack(t *testing.T) {
	liar := packOf(func(p *fixture.Pack) { p.Blob(strings.Repeat("x", 15)) })
	liar[packHeader] = liar[packHeader]&0xf0 | 5 // it says 5
	delta := packOf(func(p *fixture.Pack) { p.Blob("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") })
	delta[packHeader] = typeOffsetDelta<<4 | 12
	for name, input := range map[string][]byte{
		"another file": []byte("GIF89a, which is no pack at all"),
		"version":      []byte("PACK\x00\x00\x00\x04\x00\x00\x00\x01 and more"),
		"stream":       []byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01\x35 this is no zlib"),
		"size":         append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), bytes.Repeat([]byte{0xff}, 40)...),
		"a lie":        liar,
		"delta":        append(delta[:packHeader+1:packHeader+1], append([]byte{1}, delta[packHeader+1:]...)...),
	} {
		var out bytes.Buffer
		p, err := ReadPack(bytes.NewReader(input), sha1, &out, 1<<20)
		if err != nil || p.Objects != 0 || out.Len() == 0 || !bytes.HasPrefix(input, out.Bytes()) {
			t.Errorf("%s: %+v, %q, %v", name, p, out.Bytes(), err)
		}
	}
}

// FuzzReadPack: whatever comes, it ends, and what is copied is what came.
func FuzzReadPack(f *testing.F) {
	pack, _ := gitPack(f, sha1)
	long, _ := gitPack(f, git.FormatSHA256)
	bomb, _ := fixture.DeltaBomb(64)
	f.Add(pack, false)
	f.Add(long, true)
	f.Add(bomb, false)
	f.Fuzz(func(t *testing.T, input []byte, isLong bool) {
		const limit = 1 << 20
		format := sha1
		if isLong {
			format = git.FormatSHA256
		}
		var out bytes.Buffer
		p, err := ReadPack(bytes.NewReader(input), format, &out, limit)
		if err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got %v", err)
		}
		if !bytes.HasPrefix(input, out.Bytes()) || out.Len() > limit || p.Objects < 0 || p.Largest < 0 {
			t.Errorf("%d bytes copied of %d: %+v", out.Len(), len(input), p)
		}
	})
}

// FuzzReadList: whatever comes, what is given is how it began.
func FuzzReadList(f *testing.F) {
	f.Add([]byte(line(zero+" "+one+main+"\x00push-options") + "0000" + line("deploy.skip") + "0000"))
	f.Fuzz(func(t *testing.T, input []byte) {
		list, err := ReadList(bufio.NewReader(bytes.NewReader(input)))
		switch {
		case fault.Is(err, fault.Refused):
		case err != nil:
			t.Fatalf("got %v", err)
		case !bytes.HasPrefix(input, list.Bytes):
			t.Errorf("got %q", list.Bytes)
		}
	})
}
