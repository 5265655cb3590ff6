// Package web shows chains to people, in a browser: read-only pages beside a server's metrics.
package web
