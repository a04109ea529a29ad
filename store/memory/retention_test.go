package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

// put appends through the system's view what must be accepted.
func put(t *testing.T, s *memory.Store, events ...annals.Event) annals.Receipt {
	t.Helper()
	got, err := s.System().Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func read(t *testing.T, s annals.Store, q annals.Query, opts ...annals.ReadOption) []annals.Position {
	t.Helper()
	at := []annals.Position{}
	for e, err := range s.Read(t.Context(), q, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, e.Position)
	}
	return at
}

func TestAnEventIsHiddenWhenItIsOlderThanMaxAge(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	s := memory.New(memory.Clock(func() time.Time { return now }))
	put(t, s, annals.RetentionEvent("s-1", annals.Retention{MaxAge: time.Hour}))
	put(t, s, annals.Event{Type: "A", Stream: "s-1"})
	now = start.Add(time.Minute)
	put(t, s, annals.Event{Type: "B", Stream: "s-1"})
	for _, step := range []struct {
		after time.Duration
		want  []annals.Position
		state annals.StreamState
	}{
		{time.Hour, []annals.Position{2, 3}, annals.StreamLive},
		{time.Hour + 1, []annals.Position{3}, annals.StreamLive},
		{time.Hour + time.Minute, []annals.Position{3}, annals.StreamLive},
		{time.Hour + time.Minute + 1, []annals.Position{}, annals.StreamEmpty},
		{0, []annals.Position{2, 3}, annals.StreamLive}, // a clock that goes back: nothing was decided yet
	} {
		now = start.Add(step.after)
		if got := read(t, s, annals.Stream("s-1")); !slices.Equal(got, step.want) {
			t.Errorf("after %s: got %v, want %v", step.after, got, step.want)
		}
		if got, err := annals.RetentionOf(t.Context(), s, "s-1"); err != nil || got.State != step.state {
			t.Errorf("after %s: got %+v, %v; want the state %s", step.after, got, err, step.state)
		}
	}
	now = start.Add(2 * time.Hour)
	put(t, s, annals.Event{Type: "C", Stream: "t-1"})
	now = start
	if got := read(t, s, annals.All()); !slices.Equal(got, []annals.Position{4}) {
		t.Errorf("a clock that went back behind the last event: got %v; the time is never earlier than that event", got)
	}
}

// past is everything that was appended, hidden or not, and what was said about retention.
type past struct {
	log      []annals.Recorded
	settings map[string]annals.Retention
	hidden   map[annals.Position]bool // for good
	ended    map[string]bool
}

// moment hides what the settings in force hide at this moment.
func (p *past) moment(now time.Time) {
	for stream, keep := range p.settings {
		var in []annals.Recorded
		for _, e := range p.log {
			if e.Stream == stream {
				in = append(in, e)
			}
		}
		for i, e := range in {
			if keep.MaxAge > 0 && now.Sub(e.Time) > keep.MaxAge || keep.MaxCount > 0 && i < len(in)-keep.MaxCount || e.Revision < keep.TruncateBefore || p.ended[stream] {
				p.hidden[e.Position] = true
			}
		}
	}
}

// Retention says that what was hidden once is hidden for good. Here that is taken by the letter: after every event, and
// whenever anything is asked, each event that the settings hide at that moment is crossed out.
func TestRetentionAgreesWithItsDefinition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := memory.New(memory.Clock(func() time.Time { return now }))
			p := past{settings: map[string]annals.Retention{}, hidden: map[annals.Position]bool{}, ended: map[string]bool{}}
			for range 150 {
				now = now.Add(time.Duration(rng.IntN(4)) * time.Minute)
				p.moment(now)
				p.step(t, s, rng)
				p.moment(now)
				var want []annals.Position
				for _, e := range p.log {
					if !p.hidden[e.Position] {
						want = append(want, e.Position)
					}
				}
				if got := read(t, s, annals.All().WithSystem()); !slices.Equal(got, want) {
					t.Fatalf("at position %d: got %v, want %v", len(p.log), got, want)
				}
			}
		})
	}
}

// step appends an event or a change of retention.
func (p *past) step(t *testing.T, s *memory.Store, rng *rand.Rand) {
	t.Helper()
	stream := fmt.Sprint("s-", rng.IntN(3))
	e := annals.Event{Type: "A", Stream: stream}
	switch n := rng.IntN(40); {
	case n < 8:
		keep := annals.Retention{MaxAge: time.Duration(rng.IntN(4)*5) * time.Minute, MaxCount: rng.IntN(5)}
		if got, err := s.Retention(t.Context(), stream); err == nil && got.Last != annals.NoRevision {
			keep.TruncateBefore = annals.Revision(rng.Uint64N(uint64(got.Last) + 2))
		}
		e = annals.RetentionEvent(stream, keep)
	case n < 11:
		e = annals.DeletionEvent(stream)
	case n == 11 && rng.IntN(5) == 0:
		e = annals.TombstoneEvent(stream)
	}
	got, err := s.System().Append(context.WithoutCancel(t.Context()), []annals.Event{e})
	if p.ended[stream] {
		if err == nil {
			t.Fatal("an append to a stream that has ended was accepted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	p.log = append(p.log, annals.Recorded{Event: e, Position: got.First, Revision: got.Revision, Time: got.Time})
	change, ok, err := annals.RetentionChangeOf(e)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return
	}
	keep := p.settings[stream]
	switch change.Type {
	case annals.TypeRetention:
		keep = change.Keep
	case annals.TypeTombstoned:
		p.ended[stream] = true
	case annals.TypeDeleted:
		for _, e := range p.log {
			p.hidden[e.Position] = p.hidden[e.Position] || e.Stream == stream
		}
	}
	p.settings[stream] = keep
}
