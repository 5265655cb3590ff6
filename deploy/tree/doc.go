// Package tree holds what refship and git both know of a tree: oids, entries, the text that refship stores of a
// directory, and a plain directory read as git would store it. It runs no git: deploy/git reads repositories.
//
// # Words
//
// Commit, tree, blob and oid are git's. A node is one directory as text: what a git tree says of each entry, and the
// size and sha256 besides. So a signature over a node's sha256 covers every byte below it by sha256, and not by git's
// SHA-1 alone.
//
// # Oids
//
// An [OID] has 20 bytes (SHA-1) or 32 (SHA-256). It is parsed where it comes in, compared with ==, and printed in
// hex, in JSON, too. All zeros are the zero OID, which prints as 40 zeros. The type stands here because entries have
// oids: the packages above deploy/git call it git.OID, deploy and what is below it tree.OID.
//
// An oid's length says its [Format], which is that of its repository: a tree, or a history, has oids of one format. What
// is computed here is of the format that the caller names. A directory without entries is one node in both formats, and
// has an oid in each.
//
// # Git objects
//
// [ParseCommit], [ParseTree], [OfTag] and their like read git's objects of either format, as git does, and refuse what
// others could read as something else.
//
// # Format of a node
//
// A node is its entries one after another, nothing before, between or behind them; a directory without entries is the
// empty text. An entry is
//
//	<mode> SP <oid> SP <size> SP <sha256> TAB <name> NUL
//
// where SP, TAB and NUL are the single bytes 0x20, 0x09 and 0x00, and
//
//   - mode is as in a raw git tree, octal without leading zeros, one of 100644 (file), 100755 (executable file),
//     120000 (symbolic link, whose content is where it points to), 40000 (directory), 160000 (submodule);
//   - oid is the git oid of blob, tree or, for a submodule, commit, all of one kind: 40 digits of lower-case hex, or
//     64 in a repository with SHA-256 objects;
//   - size is the length in bytes of the blob, or of the directory's own node: decimal, no leading zeros, below 2^63;
//   - sha256 is that of the same bytes: 64 digits of lower-case hex;
//   - for a submodule both size and sha256 are "-": only its commit is recorded;
//   - name is one path element, raw bytes, in no particular encoding and with no quoting. It may hold anything, also a
//     tab or a line feed, but is never empty, ".", "..", ".git" or what some file system takes for it
//     ([ErrDotGit]), and holds no slash and no NUL.
//
// Entries are in git's order: by name, bytewise, a directory as if its name ended with a slash. No name occurs twice,
// not even once as a file and once as a directory.
//
// A directory has exactly one text. ParseNode refuses every other, so that equal directories have equal keys and
// hashes. The git tree's oid can be recomputed from the node (Node.OID), since mode, name and oid are all that a git
// tree holds (git-mktree(1), git-fast-import(1), gitformat-pack(5)).
//
// As an example, a directory with a link README → etc/motd, a directory etc that holds a file motd, an executable
// file "run me" and a submodule (each line ends after its NUL; there are no line feeds in the text itself):
//
//	120000 edb9224b4a27bc17bc4553f564f835cdbf1fa43c 8 993a35987598be2d638cb90d8df247c815c83bd30ebcebe69ecaf5ee51354054<TAB>README<NUL>
//	40000 411ddf9284c245a2aa1f7087804e39da26b28c15 120 59250463bbfd310e1bd5b90569374f4e0155bed90a86981d74be493ab1817675<TAB>etc<NUL>
//	100755 1a2485251c33a70432394c93fb89330ef214bfc9 10 a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf<TAB>run me<NUL>
//	160000 5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80 - -<TAB>vendor<NUL>
//
// It is 424 bytes long with sha256 6500de84647abcb676e93ef69063d486210e7b53accf7eecb5346d0453b398b9, and the git tree's
// oid is a04cda1c49758212b9e57b61738a421f802000f6. The 120 bytes of the node of etc are
//
//	100644 ce013625030ba8dba906f756967f9e9ca394464a 6 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03<TAB>motd<NUL>
//
// # A plain directory
//
// A [Directory] is a directory outside of git, as git would store it: the same oids, by a walk that follows no link and
// needs no git. A file is executable if its owner may execute it. Directories without files are left out. Contents are
// not kept: Blobs reads them again, and gives none that is not what its oid names. Exclude patterns are those of
// gitignore(5), from the directory's root.
//
// # Errors
//
// A directory that cannot be deployed is a fault.Refused that names what has to be mended, an exclude pattern that
// cannot be understood a fault.Usage. What changes while it is read wraps [ErrChanged]. The errors of the parsers name
// the entry, and have no kind: their callers know whether it is a pusher's or etcd's.
//
// # Concurrency
//
// A Directory may be used from many goroutines at once. All other types are plain values.
package tree
