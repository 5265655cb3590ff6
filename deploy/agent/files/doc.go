// Package files compares a directory with a list of what it should have, and makes it have that, file by file.
//
// # Words
//
// A list says of each file, link and directory what it is, and of a file how the file system described it when it was
// right: inode, time of its content, time of its last change. What differs from a list has drifted. What is extra is not
// in the list. What is made is in no deploy: the node has decrypted it, or the operator's command has written it.
//
// # Format
//
// [List.Write] writes a text: "refship list 1", a line feed; an entry each; their number and a line feed.
//
//	MODE SP SIZE SP SHA256 SP OID SP INODE SP MTIME SP CTIME TAB PATH NUL
//
// The mode is octal, with its kind, as stat(2) gives it. Times are ns since 1970. Of a directory sha256 and oid are
// zeros, of what is made the oid, of what has to be read before it is believed inode and times. Two entries, of a file
// and of a link that was made:
//
//	100644 6 5891b5b5…be03 ce013625…464a 1311 1764400000000000000 1764400000100000000 TAB page NUL
//	120777 4 b09ca0ca…a3f2 00000000…0000 0 0 0 TAB made NUL
//
// # Comparing
//
// A file that looks as it did is not read. The kernel's clock is coarse: a file that was changed within the last second
// may be changed again without looking other. How it looks is not kept then, and it is read at the next time, too.
//
// # Mending
//
// [Mender.Mend] has these steps, and each is done before the next begins:
//
//	directories that are missing are made
//	  → each new content is written beside what it will replace, as .HASH-OF-NAME.refship-tmp, and is on disk
//	  → each file and link is replaced by a rename
//	  → permissions are put right
//	  → what is extra, and what has to go, is removed
//
// # Invariants
//
//   - At every moment a path leads to the old content or to the new one, never to a part of one. Only a file in place of
//     a directory, or a directory in place of a file, is not replaced at once: what is there is removed first.
//   - No link is followed, in no element of a path.
//   - With [Mender.May] nothing is replaced or removed that it does not allow.
//
// # Concurrency
//
// One goroutine changes a directory. Another may compare it meanwhile, and finds one state or another.
package files
