package git

import "bytes"

// storageWords are what git says where the repository's disk does not take what it writes: the texts of errno
// (strerror(3)), and git's own for permissions (object-file.c).
var storageWords = [][]byte{
	[]byte("No space left on device"), []byte("Disk quota exceeded"), []byte("Read-only file system"),
	[]byte("Input/output error"), []byte("File too large"), []byte("Stale file handle"), []byte("Permission denied"),
	[]byte("Operation not permitted"), []byte("insufficient permission for adding"),
}

// cannotStore tells whether git says that the repository's disk does not take what it writes. A push can make git say
// such words, in the name of something that git finds fault with: they are a reason to look at the disk.
func cannotStore(said []byte) bool {
	for _, words := range storageWords {
		if bytes.Contains(said, words) {
			return true
		}
	}
	return false
}

// refusesShallow tells whether git says that a ref did not move because the push came out of a shallow clone and would
// make this repository one (receive-pack.c).
func refusesShallow(said []byte) bool {
	return bytes.Contains(said, []byte("shallow update not allowed"))
}
