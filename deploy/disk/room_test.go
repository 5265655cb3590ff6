package disk

import (
	"errors"
	"testing"
)

// TestRoom: what one has taken, and what is kept, is not there for others, until it is given back.
func TestRoom(t *testing.T) {
	dir, room := t.TempDir(), new(Room)
	free, err := Free(dir)
	if err != nil {
		t.Fatal(err)
	}
	most := free / 4 * 3 // other programs write, too
	first, second := room.Share(dir), room.Share(dir)
	if err := first.Take(most / 2); err != nil {
		t.Fatal(err)
	}
	if err := first.Take(most / 2); err != nil {
		t.Fatal(err)
	}
	wantFull(t, second.Take(most), most, most/2*2)
	first.GiveBack()
	first.GiveBack()
	if err := second.Take(most); err != nil {
		t.Error(err)
	}
	wantFull(t, second.Take(most), 2*most, 0)
	second.GiveBack()
	room.Keep(dir, most)
	room.Keep(dir+"/gone", most)
	room.Keep("/proc", most) // another disk
	err = second.Take(most)
	wantFull(t, err, 2*most, 0)
	if full := (*FullError)(nil); errors.As(err, &full) && full.Kept != most {
		t.Errorf("%d are kept, want %d", full.Kept, most)
	}
	if err := second.Take(0); err != nil {
		t.Error(err)
	}
	if err := room.Share(dir + "/gone").Take(0); err == nil {
		t.Error("there is no such disk")
	}
}

func wantFull(t *testing.T, err error, need, taken int64) {
	t.Helper()
	var full *FullError
	if !errors.As(err, &full) || full.Need != need || full.Taken != taken || full.Free <= 0 {
		t.Errorf("got %v, want %d needed and %d taken", err, need, taken)
	}
}
