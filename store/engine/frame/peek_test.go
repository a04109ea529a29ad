package frame_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

func sameNames(a, b annals.Event) bool {
	return a.ID == b.ID && a.Type == b.Type && a.Stream == b.Stream && slices.Equal(a.Tags, b.Tags)
}

func TestPeekTellsTheNamesThatARecordHolds(t *testing.T) { // allocations are counted: not in parallel
	f, _ := build(5, 100, [32]byte{1})
	want := events()
	var e annals.Event // used again for each
	n := testing.AllocsPerRun(100, func() {
		i := 0
		for _, b := range frame.Records(f) {
			if p, err := frame.Peek(&e, b); err != nil || p != annals.Position(100+i) || !sameNames(e, want[i]) {
				t.Fatalf("record %d: got %+v at %d, %v; want %+v", i, e, p, err, want[i])
			}
			i++
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPeekSeesNoEventInWhatMayBeSkipped(t *testing.T) {
	t.Parallel()
	var e annals.Event
	if _, err := frame.Peek(&e, reseal(func(record []byte) { record[64] = 200 })); !errors.Is(err, frame.ErrSkippable) {
		t.Errorf("got %v, want ErrSkippable", err)
	}
}
