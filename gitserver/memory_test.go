package gitserver

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestGitMemory: what a large file costs git's processes is bounded, and is less than the file.
func TestGitMemory(t *testing.T) {
	const size, most = 200 << 20, 120 << 20
	said := measuredGit(t)
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "large", size)
	small := []string{"-c", "core.compression=0", "-c", "core.bigFileThreshold=16m"}
	e.mustGit(laptop, work, append(small, "push", "-q", e.url("config"),
		"main:refs/heads/other")...) // which is not deployed
	clone := filepath.Join(e.dir, "clone")
	e.mustGit(laptop, e.dir, append(small, "clone", "-q", "--bare", e.url("config"), clone)...)
	if got, want := e.mustGit(nil, clone, "rev-parse", "other"),
		e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("clone has %s, want %s", got, want)
	}
	e.stop()
	checked := 0
	for line := range strings.Lines(said()) {
		text, args, _ := strings.Cut(line, " ")
		bytes, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"receive-pack", "upload-pack"} {
			if strings.Contains(args, " "+what+" ") {
				checked++
				t.Logf("%s took %d MiB for a file of %d MiB", what, bytes>>20, size>>20)
				if bytes > most {
					t.Errorf("%s took %d bytes, the most is %d", what, bytes, most)
				}
			}
		}
	}
	if checked != 2 {
		t.Errorf("%d processes measured: %s", checked, said())
	}
}

// TestUnpackingBomb: few bytes that unpack to many end their git, which says so, and nothing else.
func TestUnpackingBomb(t *testing.T) {
	e := start(t, func(s *Server) { s.gitMemory = 64 << 20 })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	c := e.dial(laptop)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	const commit, size = 1, 96 << 20
	var pack bytes.Buffer
	pack.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x01")
	pack.WriteByte(0x80 | commit<<4 | size&15) // gitformat-pack(5): type and size
	for rest := size >> 4; ; rest >>= 7 {
		if rest < 0x80 {
			pack.WriteByte(byte(rest))
			break
		}
		pack.WriteByte(byte(rest) | 0x80)
	}
	z, err := zlib.NewWriterLevel(&pack, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for range size >> 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(pack.Bytes())
	pack.Write(sum[:])
	if pack.Len() > 1<<20 {
		t.Fatalf("the pack has %d bytes", pack.Len())
	}
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main\x00report-status"
	s.Stdin = strings.NewReader(pktLine(line) + "0000" + pack.String())
	e.execIn(s, "git-receive-pack '/config'").want(t, 1, "Out of memory", "refship: error: nothing was stored")
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if left := leftovers(t, repo); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	e.git(laptop, e.work(), "push", e.url("config"), "main").want(t, 0, "deploy 1 published") // within the same bounds
}
