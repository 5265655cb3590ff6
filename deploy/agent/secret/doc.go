// Package secret decrypts what is age-encrypted in a release, on the node that runs it.
//
// A file x.age (https://age-encryption.org/v1, binary or armored) becomes x beside it, which only its owner can read.
// x.age stays. etcd, the server and git only ever hold x.age.
//
// # Identities
//
// [Read] takes a file of age identities, one a line, as age-keygen writes it, or a private key of SSH without a
// passphrase. [ReadOrMake] makes an age identity where there is none. The [Identity.Recipients] are what others encrypt
// to with age -r; they are public.
//
// # Invariants
//
//   - Nothing is replaced: where x is beside x.age already, the release is refused.
//   - Of a file whose decryption fails nothing is left. age authenticates what it decrypts, piece by piece.
//   - Files are reached through an os.Root. Symbolic links are not followed.
package secret
