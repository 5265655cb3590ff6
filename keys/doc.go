// Package keys knows who may do what, and proves who did it: the authorized keys with their rules, the server's own
// host and signing keys, SSH signatures, and whose signatures count.
//
// # Words
//
// A user is a name; one user may have several keys, each with its own rules. A rule allows an action on a repository.
// A key is found by its bytes, never by its name or comment.
//
// # authorized_keys
//
// The file has OpenSSH's format (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"): one key a line, blank lines and lines that
// begin with '#' are comments. Exactly two options are known, both are needed, and both are quoted; inside the quotes
// \" is a quote:
//
//	# the web team
//	name="alice",allow="deploy:web,read:*" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… alice@laptop
//
//	name   1 to 64 of [A-Za-z0-9._@+-], the first a letter or a digit
//	allow  rules, separated by commas, without spaces
//
// The rules are
//
//	read:REPO    clone and fetch
//	node:REPO    read, and put the report of a node that has the key's name
//	witness:REPO read, and put cosignatures of a witness that has the key's name
//	push:REPO    read, and push
//	deploy:REPO  push, and what deploys: a target's ref, rollback, hold and resume
//	force:REPO   deploy, and overriding the previous hash and other users' holds
//	admin        everything
//
// where REPO is a repository's name, or * for any.
//
// Whatever is not understood makes its line unusable, and only its line: any other option (sshd would honour it, and
// this server does not), a missing name, a malformed rule, a certificate, a DSA key, an RSA key under 2048 bits, a key
// that an earlier usable line has already, a key whose base64 is not written as ssh-keygen writes it, more than 16 KiB.
// Such a line is an [ErrLine] and gives no access; the other lines go on working. Only a file over 64 MiB
// is refused as a whole.
//
// # Private keys
//
// Host and signing keys are unencrypted OpenSSH private keys (PROTOCOL.key of OpenSSH), mode 0600, with the public
// half beside them in a file named .pub.
//
// A key that is to follow another one is beside it, in a file named .next ([Signers]). It takes the other's place by
// [Replace]; until then both may sign.
//
// # Signatures
//
// Signatures are armored SSH signatures (PROTOCOL.sshsig of OpenSSH). What [Sign] makes, stock ssh-keygen checks:
//
//	ssh-keygen -Y verify -f allowed_signers -I h1 -n refship -s record.sig < record
//
// # Allowed signers
//
// Whose signatures count is said in OpenSSH's own format (ssh-keygen(1), "ALLOWED SIGNERS"), so that refship and stock
// ssh-keygen can share the file. A line has principals, options if there are any, and a key:
//
//	# the server, and the one before it
//	h1 namespaces="refship" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…
//	h1 namespaces="refship",valid-before="20261128194728Z" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… the old one
//
//	namespaces    a pattern list: what the key may sign; without it, anything
//	valid-after   YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z in UTC, else in local time
//	valid-before  likewise; that second is still valid
//
// A key may have several lines; a signature counts if one of them allows it. What refship allows, ssh-keygen allows for
// some of the line's principals. It is stricter with what is easily a mistake: cert-authority, principals that are
// missing or exclude everybody, days such as February 31, weak keys, text that is not UTF-8 or has control characters.
// Such a line is an [ErrLine] and allows nobody. A file over 1 MiB or 10,000 lines is refused as a whole.
// As in OpenSSH, local time is standard time even in summer: better write Z.
//
// # Invariants and concurrency
//
// A change writes a temporary file in the same directory, syncs it, renames it, and syncs the directory: a reader and
// a crash see the old file or the new one. Changes exclude each other, between processes too, by flock(2) on
// PATH.lock. Reading takes no lock. Nothing is cached, so a change is seen by the next call; a lookup reads the file
// once, in a few pieces of 16 KiB. All functions may be called from several goroutines.
package keys
