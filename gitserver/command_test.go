package gitserver

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/gitserver/repos"
)

// sqQuote is git's sq_quote_buf (quote.c).
func sqQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

// TestQuotes: whatever git quotes is read back as it was.
func TestQuotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[^\x00\n\r]{0,20}`)).Draw(t, "words")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, sqQuote(w))
		}
		got, err := splitWords(strings.Join(quoted, " "))
		if len(strings.Join(quoted, " ")) > maxCommand {
			t.Skip("too long")
		}
		if diff := cmp.Diff(words, append([]string{}, got...)); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
	})
}

func TestParseCommand(t *testing.T) {
	for raw, want := range map[string]command{
		"":                                    {},
		"  ":                                  {},
		"help":                                {verb: verbHelp},
		"deploy config":                       {verb: verbDeploy, repository: "config"},
		"repos":                               {verb: verbRepos},
		"status team/config":                  {verb: verbStatus, repository: "team/config"},
		"deploy config:web-1":                 {verb: verbDeploy, repository: "config", target: "web-1"},
		"log config":                          {verb: verbLog, repository: "config", limit: 20},
		"log /config.git:web":                 {verb: verbLog, repository: "config", target: "web", limit: 20},
		"log -n 5 config":                     {verb: verbLog, repository: "config", limit: 5},
		"log config:web -n all":               {verb: verbLog, repository: "config", target: "web"},
		"git-receive-pack '/config'":          {verb: verbReceivePack, repository: "config"},
		"git-receive-pack 'team/config.git'":  {verb: verbReceivePack, repository: "team/config"},
		"git receive-pack '/config.git'":      {verb: verbReceivePack, repository: "config"},
		" git-upload-pack  '/'\\''x'":         {},
		"git upload-pack config":              {verb: verbUploadPack, repository: "config"},
		"git-upload-pack con'fi'g":            {verb: verbUploadPack, repository: "config"},
		"git-upload-pack '/Team.1/a_b-c.git'": {verb: verbUploadPack, repository: "Team.1/a_b-c"},
	} {
		got, err := parseCommand(raw)
		if strings.Contains(raw, `\`) {
			if err == nil {
				t.Errorf("%s: got %v", raw, got)
			}
			continue
		}
		if got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", raw, got, err, want)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "help", "git-receive-pack '/config'", `git upload-pack 'it'\''s'\!''`, "git",
		"deploy ../x", "git-upload-pack '-x'",
		"repos", "repos x", "log config", "log -n 5 config:web", "log config -n all", "log -n",
		"log config -n 99999999999999999999",
		"status config", "status config:web", "deploy team/config:web", "deploy config:", "deploy :x",
		"deploy a:b:c", "log 'config':'web'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := parseCommand(raw)
		if err != nil {
			if fault.RemedyOf(err) == "" || fault.KindOf(err) == fault.Failed ||
				strings.ContainsAny(err.Error(), "\x00\x1b\n\r") {
				t.Errorf("%q: bad error %q", raw, err)
			}
			return
		}
		switch c.verb {
		case verbGreet, verbHelp, verbRepos:
			if c != (command{verb: c.verb}) {
				t.Errorf("%q: got %+v", raw, c)
			}
			return
		case verbReceivePack, verbUploadPack, verbStatus:
			if c.target != "" {
				t.Errorf("%q: target %q", raw, c.target)
			}
		case verbLog, verbDeploy:
		default:
			t.Errorf("%q: verb %q", raw, c.verb)
		}
		if c.limit < 0 || c.limit > math.MaxInt32 || c.limit != 0 && c.verb != verbLog {
			t.Errorf("%q: limit %d", raw, c.limit)
		}
		if err := repos.CheckName(c.repository); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
