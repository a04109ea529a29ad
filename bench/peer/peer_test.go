package peer_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/bench/peer"
	"github.com/annalsdb/annals/internal/workload"
)

func peers() []workload.Target {
	return []workload.Target{peer.RaftWAL(), peer.Pebble(), peer.SQLite(), peer.Bbolt()}
}

func open(t *testing.T, p workload.Target, dir string) workload.Store {
	t.Helper()
	s, err := p.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func forEach(t *testing.T, test func(t *testing.T, p workload.Target)) {
	t.Helper()
	for _, p := range peers() {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func event(stream string, n int, tags ...string) annals.Event {
	return annals.Event{
		ID: annals.NewID(), Type: fmt.Sprint("T", n%3), Version: 2, Stream: stream, Tags: tags, Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func TestEveryWriterFindsWhatWasAcknowledgedAfterOpeningAgain(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, p workload.Target) {
		const writers, each = 8, 20
		dir := t.TempDir()
		s := open(t, p, dir)
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for n := range each {
					stream := fmt.Sprint("s-", w)
					if err := s.Append(t.Context(), []annals.Event{event(stream, n, "a:1"), event(stream, n)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		for range 2 {
			if head, err := s.Head(t.Context()); err != nil || head != 2*writers*each {
				t.Errorf("the head is %d, %v; want %d", head, err, 2*writers*each)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, p, dir)
		}
		defer s.Close()
		err := s.Read(t.Context(), annals.Stream("s-3"), func(*annals.Event) {})
		if errors.Is(err, annals.ErrUnsupported) {
			return
		}
		for w := range writers {
			n := 0
			err := s.Read(t.Context(), annals.Stream(fmt.Sprint("s-", w)), func(e *annals.Event) {
				if want := fmt.Sprintf(`{"n":%d}`, n/2); string(e.Data) != want {
					t.Errorf("event %d of the stream has %s, want %s", n, e.Data, want)
				}
				n++
			})
			if err != nil || n != 2*each {
				t.Errorf("a stream has %d events, %v; want %d", n, err, 2*each)
			}
		}
	})
}

// TestPeersAnswerAsTheModelDoes compares each with plain matching over all events.
func TestPeersAnswerAsTheModelDoes(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, p workload.Target) {
		s := open(t, p, t.TempDir())
		defer s.Close()
		var all []annals.Event
		for n := range 60 {
			e := event(fmt.Sprint("s-", n%7), n, fmt.Sprint("a:", n%2), fmt.Sprint("b:", n%5))
			e.Metadata = []byte(`{}`)
			if n%4 == 0 {
				e.Stream, e.Tags, e.Metadata = "", nil, nil
			}
			all = append(all, e)
			if err := s.Append(t.Context(), []annals.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range []annals.Query{
			annals.All(), annals.Stream("s-1"), annals.Stream("s-"), annals.Tags("a:1"), annals.Tags("a:1", "b:3"), annals.Types("T1").Tags("b:2"), annals.Types("T1"),
		} {
			var got, want []annals.Event
			err := s.Read(t.Context(), q, func(e *annals.Event) { got = append(got, *e) })
			if errors.Is(err, annals.ErrUnsupported) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range all {
				if q.Match(annals.Recorded{Event: e, Position: annals.Position(i + 1)}) {
					want = append(want, e)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s reads %d events, want %d, or they differ:\n%v\n%v", q, len(got), len(want), got, want)
			}
		}
	})
}

func TestConditionsHoldOrAreConflicts(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, p workload.Target) {
		dir := t.TempDir()
		s := open(t, p, dir)
		for n := range 3 {
			if err := s.Append(t.Context(), []annals.Event{event("s-1", n, "a:1", "b:1")}); err != nil {
				t.Fatal(err)
			}
		}
		// Once with what the store remembers, and once with what it looks up.
		for range 2 {
			for _, c := range []struct {
				cond  annals.Condition
				holds bool
			}{
				{annals.StreamAt("s-1", 2), true},
				{annals.StreamAt("s-1", 1), false},
				{annals.StreamAt("s-9", 0), false},
				{annals.NoStream("s-1"), false},
				{annals.NoStream("s-"), true},
				{annals.StreamExists("s-1"), true},
				{annals.StreamExists("s-"), false},
				{annals.NoneSince(0, annals.Tags("a:1", "b:1")), false},
				{annals.NoneSince(0, annals.Tags("a:1", "b:2")), true},
				{annals.NoneSince(3, annals.Tags("a:1")), true},
				{annals.NoneSince(2, annals.Tags("a:1")), false},
			} {
				err := s.Append(t.Context(), []annals.Event{event("s-2", 1)}, c.cond)
				if errors.Is(err, annals.ErrUnsupported) {
					continue
				}
				if c.holds && err != nil || !c.holds && !errors.Is(err, annals.ErrConflict) {
					t.Errorf("%s is answered with %v, want that it holds: %t", c.cond, err, c.holds)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, p, dir)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneOfManyRacersWinsEachRevision(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, p workload.Target) {
		s := open(t, p, t.TempDir())
		defer s.Close()
		for round := range uint64(5) {
			cond := annals.NoStream("s-1")
			if round > 0 {
				cond = annals.StreamAt("s-1", annals.Revision(round-1))
			}
			answers := make([]error, 10)
			var racing sync.WaitGroup
			for i := range answers {
				racing.Go(func() { answers[i] = s.Append(t.Context(), []annals.Event{event("s-1", i)}, cond) })
			}
			racing.Wait()
			wins := 0
			for _, err := range answers {
				switch {
				case errors.Is(err, annals.ErrUnsupported):
					return
				case err == nil:
					wins++
				case !errors.Is(err, annals.ErrConflict):
					t.Error(err)
				}
			}
			if wins != 1 {
				t.Errorf("%d racers won, want 1", wins)
			}
		}
	})
}
