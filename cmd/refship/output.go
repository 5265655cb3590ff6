package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"google.golang.org/grpc/grpclog"
)

// captureLogs sends into log what libraries say through loggers of the whole process: Go's log and slog, and gRPC's,
// which otherwise writes errors to standard error. It must come before the first use of gRPC.
func captureLogs(log *slog.Logger) {
	slog.SetDefault(log)
	grpclog.SetLoggerV2(grpcLogger{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard), log})
}

// grpcLogger takes gRPC's errors. Its warnings are about what callers learn anyway.
type grpcLogger struct {
	grpclog.LoggerV2
	log *slog.Logger
}

func (g grpcLogger) Error(args ...any) { g.log.Error("grpc: " + fmt.Sprint(args...)) }
func (g grpcLogger) Errorf(format string, args ...any) {
	g.log.Error("grpc: " + fmt.Sprintf(format, args...))
}
func (g grpcLogger) Errorln(args ...any) {
	g.log.Error("grpc: " + strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

// closeInto closes c at the end of a function, and keeps its error if there is no other.
func closeInto(err *error, c io.Closer) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}

// writeJSON writes value as one line, with <, > and & unescaped.
func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// writeList writes a line for each item: JSON, or its columns, which end with a tab except the last.
func writeList[T any](w io.Writer, asJSON bool, items []T, value func(T) any, columns func(T) string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, item := range items {
		var err error
		if asJSON {
			err = writeJSON(w, value(item))
		} else {
			_, err = fmt.Fprintln(table, columns(item))
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// pathJSON is a path for programs. JSON cannot hold bytes that are not UTF-8.
type pathJSON struct {
	Path       string `json:"path"`                  // invalid bytes replaced by U+FFFD
	PathBase64 string `json:"path_base64,omitempty"` // the raw bytes, if path is not the same
}

func newPathJSON(path string) pathJSON {
	if utf8.ValidString(path) {
		return pathJSON{Path: path}
	}
	return pathJSON{Path: strings.ToValidUTF8(path, "\uFFFD"), PathBase64: base64.StdEncoding.EncodeToString([]byte(path))}
}
