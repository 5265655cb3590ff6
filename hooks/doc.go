// Package hooks TODO.
package hooks
