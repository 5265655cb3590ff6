package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// flushEvery is the number of requests after which git is told to answer: often enough that git is never idle while
	// the writer goes on (a pipe holds some 1,300 requests).
	flushEvery = 500
	// readBuffer is the size in bytes of the buffer on git's answers.
	readBuffer = 128 << 10
)

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
	pending int   // answers that have not been read to their end
	err     error // the first failure to read an answer: this git is of no more use
}

// header is the first line of an answer.
type header struct {
	missing bool
	typ     string // blob, tree, commit, tag
	size    int64
}

// startCatFile starts git. It is killed when ctx ends; end must be called in any case.
func startCatFile(ctx context.Context, dir string, env []string) (*catFile, error) {
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
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start git cat-file: %w", err)
	}
	return p, nil
}

// ask writes requests and the flushes that make git answer. A failure to write ends git's input, and with it git: the
// reader of the answers sees that and reports it.
func (p *catFile) ask(oids []OID) {
	line := make([]byte, 0, 128)
	for i, oid := range oids {
		line = append(line[:0], "contents "...)
		line = append(line, oid.String()...)
		line = append(line, '\n')
		if (i+1)%flushEvery == 0 || i+1 == len(oids) {
			line = append(line, "flush\n"...)
		}
		if _, err := p.asking.Write(line); err != nil {
			break
		}
	}
	if err := p.asking.Flush(); err != nil {
		_ = p.stdin.Close() // the answers' reader reports what git died of
	}
}

// readHeader reads the next answer's first line, which must be about oid. It is the whole answer if nothing has that
// oid.
func (p *catFile) readHeader(oid OID) (header, error) {
	line, err := p.stdout.ReadSlice('\n')
	if err != nil {
		return header{}, p.fail(err)
	}
	digits, rest, _ := strings.Cut(string(line[:len(line)-1]), " ")
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
