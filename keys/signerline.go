package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signer is one line of an allowed signers file.
type Signer struct {
	Principals string    // a pattern list, who signs; for display only
	Namespaces string    // a pattern list, the namespaces of signatures; "*" where the line has no such option
	After      time.Time // valid from that second on; zero: always was
	Before     time.Time // valid until that second, and in it; zero: always will be
	PublicKey  ssh.PublicKey
	Comment    string // UTF-8 without control characters
}

const (
	signerRemedy    = `a line is: PRINCIPAL namespaces="refship" TYPE BASE64 COMMENT`
	namespacesWord  = "namespaces"
	validAfterWord  = "valid-after"
	validBeforeWord = "valid-before"
	authorityWord   = "cert-authority"
	timeFormat      = "20060102150405"
	timeRemedy      = "write YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ; Z is UTC, without it it is local time"
)

// Principal makes a name, such as a host's, fit for one principal of a line: what means something in a pattern list, or
// ends it, becomes '-'.
func Principal(name string) string {
	fit := strings.Map(func(r rune) rune {
		if isAlnum(r) || strings.ContainsRune("._@+-:", r) {
			return r
		}
		return '-'
	}, name)
	if fit == "" {
		return "-"
	}
	return fit
}

// Line is the signer as a line of the file, with its newline. Times are in UTC: OpenSSH before 9.1 cannot read them.
func (s *Signer) Line() string {
	var options []string
	add := func(word, value string) {
		options = append(options, word+`="`+strings.ReplaceAll(value, `"`, `\"`)+`"`)
	}
	if s.Namespaces != "*" {
		add(namespacesWord, s.Namespaces)
	}
	if !s.After.IsZero() {
		add(validAfterWord, s.After.UTC().Format(timeFormat)+"Z")
	}
	if !s.Before.IsZero() {
		add(validBeforeWord, s.Before.UTC().Format(timeFormat)+"Z")
	}
	words := []string{s.Principals}
	if strings.ContainsAny(s.Principals, " \t") {
		words[0] = `"` + s.Principals + `"`
	}
	if len(options) > 0 {
		words = append(words, strings.Join(options, ","))
	}
	words = append(words, string(bytes.TrimSuffix(ssh.MarshalAuthorizedKey(s.PublicKey), []byte("\n"))))
	if s.Comment != "" {
		words = append(words, s.Comment)
	}
	return strings.Join(words, " ") + "\n"
}

// parseSigner parses one line; times without Z are of that location. A comment or a blank line gives nil, nil. With an
// error, the signer's PublicKey may be set, if it was understood; its signatures do not count.
func parseSigner(text []byte, local *time.Location) (*Signer, error) {
	if len(text) > maxLine {
		return &Signer{}, withRemedy("split it into several lines", "line is longer than %d bytes", maxLine)
	}
	line := strings.Trim(string(text), " \t\r\n")
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	s := &Signer{Namespaces: "*"}
	if err := checkText(line); err != nil {
		return s, withRemedy(signerRemedy, "%w", err)
	}
	principals, rest, err := cutPrincipals(line)
	if err != nil {
		return s, err
	}
	s.Principals = principals
	options := ""
	if kind, _ := cutBlank(rest); !isKeyType(kind) {
		options, rest, err = cutOptions(rest)
	}
	if err == nil {
		s.PublicKey, s.Comment, err = parseSignerKey(rest)
	}
	if err != nil && isKeyType(principals) { // the line of a .pub file
		err = withRemedy(signerRemedy, "there are no principals before the key")
	}
	if err != nil {
		return s, err
	}
	if err := checkPrincipals(principals); err != nil {
		return s, err
	}
	return s, s.parseOptions(options, local)
}

// checkPrincipals refuses what ssh-keygen would find nobody in. Options without principals before them are read as
// such; here, where principals are only for display, the key would be good for more than they say.
func checkPrincipals(list string) error {
	switch {
	case strings.Contains(list, "=") || strings.EqualFold(list, authorityWord):
		return withRemedy(signerRemedy, "there are no principals before the options")
	case strings.Trim(list, ",") == "":
		return withRemedy(signerRemedy, "the principals are empty")
	}
	for pattern := range strings.SplitSeq(list, ",") {
		if pattern != "" && pattern[0] != '!' {
			return nil
		}
	}
	return withRemedy(signerRemedy, "the principals %q only say who it is not", clip(list))
}

// cutBlank cuts the first word off, which a space or a tab ends.
func cutBlank(s string) (word, rest string) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t")
}

// cutPrincipals cuts the principals off as OpenSSH's strdelimw does: the first quote begins what spaces do not end, and
// the second one ends the principals.
func cutPrincipals(line string) (principals, rest string, err error) {
	before, after, _ := strings.Cut(line, `"`)
	if strings.ContainsAny(before, " \t") || before == line {
		principals, rest = cutBlank(line)
	} else {
		quoted, behind, closed := strings.Cut(after, `"`)
		if !closed {
			return "", "", withRemedy(signerRemedy, "a quote in the principals is not closed")
		}
		principals, rest = before+quoted, strings.TrimLeft(behind, " \t")
	}
	if rest == "" {
		return "", "", withRemedy(signerRemedy, "there is no key after the principals")
	}
	return principals, rest, nil
}

