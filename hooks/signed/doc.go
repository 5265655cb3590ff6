// Package signed judges what git signs: push certificates, commits and tags, and says what a target lacks that requires
// signatures.
//
// # Whose signatures count
//
// The allowed signers (package keys) whose line lets them sign in the namespace "git", for SSH signatures. For OpenPGP
// the keys of a keyring beside them, which gpgv reads: without that file, or without gpgv, such a signature cannot be
// checked, and does not count. A push certificate may also be signed by any key of the user whose key authenticated.
// Commits and tags may not: a stolen key that may push must not be able to make what it pushes look signed.
//
// The signature of a commit or a tag has to be allowed both at the time that it says and now: what git verify-commit
// does not take is not taken here, and a key that has ended vouches for nothing new, whatever time it writes.
//
// # Push certificates
//
// receive-pack offers a nonce (receive.certNonceSeed), `git push --signed` signs it with the ref updates and options,
// and git hands the certificate's oid and the nonce's status to the hooks. Its own judgement of the signature is not
// used: it would run the programs that its config names. A certificate whose signature does not cover it, or that asks
// for something else than the push does, refuses the push, whatever the target requires. One with a nonce that is not
// this server's for this push may be an old one: it is told, and not kept.
//
// The signer is told, and in the certificate. Who pushed stays the key that authenticated.
//
// # Concurrency
//
// A [Trust] may be used by many goroutines.
package signed
