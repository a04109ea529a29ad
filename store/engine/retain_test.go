package engine_test

import (
	"errors"
	"testing"

	"github.com/annalsdb/annals"
)

// What another writer appended, and what lies in a journal that no index knows, says of retention what it always said.
func TestRetentionIsReadFromTheJournal(t *testing.T) {
	t.Parallel()
	j := newJournal()
	a, b := start(t, j), start(t, j)
	for _, stream := range []string{"s-1", "s-1", "s-2", "s-3"} {
		if _, err := a.Append(t.Context(), one("A", stream)); err != nil {
			t.Fatal(err)
		}
	}
	changes := []annals.Event{
		annals.RetentionEvent("s-1", annals.Retention{MaxCount: 1}), annals.RetentionEvent("s-1", annals.Retention{}),
		annals.DeletionEvent("s-2"), annals.TombstoneEvent("s-3"),
	}
	if _, err := a.System().Append(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	_, err := b.Append(t.Context(), one("B", "s-3")) // which finds that the journal has moved
	wantErr(t, "the second store, which had not seen the tombstone", err, annals.ErrStreamTombstoned)
	for _, s := range []annals.Store{a, b, start(t, j)} {
		got, err := read(t, s, annals.All())
		if err != nil || len(got) != 1 || got[0].Position != 2 {
			t.Errorf("got %+v, %v; want position 2 alone", got, err)
		}
		if _, err := s.Append(t.Context(), one("B", "s-3")); !errors.Is(err, annals.ErrStreamTombstoned) {
			t.Errorf("got %v", err)
		}
	}
}
