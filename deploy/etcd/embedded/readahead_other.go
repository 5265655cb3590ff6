//go:build !linux

package embedded

// readAhead is for Linux only.
const readAhead = 0
