package engine_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
)

// damagedJournal has five frames of two events each, of which some are damaged.
func damagedJournal(t *testing.T, damaged ...uint64) *memJournal {
	t.Helper()
	j := newJournal()
	s, err := engine.Open(t.Context(), config(j))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := s.Append(t.Context(), append(one("A", "s-1", "x:1"), one("B", "s-2")...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, seq := range damaged {
		j.damaged[seq] = &annals.DataLossError{File: "00000001.seg", Offset: int64(seq) * 100, Reason: "checksum"}
	}
	return j
}

func TestAReadYieldsWhatPrecedesALossAndThenTheLoss(t *testing.T) {
	t.Parallel()
	s := start(t, damagedJournal(t, 2, 3))
	wantHead(t, s, 10)
	if lost := s.Stats().Lost; len(lost) != 1 || lost[0].First != 3 || lost[0].Last != 6 {
		t.Errorf("lost are %+v, want 3 to 6", lost)
	}
	for _, c := range []struct {
		name string
		q    annals.Query
		opts []annals.ReadOption
		want []annals.Position
		loss bool
	}{
		{"across it", annals.All(), nil, []annals.Position{1, 2}, true},
		{"backwards across it", annals.All(), []annals.ReadOption{annals.Backwards()}, []annals.Position{10, 9, 8, 7}, true},
		{"a stream across it", annals.Stream("s-1"), nil, []annals.Position{1}, true},
		{"a tag backwards", annals.Tags("x:1"), []annals.ReadOption{annals.Backwards()}, []annals.Position{9, 7}, true},
		{"what matches nothing across it", annals.Types("Z"), nil, nil, true},
		{"before it", annals.All(), []annals.ReadOption{annals.AsOf(2)}, []annals.Position{1, 2}, false},
		{"behind it", annals.All(), []annals.ReadOption{annals.After(6)}, []annals.Position{7, 8, 9, 10}, false},
		{"within it", annals.All(), []annals.ReadOption{annals.After(4), annals.AsOf(5)}, nil, true},
		{"up to it by limit", annals.All(), []annals.ReadOption{annals.Limit(2)}, []annals.Position{1, 2}, false},
		{"from a revision behind it", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(3)}, []annals.Position{7, 9}, false},
		{"from a revision that is lost", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(2)}, nil, true},
		{"as of a revision behind it", annals.Stream("s-1"), []annals.ReadOption{annals.AsOfRevision(3), annals.After(6)}, []annals.Position{7}, false},
		{"as of a revision that is lost", annals.Stream("s-1"), []annals.ReadOption{annals.AsOfRevision(1)}, nil, true},
	} {
		got, err := read(t, s, c.q, c.opts...)
		var positions []annals.Position
		for _, e := range got {
			positions = append(positions, e.Position)
		}
		var loss *annals.DataLossError
		if !slices.Equal(positions, c.want) || errors.As(err, &loss) != c.loss || (err != nil) != c.loss {
			t.Errorf("%s: got %v, %v; want %v", c.name, positions, err, c.want)
		}
	}
}

func TestAStoreThatLostPositionsTakesNoAppends(t *testing.T) {
	t.Parallel()
	for _, damaged := range []uint64{1, 3, 5} {
		s := start(t, damagedJournal(t, damaged))
		_, err := s.Append(t.Context(), one("A", "s-1"))
		wantErr(t, "an append", err, annals.ErrReadOnly, annals.ErrDataLoss)
	}
}

func TestASubscriptionEndsAtALoss(t *testing.T) {
	t.Parallel()
	s := start(t, damagedJournal(t, 2))
	var last annals.Position
	for u, err := range s.Subscribe(t.Context(), annals.All(), 0) {
		if err != nil {
			wantErr(t, "the subscription", err, annals.ErrDataLoss)
			break
		}
		last = u.Position
	}
	if last != 2 {
		t.Errorf("the last update is at %d, want 2", last)
	}
}

func TestALossAtTheEndCountsAsPartOfTheLog(t *testing.T) {
	t.Parallel()
	j := damagedJournal(t, 5)
	s := start(t, j)
	wantHead(t, s, 9) // at least one event was lost
	got, err := read(t, s, annals.All())
	if len(got) != 8 || !errors.Is(err, annals.ErrDataLoss) {
		t.Errorf("got %d events and %v", len(got), err)
	}
	j.damaged[5].First, j.damaged[5].Last = 9, 10
	wantHead(t, start(t, j), 10)
}

func TestAJournalThatMakesNoSenseIsNotOpened(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(j *memJournal){
		"a frame is missing":            func(j *memJournal) { j.frames = slices.Delete(j.frames, 1, 2) },
		"the first frames are missing":  func(j *memJournal) { j.frames = j.frames[2:] },
		"frames are swapped":            func(j *memJournal) { j.frames[1], j.frames[2] = j.frames[2], j.frames[1] },
		"a frame is of another history": func(j *memJournal) { j.frames[2] = damagedJournal(t).frames[2] },
	} {
		j := damagedJournal(t)
		spoil(j)
		if s, err := engine.Open(t.Context(), config(j)); err == nil {
			t.Errorf("%s, and the store opened", name)
			s.Close()
		}
	}
}
