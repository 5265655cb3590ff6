package keys

import (
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/ssh"
	"refship/deploy/text"
)

const (
	lineRemedy = `a line is: name="NAME",allow="RULE,…" TYPE BASE64 COMMENT, without spaces between the options`
	copyRemedy = "copy the key again from its .pub file"
)

// noKeyError says why a line, without the spaces around it, holds no key: the library, which found none, tells that to
// programmers only.
func noKeyError(line string) error {
	kind, rest := cutWord(line)
	if !isKeyType(kind) {
		options := kind
		if kind, rest = cutWord(rest); !isKeyType(kind) {
			return noTypeError(options, kind)
		}
	}
	text, _ := cutWord(rest)
	if text == "" {
		return withRemedy(copyRemedy, "there is no key after %s", clip(kind))
	}
	return brokenKeyError(kind, text)
}

// noTypeError is for a line of which neither the first word, which can be options, nor the second one is a key type.
func noTypeError(first, second string) error {
	switch {
	case (strings.Count(first, `"`)-strings.Count(first, `\"`))%2 != 0:
		return withRemedy(lineRemedy, "a quote in the options is not closed")
	case !strings.ContainsAny(first, "=,"):
		return withRemedy(lineRemedy, "%q is no key type, such as ssh-ed25519", clip(first))
	case second == "":
		return withRemedy(lineRemedy, "there is no key after the options")
	}
	return withRemedy(lineRemedy, "%q, after the options, is no key type, such as ssh-ed25519", clip(second))
}

// brokenKeyError says what is wrong with a key's base64.
func brokenKeyError(kind, text string) error {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return withRemedy(copyRemedy, "what follows %s is no base64, or cut short", clip(kind))
	}
	var head struct {
		Kind string
		Rest []byte `ssh:"rest"`
	}
	switch err := ssh.Unmarshal(blob, &head); {
	case err != nil || !isKeyType(head.Kind):
		return withRemedy(copyRemedy, "what follows %s is no key, or cut short", clip(kind))
	case head.Kind != kind:
		return withRemedy(copyRemedy, "the line says %s, and the key in it is of the type %s", clip(kind),
			clip(head.Kind))
	}
	if _, err := ssh.ParsePublicKey(blob); err != nil && isSupported(kind) {
		return withRemedy(copyRemedy, "the key of the type %s is damaged, or cut short", kind)
	}
	return withRemedy(strongRemedy, "key type %q is not supported", clip(kind))
}

// isKeyType tells whether a word looks like the first one of a public key
// (https://www.iana.org/assignments/ssh-parameters).
func isKeyType(word string) bool {
	other := func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("-@._", r) }
	for _, start := range []string{"ssh-", "sk-ssh-", "ecdsa-sha2-", "sk-ecdsa-sha2-", "rsa-sha2-"} {
		if strings.HasPrefix(word, start) && !strings.ContainsFunc(word, other) {
			return true
		}
	}
	return false
}

// cutWord cuts the first word off, which spaces end that are in no quotes.
func cutWord(s string) (word, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (s[i] == ' ' || s[i] == '\t'):
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

// clip shortens what is quoted in a message.
func clip(s string) string { return text.Shorten(s, 60) }
