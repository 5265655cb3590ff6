// Package session decides who gets to the page, and as whom: one-time links, sessions, users that a proxy names, and
// the certificate of the port.
//
// # Words
//
// A [Door] stands between all browsers and the page. A link is a URL with a secret in it; it is made over SSH, for a
// key that has authenticated there, and signs a browser in as that key. A session is what a browser has then: a
// secret in a cookie. A proxy is an address whose requests are the page's, and may name their user in a header, if
// that is configured.
//
// # Who gets in
//
// A request goes through these, in this order, and a refusal is the end of it:
//
//  1. The connection. Over plain HTTP only a proxy is answered; where no proxy is configured, only this machine.
//  2. The host. It is the one of [Config].URL, so that no other name which leads here (DNS rebinding) has a page.
//  3. The origin. What changes something comes from the page itself ([http.CrossOriginProtection]).
//  4. The user: of the header where a proxy sent it, else of the session. A header from anywhere else is taken away.
//  5. How much the user asks for at a time.
//
// The user's rules are read from the keys file at each request, and again while a stream of events is open. A key that
// was removed, or lost its rules, is out with its next request. A user whom a proxy names has the rules of all keys of
// that name together.
//
// # Links
//
//	https://deploy.example.com/login#6cVs2XKxDZwP7sSUPXzPAkm8Jm7UPwPzkqXmFzD3Xko
//
// The secret is 32 random bytes in base64url, behind the '#': a browser sends that part to no server. So it is in no
// log and in no Referer, also of a proxy in between, and a program that looks at the link beforehand sees an empty
// form. The form's script puts the secret into the form and takes it out of the address; without script, a person
// pastes the link. Only the form, which is a POST, spends it.
//
// A link is good once and for 10 minutes. A key has at most 4, and the fifth is in place of the oldest. Guesses are
// not counted: there are 2^256 secrets, each costs a hash, and a bound would let strangers keep others from signing
// in.
//
// # Sessions
//
// The cookie has another 32 random bytes. It is HttpOnly, without a Domain, and with Path=/. It is Secure and has the
// prefix __Host- where the URL is https. It is SameSite=Lax and not Strict: a link to a deploy in a chat leads to the
// page then and not to the form, and no GET changes anything. Its name has the port, because cookies of one host are
// sent to all of its ports.
//
// A session ends 12 hours after it began, 2 hours after its last request, by POST /logout, with its key, and with the
// server. A key has at most 16.
//
// # Invariants
//
// No secret is kept, only its SHA-256: who reads the process's memory later finds none to use. Links and sessions are
// apart, and one is never taken for the other. A request that names its user twice, or in words that are no user's
// name, has no user, and does not fall back to a session; neither does one with two cookies.
//
// # Concurrency
//
// All functions may be called at the same time. Nothing here writes to disk.
package session
