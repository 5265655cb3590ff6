// Package incoming reads what a client sends to git receive-pack, before git does, and bounds it.
//
// # Words
//
// The list is what a push begins with: its ref updates, and its push options. The pack is what follows. What a pack
// takes is an estimate of the memory that git needs for it.
//
// # Format
//
// gitprotocol-pack(5) and gitformat-pack(5). The list is made of pkt-lines, here two ref updates, the first with what
// the client is capable of behind a NUL, and one push option:
//
//	0092 <old> SP <new> SP refs/heads/main NUL report-status push-options
//	0070 <old> SP <new> SP refs/heads/other
//	0000
//	0012 deploy.dry-run
//	0000
//
// A shallow client's list begins with a line "shallow <oid>" for each commit whose parents it lacks, also where no ref
// update follows. A signed list has its updates in a certificate: a line "push-cert" with the capabilities, a header,
// an empty line, the updates, a signature, and "push-cert-end". Without push-options there is no second part. A list
// whose new oids are all zero deletes only, and no pack follows.
//
// A pack is "PACK", a version, the number of objects, the objects, and a checksum by the repository's hash. An object begins with its type and
// size, of a delta with what it builds upon, and goes on as a zlib stream. A delta's stream begins with the sizes of
// what it builds upon and of what it makes.
//
// # What git needs
//
// A few kilobytes of pack can make git take gigabytes: objects are compressed, and a delta may copy the same bytes many
// times. All that can be read off before git reads it, since zlib's streams need not be kept. git index-pack holds
// an entry for each object. It puts a commit, a tree, a tag and a small blob together in memory, one after the other; a
// large blob goes through in pieces (core.bigFileThreshold). For a delta it holds what it builds upon, the delta, and
// what it makes. See index-pack.c, resolve_delta and get_base_data, of git 2.36 and newer.
//
// # Invariants
//
//   - What cannot be read is git's to judge: this package gives what was read up to there, and git says what is wrong.
//   - Reading takes the same memory whatever is read, and no more time than its size: an object whose stream gives more
//     bytes than it claims ends the reading.
//
// # Concurrency
//
// There is nothing that calls share.
package incoming
