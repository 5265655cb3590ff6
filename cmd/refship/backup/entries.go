package backup

import (
	"io/fs"
	"path"
	"strings"
	"time"

	"refship/gitserver/repos"
)

// Entries that there is one of.
const (
	infoEntry     = "refship-backup"
	snapshotEntry = "etcd.snapshot"
	manifestEntry = "manifest"
)

const (
	format     = 1
	maxInfo    = 64 << 10 // bytes of the first entry
	plain      = 0o600
	executable = 0o700
	gitSuffix  = ".git"
)

// Info is a backup's first entry: JSON, all fields, indented by one space.
type Info struct {
	Format  int       `json:"format"`  // 1
	Time    time.Time `json:"time"`    // when it was begun, in UTC, whole seconds
	Server  string    `json:"server"`  // the name of the machine
	Version string    `json:"version"` // refship's
	Etcd    bool      `json:"etcd"`    // a snapshot is in it
}

// Counts is what is in a backup.
type Counts struct {
	Repositories, Keys int // keys: files in DATA/keys
	Files              int // all entries but the manifest
	Bytes              int64
}

// badEntry says why no entry of a backup may have that name, "" if one may. What is called so lies in the data
// directory wherever that is, and has one line in a manifest.
func badEntry(name string) string {
	switch {
	case !fs.ValidPath(name):
		return "is no path below the data directory"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "has a control character or a backslash in it"
	case name == infoEntry, name == snapshotEntry, name == manifestEntry:
		return ""
	}
	top, rest, _ := strings.Cut(name, "/")
	switch {
	case top == "keys" && rest != "" && !strings.Contains(rest, "/"):
		return ""
	case top == "repos":
		if repository, file := splitRepository(rest); repository != "" && file != "" {
			return ""
		}
	}
	return "is none that a backup has"
}

// splitRepository splits "team/config.git/objects/x" into "team/config" and "objects/x"; "" if no repository can be
// called so.
func splitRepository(name string) (repository, file string) {
	at := ""
	for rest := name; ; {
		element, below, more := strings.Cut(rest, "/")
		at, rest = path.Join(at, element), below
		if base, isGit := strings.CutSuffix(at, gitSuffix); isGit {
			if repos.CheckName(base) != nil {
				return "", ""
			}
			return base, below
		}
		if !more {
			return "", ""
		}
	}
}
