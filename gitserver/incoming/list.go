package incoming

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

const (
	// maxList bounds a list, in bytes: git keeps it all in memory, and hands it to the hooks.
	maxList = git.MaxInput
	// maxUpdate bounds a ref update, in bytes: two oids, a ref name, and what the client is capable of, which the first
	// one names. Names that may be longer than this are refused by the hooks.
	maxUpdate = 8 << 10
)

// List is what a push begins with.
type List struct {
	Bytes        []byte   // as they came
	Nothing      bool     // it came to its end and updates no ref: the client found nothing to push, or refused it all
	Updates      bool     // there is a ref update, and git will run hooks
	Pack         bool     // a pack follows
	Shallow      bool     // the client's repository lacks commits that its own ones name (git-clone(1), --depth)
	Capabilities []string // that the client asks for (gitprotocol-capabilities(5))
}

// ReadList reads a list to its end. A list that has no end, or that git will not understand, is no error: it is given
// up to there, and no pack follows. An error is about a limit (fault.Refused), or r's own.
func ReadList(r *bufio.Reader) (*List, error) {
	l := &listReader{r: r}
	err := l.read()
	if errors.Is(err, errNoList) {
		return &List{Bytes: l.all.Bytes(), Capabilities: l.capabilities}, nil
	}
	if err != nil {
		return nil, err
	}
	return &List{
		Bytes: l.all.Bytes(), Nothing: l.updates == 0, Updates: l.updates > 0, Pack: l.stores, Shallow: l.shallow,
		Capabilities: l.capabilities,
	}, nil
}

// parseOID reads an oid as git takes it from a client, in digits of either case (hex.c).
func parseOID(digits string) (git.OID, error) { return git.ParseOID(strings.ToLower(digits)) }

// errNoList is for what git will not understand.
var errNoList = errors.New("not a list of ref updates")

type listReader struct {
	r            *bufio.Reader
	all          bytes.Buffer
	updates      int
	shallow      bool
	stores       bool // there is an update that is no deletion
	options      bool // the client will send push options
	capabilities []string
}

func (l *listReader) read() error {
	for {
		line, err := l.line(maxUpdate)
		switch {
		case err != nil:
			return err
		case line == nil && l.updates == 0:
			return nil
		case line == nil && l.options:
			return l.readOptions()
		case line == nil:
			return nil
		}
		if err := l.update(string(line)); err != nil {
			return err
		}
	}
}

// update takes one line in: as read_head_info of receive-pack.c does.
func (l *listReader) update(line string) error {
	line, capabilities, given := strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
	if strings.HasPrefix(line, "shallow ") {
		l.shallow = true
		return nil
	}
	for _, c := range strings.FieldsFunc(capabilities, func(r rune) bool { return strings.ContainsRune(" \t\n\r", r) }) {
		l.options = l.options || given && (c == "push-options" || strings.HasPrefix(c, "push-options="))
		l.capabilities = append(l.capabilities, c)
	}
	if line == "push-cert" {
		return l.readCertificate()
	}
	return l.command(line)
}

// readCertificate reads a signed list of ref updates: a header, an empty line, the updates, and the signature. Only git
// can judge it (receive-pack.c, queue_commands_from_cert), and stores it before any hook can refuse it: one that is too
// large is refused here.
func (l *listReader) readCertificate() error {
	const header, updates, signature = 0, 1, 2
	begin := l.all.Len()
	for part := header; ; {
		line, err := l.line(maxUpdate)
		text := strings.TrimSuffix(string(line), "\n")
		switch {
		case err != nil:
			return err
		case l.all.Len()-begin > git.MaxCertificate:
			return git.CertificateTooLong()
		case line == nil: // the flush has to follow the certificate
			return errNoList
		case text == "push-cert-end":
			return nil
		case part == header && text == "":
			part = updates
		case part == updates && strings.HasPrefix(text, "-----BEGIN "):
			part = signature
		case part == updates:
			if err := l.command(text); err != nil {
				return err
			}
		}
	}
}

// command takes one ref update in: "<old> SP <new> SP <ref>".
func (l *listReader) command(line string) error {
	from, rest, _ := strings.Cut(line, " ")
	to, ref, _ := strings.Cut(rest, " ")
	_, errFrom := parseOID(from)
	oid, errTo := parseOID(to)
	if errFrom != nil || errTo != nil || ref == "" {
		return errNoList
	}
	l.stores = l.stores || !oid.IsZero()
	if l.updates++; l.updates > git.MaxUpdates {
		return git.TooManyUpdates()
	}
	return nil
}

func (l *listReader) readOptions() error {
	for {
		line, err := l.line(maxList)
		if err != nil || line == nil {
			return err
		}
	}
}

// line reads one pkt-line, nil for a flush. All that it reads is in l.all.
func (l *listReader) line(most int) ([]byte, error) {
	var length [4]byte
	if err := l.fill(length[:]); err != nil {
		return nil, err
	}
	size, err := strconv.ParseUint(string(length[:]), 16, 16)
	n := int(size)
	if err != nil || n > 0 && n < len(length) {
		return nil, errNoList
	}
	switch {
	case n == 0:
		return nil, nil
	case n > most:
		return nil, fault.Refuse("give it a shorter name", "a push names a ref in more than %s", text.Size(int64(most)))
	case l.all.Len()+n > maxList:
		return nil, git.NamesTooLong(maxList)
	}
	line := make([]byte, n-len(length))
	return line, l.fill(line)
}

// fill reads exactly len(b) bytes. An end of input before that is no list.
func (l *listReader) fill(b []byte) error {
	n, err := io.ReadFull(l.r, b)
	l.all.Write(b[:n])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoList
	}
	return err
}
