package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const tokenSize = 32 // bytes: too many to be guessed

// token is a secret that is good for something. Only its hash is kept.
type token [tokenSize]byte

func newToken() token {
	var t token
	_, _ = rand.Read(t[:]) // it never fails
	return t
}

func (t token) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

func (t token) hash() [sha256.Size]byte { return sha256.Sum256(t[:]) }

// parseToken reads a token as String writes it, in no other spelling.
func parseToken(text string) (t token, ok bool) {
	if base64.RawURLEncoding.DecodedLen(len(text)) != tokenSize {
		return token{}, false
	}
	read, err := base64.RawURLEncoding.Strict().AppendDecode(nil, []byte(text))
	if err != nil || len(read) != tokenSize { // it leaves line breaks out
		return token{}, false
	}
	return token(read), true
}

// parseLink reads the token of a link that a person has pasted, or that token alone.
func parseLink(text string) (token, bool) {
	text = strings.TrimSpace(text)
	return parseToken(text[strings.LastIndexByte(text, '#')+1:])
}

// holder is whom a token is good for.
type holder struct {
	key  ssh.PublicKey
	made time.Time
	used time.Time
}

// tokens are those that are good for one thing.
type tokens struct {
	life   time.Duration // after which a token is good no more
	idle   time.Duration // the same without a use
	perKey int           // one more takes the place of the key's that was used longest ago
	all    int           // the same for all keys together

	mu   sync.Mutex
	good map[[sha256.Size]byte]*holder
}

func newTokens(life, idle time.Duration, perKey, all int) *tokens {
	return &tokens{life: life, idle: idle, perKey: perKey, all: all, good: make(map[[sha256.Size]byte]*holder)}
}

func (s *tokens) isOver(h *holder, now time.Time) bool {
	return now.Sub(h.made) >= s.life || now.Sub(h.used) >= s.idle
}

// add makes a token for a key.
func (s *tokens) add(key ssh.PublicKey) token {
	t, now, whose := newToken(), time.Now(), string(key.Marshal())
	s.mu.Lock()
	defer s.mu.Unlock()
	var own, every oldest
	for hash, h := range s.good {
		if s.isOver(h, now) {
			delete(s.good, hash)
			continue
		}
		every.see(hash, h)
		if string(h.key.Marshal()) == whose {
			own.see(hash, h)
		}
	}
	if own.seen >= s.perKey {
		delete(s.good, own.hash)
	} else if every.seen >= s.all {
		delete(s.good, every.hash)
	}
	s.good[t.hash()] = &holder{key: key, made: now, used: now}
	return t
}

// oldest finds the token that was used longest ago.
type oldest struct {
	seen int
	hash [sha256.Size]byte
	used time.Time
}

func (o *oldest) see(hash [sha256.Size]byte, h *holder) {
	if o.seen == 0 || h.used.Before(o.used) {
		o.hash, o.used = hash, h.used
	}
	o.seen++
}

// use gives the key of a token that is good, and nil for any other.
func (s *tokens) use(t token) ssh.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, now := s.good[t.hash()], time.Now()
	if h == nil || s.isOver(h, now) {
		return nil
	}
	h.used = now
	return h.key
}

// spend is use, for the last time.
func (s *tokens) spend(t token) ssh.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.good[t.hash()]
	delete(s.good, t.hash())
	if h == nil || s.isOver(h, time.Now()) {
		return nil
	}
	return h.key
}
