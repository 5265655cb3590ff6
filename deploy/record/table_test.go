package record_test

import (
	"strings"
	"testing"
	"time"

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
