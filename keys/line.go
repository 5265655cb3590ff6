package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// maxName is the longest user name, in bytes.
const maxName = 64

// Key is one usable line of authorized_keys.
type Key struct {
	Name      string // the user: 1 to 64 of [A-Za-z0-9._@+-], first a letter or digit
	Rules     []Rule // at least one
	PublicKey ssh.PublicKey
	Comment   string // UTF-8 without control characters
	Line      int    // 1-based
}

// Fingerprint is OpenSSH's: "SHA256:" and unpadded base64.
func (k *Key) Fingerprint() string { return ssh.FingerprintSHA256(k.PublicKey) }

// May says whether a rule of the key allows action on repository. Admin is allowed by the rule admin only, whatever
// repository is.
func (k *Key) May(action Action, repository string) bool {
	for _, r := range k.Rules {
		if r.allows(action, repository) {
			return true
		}
	}
	return false
}

// line is the key as a line of authorized_keys, with its newline.
func (k *Key) line() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `name="%s",allow="%s" `, k.Name, FormatRules(k.Rules))
	b.Write(bytes.TrimSuffix(ssh.MarshalAuthorizedKey(k.PublicKey), []byte("\n")))
	if k.Comment != "" {
		b.WriteString(" " + k.Comment)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// parseLine parses one line. A comment or a blank line gives nil, nil. With an error, the key holds what was
// understood before it: PublicKey and Name may be set, and it gives no access.
func parseLine(text []byte) (*Key, error) {
	length := len(bytes.TrimRight(text, "\r\n"))
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, []byte("#")) {
		return nil, nil
	}
	key := &Key{}
	if err := checkLineLength(length); err != nil { // with its spaces: only the beginning of a long line may be here
		return key, err
	}
	if len(text) == 0 {
		return nil, nil
	}
	if err := checkText(string(text)); err != nil {
		return key, err
	}
	pub, comment, options, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return key, fmt.Errorf("parse key: %w", noKeyError(string(text)))
	}
	key.PublicKey, key.Comment = pub, comment
	// The library drops empty options; here nothing is dropped.
	rest, ok := strings.CutPrefix(string(text), strings.Join(options, ","))
	if len(options) > 0 && (!ok || strings.TrimLeft(rest, " \t") == rest) {
		return key, errors.New("parse options: an option is empty")
	}
	if err := key.parseOptions(options); err != nil {
		return key, err
	}
	if err := checkPublicKey(pub); err != nil {
		return key, err
	}
	// The library takes some other spellings, too; one for each key lets Find look for it.
	if !bytes.Contains(text, keyBase64(pub)) {
		return key, withRemedy("copy the key again from its .pub file",
			"the key's base64 is not as ssh-keygen writes it")
	}
	return key, nil
}

// keyBase64 is how a line writes a key.
func keyBase64(pub ssh.PublicKey) []byte {
	return []byte(base64.StdEncoding.EncodeToString(pub.Marshal()))
}

func checkLineLength(n int) error {
	if n > maxLine {
		return withRemedy("use * for many repositories, or several keys", "line is longer than %d bytes", maxLine)
	}
	return nil
}

// parseOptions sets the key's name and rules. The name is set first, so that it is known even when the rest is wrong.
func (k *Key) parseOptions(options []string) error {
	values := make(map[string]string)
	var wrong error
	for _, option := range options {
		name, quoted, _ := strings.Cut(option, "=")
		value, ok := unquote(quoted)
		_, again := values[name]
		switch {
		case name != "name" && name != "allow":
			wrong = withRemedy("only the options name and allow are known; remove it", "unknown option %q", name)
		case again:
			wrong = fmt.Errorf("option %q is given twice", name)
		case !ok:
			wrong = withRemedy(fmt.Sprintf(`write %s="…"`, name), "option %q has no quoted value", name)
		default:
			values[name] = value
		}
	}
	name, ok := values["name"]
	if err := CheckName(name); ok && err == nil {
		k.Name = name
	} else if ok && wrong == nil {
		wrong = err
	}
	if wrong != nil {
		return wrong
	}
	for _, need := range []string{"name", "allow"} {
		if _, ok := values[need]; !ok {
			return withRemedy(fmt.Sprintf(`put %s="…" before the key`, need), "option %q is missing", need)
		}
	}
	var err error
	k.Rules, err = ParseRules(values["allow"])
	return err
}

// unquote gives what is inside an option's quotes.
func unquote(s string) (string, bool) {
	value, rest, ok := cutQuoted(s)
	return value, ok && rest == ""
}

// cutQuoted cuts a quoted value off. As in OpenSSH, \" is a quote and every other backslash is itself.
func cutQuoted(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
		case s[i] == '"':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// CheckName says what keeps a text from being a user's name.
func CheckName(name string) error {
	wrong := func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("._@+-", r) }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, wrong) || !isAlnum(rune(name[0])) {
		return withRemedy(
			fmt.Sprintf("a name is 1 to %d letters, digits and . _ @ + -, and begins with a letter or a digit",
				maxName),
			"user name %q is not allowed", name)
	}
	return nil
}

// checkText refuses what must not reach a terminal or a line of the file.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("text is not UTF-8")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return errors.New("text has a control character")
	}
	return nil
}