// cutOptions cuts the options off, which a space or a tab ends that is in no quotes.
func cutOptions(s string) (options, rest string, err error) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && (s[i] == ' ' || s[i] == '\t'):
			return s[:i], strings.TrimLeft(s[i:], " \t"), nil
		}
	}
	if quoted {
		return "", "", withRemedy(signerRemedy, "a quote in the options is not closed")
	}
	return "", "", withRemedy(signerRemedy, "there is no key after %q", clip(s))
}

func parseSignerKey(text string) (pub ssh.PublicKey, comment string, err error) {
	kind, rest := cutBlank(text)
	encoded, comment := cutBlank(rest)
	switch {
	case !isKeyType(kind):
		return nil, "", withRemedy(signerRemedy, "%q is no key type, such as ssh-ed25519", clip(kind))
	case encoded == "":
		return nil, "", withRemedy(copyRemedy, "there is no key after %s", clip(kind))
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		pub, err = ssh.ParsePublicKey(blob)
	}
	if err != nil || pub.Type() != kind {
		return nil, "", brokenKeyError(kind, encoded)
	}
	if string(keyBase64(pub)) != encoded {
		return nil, "", withRemedy(copyRemedy, "the key's base64 is not as ssh-keygen writes it")
	}
	if err := checkPublicKey(pub); err != nil {
		return nil, "", err
	}
	return pub, comment, nil
}

// parseOptions sets what the options say. As in OpenSSH their words have any case, and a comma may have nothing before
// it, but must have something behind it.
func (s *Signer) parseOptions(text string, local *time.Location) error {
	seen := make(map[string]bool)
	for text != "" {
		if text[0] != ',' {
			word, value, rest, err := cutSignerOption(text)
			if err == nil && seen[word] {
				err = withRemedy("remove one of them", "option %q is given twice", word)
			}
			if err == nil {
				err = s.setOption(word, value, local)
			}
			if err != nil {
				return err
			}
			seen[word], text = true, rest
		}
		if text == "," {
			return withRemedy("remove it", "there is no option after the last comma")
		}
		text = strings.TrimPrefix(text, ",")
	}
	if !s.After.IsZero() && !s.Before.IsZero() && !s.Before.After(s.After) {
		return withRemedy("exchange the times", "%s is not later than %s", validBeforeWord, validAfterWord)
	}
	return nil
}

// cutSignerOption cuts the first option off. The word comes in lower case; rest is empty or begins with a comma.
func cutSignerOption(text string) (word, value, rest string, err error) {
	word = text
	end := strings.IndexAny(text, "=,")
	if end >= 0 {
		word = text[:end]
	}
	lower := strings.ToLower(word)
	switch lower {
	case namespacesWord, validAfterWord, validBeforeWord:
	case authorityWord:
		return "", "", "", withRemedy("name each key on a line of its own", "%s is not supported", authorityWord)
	default:
		return "", "", "", withRemedy(
			fmt.Sprintf("the options are %s, %s and %s; remove it", namespacesWord, validAfterWord, validBeforeWord),
			"unknown option %q", clip(word))
	}
	var ok bool
	if strings.HasPrefix(text[len(word):], "=") {
		value, rest, ok = cutQuoted(text[len(word)+1:])
	}
	if !ok || rest != "" && rest[0] != ',' {
		return "", "", "", withRemedy(fmt.Sprintf(`write %s="…"`, lower), "option %q has no quoted value", lower)
	}
	return lower, value, rest, nil
}

func (s *Signer) setOption(word, value string, local *time.Location) (err error) {
	switch word {
	case namespacesWord:
		s.Namespaces = value
	case validAfterWord:
		s.After, err = parseTime(value, local)
	case validBeforeWord:
		s.Before, err = parseTime(value, local)
	}
	if err != nil {
		return withRemedy(timeRemedy, "%s=%q is no time: %w", word, clip(value), err)
	}
	return nil
}

// parseTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in UTC with Z or UTC behind it, else in local time. Like
// OpenSSH it takes local time for standard time even in summer: a key must be good for refship exactly where
// ssh-keygen finds it good.
func parseTime(value string, local *time.Location) (time.Time, error) {
	digits, utc := value, false
	for _, suffix := range []string{"Z", "UTC"} {
		if cut := len(value) - len(suffix); cut > 0 && strings.EqualFold(value[cut:], suffix) {
			digits, utc = value[:cut], true
			break
		}
	}
	if n := len(digits); n != 8 && n != 12 && n != 14 || strings.Trim(digits, "0123456789") != "" {
		return time.Time{}, errors.New("it does not have 8, 12 or 14 digits")
	}
	wall, err := time.Parse(timeFormat[:len(digits)], digits)
	if err != nil {
		return time.Time{}, errors.New("there is no such day or time")
	}
	if !utc {
		wall = wall.Add(-standardOffset(wall, local))
	}
	if wall.Unix() <= 0 {
		return time.Time{}, errors.New("it is not after 1970")
	}
	return wall, nil
}

// standardOffset is by how much standard time is ahead of UTC, at a place and at about that time of its clocks.
func standardOffset(wall time.Time, local *time.Location) time.Duration {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, local)
	if start, end := t.ZoneBounds(); t.IsDST() {
		if before := start.Add(-time.Second); !start.IsZero() && !before.IsDST() {
			t = before
		} else if !end.IsZero() && !end.IsDST() {
			t = end
		}
	}
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
