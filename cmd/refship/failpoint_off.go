//go:build !failpoint

package main

import "log/slog"

// withFailpoint does nothing: only a build with the tag failpoint can be made to end at a step.
func withFailpoint(_ *app, handler slog.Handler) slog.Handler { return handler }
