package command

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
	for raw, want := range map[string]Command{
		"":                                     {},
		"  ":                                   {},
		"help":                                 {Verb: Help},
		"deploy config":                        {Verb: Deploy, Repository: "config"},
		"repos":                                {Verb: Repos},
		"web":                                  {Verb: Web},
		"status team/config":                   {Verb: Status, Repository: "team/config"},
		"deploy config:web-1":                  {Verb: Deploy, Repository: "config", Target: "web-1"},
		"log config":                           {Verb: Log, Repository: "config", Limit: 20},
		"log /config.git:web":                  {Verb: Log, Repository: "config", Target: "web", Limit: 20},
		"log -n 5 config":                      {Verb: Log, Repository: "config", Limit: 5},
		"log config:web -n all":                {Verb: Log, Repository: "config", Target: "web"},
		"git-receive-pack '/config'":           {Verb: ReceivePack, Repository: "config"},
		"git-receive-pack 'team/config.git'":   {Verb: ReceivePack, Repository: "team/config"},
		"git receive-pack '/config.git'":       {Verb: ReceivePack, Repository: "config"},
		" git-upload-pack  '/'\\''x'":          {},
		"git upload-pack config":               {Verb: UploadPack, Repository: "config"},
		"git-upload-pack con'fi'g":             {Verb: UploadPack, Repository: "config"},
		"log config -n5":                       {Verb: Log, Repository: "config", Limit: 5},
		"log -nall config":                     {Verb: Log, Repository: "config"},
		`git-upload-pack "/config"`:            {Verb: UploadPack, Repository: "config"},
		`git-receive-pack "/team"'/config'`:    {Verb: ReceivePack, Repository: "team/config"},
		`"log" "config:web" "-n" "5"`:          {Verb: Log, Repository: "config", Target: "web", Limit: 5},
		"/usr/bin/git-upload-pack '/config'":   {Verb: UploadPack, Repository: "config"},
		"/usr/bin/git receive-pack 'config'":   {Verb: ReceivePack, Repository: "config"},
		"git-upload-pack '/Team.1/a_b-c.git'":  {Verb: UploadPack, Repository: "Team.1/a_b-c"},
		"check config 1a2b3c4":                 {Verb: Check, Repository: "config", Commit: "1a2b3c4"},
		"check '/config':web 'refs/heads/a b'": {Verb: Check, Repository: "config", Target: "web", Commit: "refs/heads/a b"},
	} {
		got, err := Parse(raw)
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

// TestDoubleQuotes: they are read as a shell reads them, but that nothing is expanded.
func TestDoubleQuotes(t *testing.T) {
	for raw, want := range map[string]string{
		`"it's! a \"\\\$\x"`: `it's! a "\$\x`,
		"\"a\\`b\"":          "a`b",
		`a"b c"'d'`:          "ab cd",
		`""`:                 "",
		`"$HOME"`:            "$HOME",
		`"open`:              "error",
		`"open\"`:            "error",
		`"\`:                 "error",
	} {
		got, err := splitWords(raw)
		switch {
		case want == "error" && err == nil:
			t.Errorf("%s: got %q, want an error", raw, got)
		case want != "error" && (err != nil || len(got) != 1 || got[0] != want):
			t.Errorf("%s: got %q, %v, want %q", raw, got, err, want)
		}
	}
}

// TestOnlyGitHasAPlace: the commands that a person types are words, and no files.
func TestOnlyGitHasAPlace(t *testing.T) {
	for _, raw := range []string{"/bin/repos", "./log config", "/usr/bin/git", "/"} {
		if got, err := Parse(raw); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: got %v, %v", raw, got, err)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "help", "git-receive-pack '/config'", `git upload-pack 'it'\''s'\!''`, "git",
		"deploy ../x", "git-upload-pack '-x'",
		"repos", "repos x", "web", "web x", "log config", "log -n 5 config:web", "log config -n all", "log -n",
		"check", "check config", "check config -x", "check config ''", "check config: a", "check config a b",
		"check config:b a",
		"log config -n 99999999999999999999",
		"status config", "status config:web", "deploy team/config:web", "deploy config:", "deploy :x",
		"deploy a:b:c", "log 'config':'web'", `git-upload-pack "/config"`,
		`/usr/bin/git-upload-pack "it's \"x\"\\"`, "log -n5 config"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := Parse(raw)
		if err != nil {
			if fault.RemedyOf(err) == "" || fault.KindOf(err) == fault.Failed ||
				strings.ContainsAny(err.Error(), "\x00\x1b\n\r") {
				t.Errorf("%q: bad error %q", raw, err)
			}
			return
		}
		switch c.Verb {
		case Greet, Help, Repos, Web:
			if c != (Command{Verb: c.Verb}) {
				t.Errorf("%q: got %+v", raw, c)
			}
			return
		case ReceivePack, UploadPack, Status:
			if c.Target != "" {
				t.Errorf("%q: target %q", raw, c.Target)
			}
		case Log, Deploy:
		case Check:
			if c.Commit == "" || c.Commit[0] == '-' {
				t.Errorf("%q: commit %q", raw, c.Commit)
			}
		default:
			t.Errorf("%q: verb %q", raw, c.Verb)
		}
		if c.Limit < 0 || c.Limit > math.MaxInt32 || c.Limit != 0 && c.Verb != Log {
			t.Errorf("%q: limit %d", raw, c.Limit)
		}
		if err := repos.CheckName(c.Repository); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
