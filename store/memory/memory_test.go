package memory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/storetest"
)

func open(*testing.T) annals.Store { return memory.New() }

func TestTheStoreKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}

func TestRandomOperationsGetTheSameAnswersTwice(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storetest.Model(t, open, seed, storetest.Operations(300))
		})
	}
}

func TestAClockThatGoesBackIsHeldAtTheLastTime(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.FixedZone("elsewhere", 3600))
	now := start
	s := memory.New(memory.Clock(func() time.Time { return now }))
	var got []time.Time
	for _, step := range []time.Duration{0, time.Hour, -3 * time.Hour, time.Minute, 4 * time.Hour} {
		now = now.Add(step)
		receipt, err := s.Append(t.Context(), []annals.Event{{Type: "A"}})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, receipt.Time)
	}
	for i, want := range []time.Duration{0, time.Hour, time.Hour, time.Hour, 2*time.Hour + time.Minute} {
		if !got[i].Equal(start.Add(want)) || got[i].Location() != time.UTC {
			t.Errorf("event %d is at %v, want %v in UTC", i, got[i], start.Add(want))
		}
	}
}

func TestIDsAreMadeFromTheGivenClockAndRandomness(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	s := memory.New(memory.Clock(func() time.Time { return now }), memory.Random(bytes.NewReader([]byte("0123456789abc"))))
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "A"}}); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.Read(t.Context(), annals.All()) {
		if want := annals.MakeID(now, [10]byte([]byte("0123456789"))); err != nil || e.ID != want {
			t.Errorf("got the id %s, %v; want %s", e.ID, err, want)
		}
	}
	_, err := s.Append(t.Context(), []annals.Event{{ID: annals.NewID(), Type: "B"}, {Type: "C"}})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, annals.ErrNotWritten) {
		t.Errorf("randomness that ran out: got %v, want ErrNotWritten and the cause", err)
	}
	if head, err := s.Head(t.Context()); head != 1 || err != nil {
		t.Errorf("an append that failed left something: head %d, %v", head, err)
	}
}
