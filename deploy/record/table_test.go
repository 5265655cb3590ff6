package record_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refship/deploy/record"
)

func TestLogTableAlignsAndNamesForeignDeploys(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	rec := func(name, subject string, commits int, ago time.Duration) *record.Record {
		return &record.Record{
			Kind: record.KindPush, Pusher: record.Pusher{Name: name}, Subject: subject, Commits: commits, Time: now.Add(-ago),
		}
	}
	var out strings.Builder
	table := record.NewTable(&out, now, nil)
	for _, d := range []*record.Deploy{
		{ID: 10, Hash: "9c8b7a6000000000000000000000000000000000", Record: rec("ops", "hotfix\x1b[2J", 1, 12*time.Minute)},
		{ID: 9},
		{ID: 8, Hash: "5d6e7f8000000000000000000000000000000000", Record: rec("lünchtop", "tune the cache", 3, 2*time.Hour)},
		{ID: 7, Hash: "1d6e7f8000000000000000000000000000000000", Record: rec("ops", "all", 10_000, 2*time.Hour)},
		{ID: 6, Hash: "2d6e7f8000000000000000000000000000000000", Record: rec("ops", "and one", 10_001, 2*time.Hour)},
	} {
		if err := table.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `10  9c8b7a6  12 minutes ago  ops             push     hotfix\x1b[2J
9   -        -               another writer  foreign
8   5d6e7f8  2 hours ago     lünchtop        push     3 commits: tune the cache
7   1d6e7f8  2 hours ago     ops             push     10000 commits: all
6   2d6e7f8  2 hours ago     ops             push     more than 10,000 commits: and one
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestLogTableSaysForced(t *testing.T) {
	var out strings.Builder
	now := time.Now()
	table := record.NewTable(&out, now, nil)
	r := &record.Record{Kind: record.KindPush, Forced: true, Pusher: record.Pusher{Name: "ops"}, Subject: "back",
		Commits: 1, Time: now}
	for id := record.ID(501); id > 0; id-- { // a block is printed as soon as it is full
		if err := table.Add(&record.Deploy{ID: id, Hash: "9c8b7a6000000000000000000000000000000000", Record: r}); err != nil {
			t.Fatal(err)
		}
		if printed := strings.Count(out.String(), "\n"); printed != 0 && printed != 500 || id == 1 && printed != 500 {
			t.Fatalf("%d lines are printed after %d deploys", printed, 502-id)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "1    9c8b7a6  just now  ops  push, forced  back\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("the last line is %q, want %q", out.String()[len(out.String())-len(want):], want)
	}
}

// On a terminal each line fits it, whatever the records hold, and only the colors are beside what is shown.
func TestLogTableFitsATerminal(t *testing.T) {
	sgr := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	rapid.Check(t, func(t *rapid.T) {
		var out strings.Builder
		style := record.Style{Width: rapid.IntRange(1, 120).Draw(t, "width"), Height: rapid.IntRange(1, 5).Draw(t, "height"),
			Color: rapid.Bool().Draw(t, "color")}
		words := rapid.StringOf(rapid.SampledFrom([]rune("ab ü漢字\u0301\n")))
		table, now := record.NewStyledTable(&out, time.Now(), nil, style), time.Now()
		rows := rapid.IntRange(0, 10).Draw(t, "rows")
		for range rows {
			r := &record.Record{
				Kind: record.KindRollback, Forced: rapid.Bool().Draw(t, "forced"), Subject: words.Draw(t, "subject"),
				Pusher: record.Pusher{Name: words.Draw(t, "by")}, Signer: words.Draw(t, "signer"), Reason: words.Draw(t, "reason"),
				Time: now,
			}
			d := &record.Deploy{ID: 123, Hash: "9c8b7a6000000000000000000000000000000000", Record: r}
			if err := table.Add(d); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if rows > 0 && len(lines) != rows {
			t.Fatalf("%d lines of %d deploys", len(lines), rows)
		}
		for _, line := range lines {
			plain := sgr.ReplaceAllString(line, "")
			n := 0
			for _, r := range plain {
				switch {
				case r == '漢' || r == '字':
					n += 2
				case r != '\u0301':
					n++
				}
			}
			if n > style.Width || !style.Color && plain != line {
				t.Fatalf("%q takes %d columns of %d", line, n, style.Width)
			}
		}
	})
}

func TestLogTableSaysWhoSignedOnATerminal(t *testing.T) {
	var out strings.Builder
	now := time.Now()
	table := record.NewStyledTable(&out, now, nil, record.Style{Width: 70, Height: 24,
		When: func(at time.Time) string { return at.UTC().Format("15:04") }})
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for id, signer := range []string{"", "SHA256:4VQ0000000000000000000000000000000000000000"} {
		r := &record.Record{
			Kind: record.KindPush, Pusher: record.Pusher{Name: "ops"}, Subject: "all of it", Signer: signer, Time: at,
			Reason: "the cache broke login, and more",
		}
		d := &record.Deploy{ID: record.ID(9 - id), Hash: "9c8b7a6000000000000000000000000000000000", Record: r}
		if err := table.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `9  9c8b7a6  12:00  ops  push  unsigned              all of it (the ca…
8  9c8b7a6  12:00  ops  push  SHA256:4VQ000000000…  all of it (the ca…
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
