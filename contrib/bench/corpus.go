package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// corpus says what a repository holds. The same corpus and seed give the same commit.
type corpus struct {
	name  string
	files int
	bytes int  // of all files together
	noise bool // random bytes, which nothing compresses; else text that compresses as source does, to a fifth or so
	loose bool // each object is a file, as git add leaves it, and every push compresses them
}

var corpora = map[string]corpus{
	"S": {name: "S", files: 50, bytes: 177 << 10},
	"M": {name: "M", files: 2_000, bytes: 20 << 20},
	"L": {name: "L", files: 20_000, bytes: 200 << 20},
	"X": {name: "X", files: 100_000, bytes: 100_000 * 400},
	"R": {name: "R", files: 20_000, bytes: 200 << 20, noise: true}, // L, incompressible
}

func init() {
	for _, size := range []string{"S", "L"} {
		c := corpora[size]
		c.name, c.loose = size+looseName, true
		corpora[c.name] = c
	}
}

// looseName follows the name of a corpus whose objects are loose.
const looseName = "-loose"

// describe is for the table's legend.
func (c corpus) describe() string {
	kind := "text"
	if c.noise {
		kind = "random bytes"
	}
	if c.loose {
		kind += ", each object a file, as git add leaves it"
	}
	return fmt.Sprintf("%s: %d files, %.1f MiB of %s", c.name, c.files, float64(c.bytes)/(1<<20), kind)
}

// path gives the path of file i: 40 files in a directory, 40 directories in one.
func (c corpus) path(i int) string {
	return fmt.Sprintf("d%02d/d%02d/file%05d.txt", i/1600, i/40%40, i)
}

// content writes file i. Sizes go from a quarter of the mean to seven quarters.
func (c corpus) content(seed uint64, i int) string {
	random := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // the same bytes each time are what is wanted
	mean := c.bytes / c.files
	size := mean/4 + random.IntN(mean*3/2+1)
	var b strings.Builder
	b.Grow(size + 100)
	if c.noise {
		for b.Len() < size {
			b.WriteByte(byte(random.Uint32()))
		}
		return b.String()
	}
	for b.Len() < size {
		b.WriteString(strings.Repeat("\t", random.IntN(4)))
		for range 2 + random.IntN(8) {
			b.WriteString(word(random))
			b.WriteString(marks[random.IntN(len(marks))])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var (
	syllables = strings.Fields("al an ar con de el en er ex for get in is le ma me ne no of on or out pa per re ro se " +
		"set st te to un val ver")
	marks = []string{" ", " ", " ", ".", ", ", "(", ") ", " = ", " := ", "; "}
)

// word gives one of some thousand words; the short ones come often.
func word(random *rand.Rand) string {
	n := int(random.ExpFloat64() * 300)
	w := syllables[n%len(syllables)]
	for n /= len(syllables); n > 0; n /= len(syllables) {
		w += syllables[n%len(syllables)]
	}
	return w
}

// commit puts one commit with all files onto main of a bare repository, by git fast-import. Every file of an earlier
// commit that has the same path is replaced.
func (c corpus) commit(ctx context.Context, w *world, repo string, seed uint64) error {
	read, write := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(write, 1<<16)
		message := fmt.Sprintf("%s, seed %d\n", c.name, seed)
		fmt.Fprintf(out, "commit refs/heads/main\ncommitter bench <bench@localhost> %d +0000\ndata %d\n%s",
			1_700_000_000+seed, len(message), message)
		if seed > 1 {
			fmt.Fprint(out, "from refs/heads/main^0\n")
		}
		for i := range c.files {
			text := c.content(seed, i)
			fmt.Fprintf(out, "M 100644 inline %s\ndata %d\n%s\n", c.path(i), len(text), text)
		}
		write.CloseWithError(out.Flush())
	}()
	var env []string
	if c.loose {
		env = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=fastimport.unpackLimit", "GIT_CONFIG_VALUE_0=1000000"}
	}
	cmd := w.command(ctx, env, "git", "-C", repo, "fast-import", "--quiet", "--date-format=raw")
	cmd.Stdin = read
	_, err := run(cmd)
	return err
}

// change commits a new line in one file of a bare repository, without a work tree: round n changes another file each
// time.
func (c corpus) change(ctx context.Context, w *world, repo string, n int) error {
	i := n * 7919 % c.files
	text := c.content(1, i) + fmt.Sprintf("changed in round %d\n", n)
	cmd := w.command(ctx, nil, "git", "-C", repo, "fast-import", "--quiet", "--date-format=raw")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(
		"commit refs/heads/main\ncommitter bench <bench@localhost> %d +0000\ndata 7\nchange\nfrom refs/heads/main^0\n"+
			"M 100644 inline %s\ndata %d\n%s\n", 1_710_000_000+n, c.path(i), len(text), text))
	_, err := run(cmd)
	return err
}
