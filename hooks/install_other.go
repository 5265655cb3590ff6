//go:build !linux

package hooks

import "errors"

// swapNames exchanges two files in one step, which only Linux can.
func swapNames(string, string) error { return errors.ErrUnsupported }
