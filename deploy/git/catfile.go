package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"refship/deploy/tree"
)

// readBuffer is the size in bytes of the buffer on git's answers.
const readBuffer = 128 << 10

// catFile is a running `git cat-file --batch-command --buffer` (git-cat-file(1), "BATCH OUTPUT").
//
// It ends when its standard input does, so it dies with this process, however that ends: Go opens every pipe
// close-on-exec, so no other child keeps the input open.
type catFile struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	asking  *bufio.Writer // on stdin
	stdout  *bufio.Reader
	stderr  *speech
	greeted bool
	format  tree.Format // of the repository's objects, when greeted
	pending int         // answers that have not been read to their end
	err     error       // the first failure to read an answer: this git is of no more use
}

// header is the first line of an answer.
type header struct {
	missing bool
	typ     string // blob, tree, commit, tag
	size    int64
}

// startCatFile starts git. It is killed when ctx ends; end must be called in any case.
func startCatFile(ctx context.Context, dir string, env []string, limits limits) (*catFile, error) {
	p := &catFile{cmd: command(ctx, dir, env, "cat-file", "--batch-command", "--buffer"), stderr: &speech{}}
	p.cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start git cat-file: %w", err)
	}
	p.asking = bufio.NewWriterSize(p.stdin, 16<<10)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start git cat-file: %w", err)
	}
	p.stdout = bufio.NewReaderSize(stdout, readBuffer)
	if err := limits.start(p.cmd); err != nil {
		return nil, fmt.Errorf("start git cat-file: %w", err)
	}
	return p, nil
}

// request is a command of `git cat-file --batch-command`.
type request string

const (
	askInfo     request = "info "     // type and size
	askContents request = "contents " // and then the bytes: git holds a whole commit, tree or tag in memory to print it
)

// ask writes requests, and the flush that makes git answer: it reads all of them first, so that neither waits for the
// other. A failure to write ends git's input, and with it git: the reader of the answers sees that and reports it.
func (p *catFile) ask(what request, oids []OID) {
	p.pending += len(oids)
	line := make([]byte, 0, 128)
	for _, oid := range oids {
		line = append(append(line[:0], what...), oid.String()...)
		if _, err := p.asking.Write(append(line, '\n')); err != nil {
			break
		}
	}
	_, _ = p.asking.WriteString("flush\n") // its error comes again
	if err := p.asking.Flush(); err != nil {
		_ = p.stdin.Close() // the answers' reader reports what git died of
	}
}

// info asks for the types and sizes of objects, which git knows without their bytes. An oid of another format is missing:
// git would take it for the beginning of an oid, or for a branch's name.
func (p *catFile) info(oids []OID) ([]header, error) {
	own := oids
	if slices.ContainsFunc(oids, p.isForeign) {
		own = slices.DeleteFunc(slices.Clone(oids), p.isForeign)
	}
	p.ask(askInfo, own)
	all := make([]header, len(oids))
	for i, oid := range oids {
		if p.isForeign(oid) {
			all[i].missing = true
			continue
		}
		var err error
		if all[i], err = p.readHeader(oid); err != nil {
			return nil, err
		}
		if !all[i].missing {
			p.pending--
		}
	}
	return all, nil
}

func (p *catFile) isForeign(oid OID) bool { return oid.Format() != p.format }

// contents reads the header of an answer with contents, which must be as info had it, and gives the bytes to be read.
func (p *catFile) contents(oid OID, info header) (*content, error) {
	h, err := p.readHeader(oid)
	if err != nil {
		return nil, err
	}
	if h != info {
		return nil, p.fail(fmt.Errorf("git says that %s is %v, and a moment ago that it is %v", oid, h, info))
	}
	return &content{p: p, left: h.size}, nil
}

// readLine reads the next answer's first line, without its line feed.
func (p *catFile) readLine() (string, error) {
	line, err := p.stdout.ReadSlice('\n')
	if err != nil {
		return "", p.fail(err)
	}
	return string(line[:len(line)-1]), nil
}

// readHeader reads the next answer's first line, which must be about oid. It is the whole answer to info, and if
// nothing has that oid.
func (p *catFile) readHeader(oid OID) (header, error) {
	line, err := p.readLine()
	if err != nil {
		return header{}, err
	}
	digits, rest, _ := strings.Cut(line, " ")
	if digits != oid.String() {
		return header{}, p.fail(fmt.Errorf("git answers %.100q where %s was asked", line, oid))
	}
	if rest == "missing" {
		p.pending--
		return header{missing: true}, nil
	}
	kind, size, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(size, 10, 63)
	if err != nil {
		return header{}, p.fail(fmt.Errorf("git answers %.100q where %s was asked", line, oid))
	}
	return header{typ: kind, size: int64(n)}, nil
}

// fail notes that the answers cannot be read on.
func (p *catFile) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if p.err == nil {
		p.err = err
	}
	return err
}

// kill makes every pending read and write return.
func (p *catFile) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended
}

// end waits for the process and gives how it ended. A process that closed its output may end by itself, so that its own
// exit status is seen; any other is killed, which does no harm to one that only reads.
func (p *catFile) end() error {
	_ = p.stdin.Close()
	if errors.Is(p.err, io.ErrUnexpectedEOF) {
		timer := time.AfterFunc(endGrace, p.kill)
		defer timer.Stop()
	} else {
		p.kill()
	}
	return p.cmd.Wait()
}

// content reads one object's bytes out of the stream of answers.
type content struct {
	p    *catFile
	left int64
	over bool
}

var errContentOver = errors.New("read content: its callback has returned")

func (c *content) Read(b []byte) (int, error) {
	switch {
	case c.over:
		return 0, errContentOver
	case c.left == 0:
		return 0, io.EOF
	}
	if int64(len(b)) > c.left {
		b = b[:c.left]
	}
	n, err := c.p.stdout.Read(b)
	c.left -= int64(n)
	if err != nil {
		err = c.p.fail(err)
	}
	return n, err
}

// finish skips what was not read, and the line feed behind it.
func (c *content) finish() error {
	c.over = true
	for c.left > 0 {
		n, err := c.p.stdout.Discard(int(min(c.left, 1<<30)))
		c.left -= int64(n)
		if err != nil {
			return c.p.fail(err)
		}
	}
	b, err := c.p.stdout.ReadByte()
	if err != nil {
		return c.p.fail(err)
	}
	if b != '\n' {
		return c.p.fail(errors.New("git's answer is longer than announced"))
	}
	c.p.pending--
	return nil
}
