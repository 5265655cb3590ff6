package embedded

import "golang.org/x/sys/unix"

// readAhead makes the kernel read a file that is mapped, from its start to its end, as etcd will: page by page, where
// the keys are, a disk takes many times as long.
const readAhead = unix.MAP_POPULATE
