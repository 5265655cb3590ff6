package reply

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"refship/deploy/text"
)

const (
	lengthDigits = 4
	// maxPacket is the longest pkt-line, in bytes (pkt-line.h, LARGE_PACKET_MAX).
	maxPacket = 65520
	// maxWhy bounds why a ref is denied, in bytes: clients show it in one line.
	maxWhy = 500

	flush = "0000"
	// bandReport is the report's band.
	bandReport = "\x01"
)

// Reply is git's answer to one push on its way to the client.
type Reply struct {
	to io.Writer

	mu       sync.Mutex
	banded   bool   // the client asked for side-band-64k
	rest     []byte // the beginning of a pkt-line
	answered part
	report   []byte // held
	flushed  bool   // git's answer came to its end
	odd      []byte // held: what is not in the format, and all after it
}

// part is how far an answer has come.
type part int

const (
	advertising part = iota
	reporting
	broken // what follows is not in the format
)

// New gives a Reply to a client. End must follow the last Write.
func New(to io.Writer) *Reply { return &Reply{to: to} }

// Asked tells what the client asks for. It comes before git is told.
func (r *Reply) Asked(capabilities []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.banded = slices.Contains(capabilities, "side-band-64k")
}

// Write takes what git writes, and passes on what need not wait. The error is the client's.
func (r *Reply) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, p...)
	var pass []byte
	left := r.rest
	for len(left) > 0 {
		packet := r.next(left)
		if packet == nil {
			break
		}
		left = left[len(packet):]
		if r.take(packet) {
			pass = append(pass, packet...)
		}
	}
	r.rest = append(r.rest[:0], left...)
	if len(pass) == 0 {
		return len(p), nil
	}
	if _, err := r.to.Write(pass); err != nil {
		return 0, err
	}
	return len(p), nil
}

// next cuts off the first pkt-line, with its length; nil: it has not come as a whole. Of what is none it gives all.
func (r *Reply) next(b []byte) []byte {
	if r.answered == broken || r.answered == reporting && !r.banded {
		return b
	}
	n, whole := packetLength(b)
	switch {
	case n < 0:
		r.answered = broken
		return b
	case !whole:
		return nil
	}
	return b[:n]
}

// packetLength is how long the pkt-line is that b begins with, and whether b has all of it; -1 if it is none.
func packetLength(b []byte) (n int, whole bool) {
	if len(b) < lengthDigits {
		return lengthDigits, false
	}
	size, err := strconv.ParseUint(string(b[:lengthDigits]), 16, 16)
	n = int(size)
	switch {
	case err != nil, n > maxPacket, n > 0 && n <= lengthDigits:
		return -1, false
	case n == 0:
		return lengthDigits, true
	}
	return n, len(b) >= n
}

// take takes a pkt-line in, and tells whether it is passed on at once.
func (r *Reply) take(packet []byte) bool {
	isFlush := string(packet) == flush
	switch {
	case r.answered == advertising:
		if isFlush {
			r.answered = reporting
		}
		return true
	case r.answered == reporting && !r.banded:
		r.report = append(r.report, packet...)
		return false
	case r.answered == reporting && isFlush && !r.flushed:
		r.flushed = true
		return false
	case r.answered == broken, r.flushed:
		r.answered = broken
		r.odd = append(r.odd, packet...)
		return false
	}
	content := packet[lengthDigits:]
	if !bytes.HasPrefix(content, []byte(bandReport)) || len(content) == len(bandReport) {
		return true
	}
	r.report = append(r.report, content[len(bandReport):]...)
	return false
}

// End passes on what was held. deny says why a ref that git moved is not deployed, "" if it is; nil: none is denied.
func (r *Reply) End(deny func(ref string) (why string)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered == advertising { // git was broken off
		_, err := r.to.Write(r.rest)
		return err
	}
	report, odd := r.report, append(r.odd, r.rest...)
	if deny != nil {
		report, odd = rewrite(report, deny), nil
	}
	var out []byte
	switch {
	case r.banded:
		for piece := range slices.Chunk(report, maxPacket-lengthDigits-len(bandReport)) {
			out = append(out, packetOf(bandReport+string(piece))...)
		}
		if r.flushed {
			out = append(out, flush...)
		}
	default:
		out = report
	}
	out = append(out, odd...)
	if len(out) == 0 {
		return nil
	}
	_, err := r.to.Write(out)
	return err
}

// rewrite denies refs in a report. What is no report from there on is dropped.
func rewrite(report []byte, deny func(ref string) string) []byte {
	var out bytes.Buffer
	denied := false // the ref that lines "option" are about
	for {
		n, whole := packetLength(report)
		if !whole {
			return out.Bytes()
		}
		packet := report[:n]
		report = report[n:]
		line := strings.TrimSuffix(string(packet[lengthDigits:]), "\n")
		if ref, ok := strings.CutPrefix(line, "ok "); ok {
			why := deny(ref)
			if denied = why != ""; denied {
				packet = packetOf("ng " + ref + " " + text.Printable(text.Shorten(why, maxWhy)) + "\n")
			}
		} else if !strings.HasPrefix(line, "option ") {
			denied = false
		} else if denied {
			continue
		}
		out.Write(packet)
	}
}

func packetOf(content string) []byte {
	return fmt.Appendf(nil, "%04x%s", lengthDigits+len(content), content)
}
