// Package keys knows who may do what, and proves who did it: the authorized keys with their rules, the server's own
// host and signing keys, and SSH signatures.
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
//	push:REPO    read, and push
//	deploy:REPO  push, and what deploys: a target's ref, rollback, hold and resume
//	force:REPO   deploy, and overriding the previous hash and other users' holds
//	admin        everything
//
// where REPO is a repository's name, or * for any.
//
// Whatever is not understood makes its line unusable, and only its line: any other option (sshd would honour it, and
// this server does not), a missing name, a malformed rule, a certificate, a DSA key, an RSA key under 2048 bits, a
// key that an earlier usable line has already, a key whose base64 is not written as ssh-keygen writes it, more than
// 16 KiB. Such a line is a [LineError] and gives no access; the other lines go on working. Only a file over 64 MiB is
// refused as a whole.
//
// # Private keys
//
// Host and signing keys are unencrypted OpenSSH private keys (PROTOCOL.key of OpenSSH), mode 0600, with the public
// half beside them in a file named .pub.
//
// # Signatures
//
// Signatures are armored SSH signatures (PROTOCOL.sshsig of OpenSSH). What [Sign] makes, stock ssh-keygen checks:
//
//	echo 'refship namespaces="refship" ssh-ed25519 AAAA…' > allowed_signers
//	ssh-keygen -Y verify -f allowed_signers -I refship -n refship -s record.sig < record
//
// # Invariants and concurrency
//
// A change writes a temporary file in the same directory, syncs it, renames it, and syncs the directory: a reader and
// a crash see the old file or the new one. Changes exclude each other, between processes too, by flock(2) on
// PATH.lock. Reading takes no lock. Nothing is cached, so a change is seen by the next call; a lookup reads the file
// once, in a few pieces of 16 KiB. All functions may be called from several goroutines.
package keys
