package workload

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/annalsdb/annals"
)

func TestTheAnswersAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 997, 5003} {
		d := &dataset{seed: 3, payload: PayloadRandom, events: n}
		events, src := make([]annals.Recorded, n), newSource(3, 0, PayloadRandom)
		for i := range events {
			events[i] = annals.Recorded{Event: d.event(i, src), Position: annals.Position(i + 1)}
			if err := annals.CheckAppend([]annals.Event{events[i].Event}, nil, annals.MinLimits(), false); err != nil {
				t.Fatal(err)
			}
		}
		count := func(q annals.Query) (found int) {
			for _, e := range events {
				if q.Match(e) {
					found++
				}
			}
			return found
		}
		for c := range streamClasses {
			all := 0
			for s := range d.streams(c) {
				all += d.streamEvents(c, s)
				if s > 10 {
					continue
				}
				if got := count(annals.Stream(streamName(c, s))); got != d.streamEvents(c, s) {
					t.Errorf("of %d events %d are of stream %d of length %d, want %d", n, got, s, streamLengths[c], d.streamEvents(c, s))
				}
			}
			if all != d.inStreams(c) {
				t.Errorf("the streams of length %d have %d events together, want %d", streamLengths[c], all, d.inStreams(c))
			}
		}
		for _, kind := range d.questions() {
			if len(kind.asked) == 0 {
				t.Errorf("nothing is asked of %s", kind.name)
			}
			for _, q := range kind.asked[:min(20, len(kind.asked))] {
				if got := count(q.query); got != q.want || got == 0 {
					t.Errorf("of %d events %d match %s, want %d and at least 1", n, got, q.query, q.want)
				}
			}
		}
		if got := count(annals.Tags(hotA, hotB)); got != 0 {
			t.Errorf("%d events have both hot tags, want none", got)
		}
		if got := count(annals.Tags(hotA)); got < n/4 {
			t.Errorf("%d events have a hot tag, want a quarter", got)
		}
	}
}

func TestTheShapeOfAMillionEventsIsThatOfTheWorkloads(t *testing.T) {
	t.Parallel()
	d := &dataset{seed: 1, payload: PayloadRandom, events: 1_000_000}
	for c, want := range []int{60_000, 2000, 200} {
		if got := d.streams(c); got != want {
			t.Errorf("%d streams of length %d, want %d", got, streamLengths[c], want)
		}
	}
	kinds := d.questions()
	for i, want := range []struct{ least, most float64 }{{10, 10}, {900, 1100}, {1, 3}, {40, 60}} {
		kind, sum := kinds[i], 0
		for _, q := range kind.asked {
			sum += q.want
		}
		if mean := float64(sum) / float64(len(kind.asked)); mean < want.least || mean > want.most {
			t.Errorf("%s finds %f events, want %g to %g", kind.name, mean, want.least, want.most)
		}
	}
}

func TestTheSameSeedMakesTheSameEvents(t *testing.T) {
	t.Parallel()
	made := func(seed uint64) (events []annals.Event) {
		d, src := &dataset{seed: seed, payload: PayloadJSON, events: 1000}, newSource(seed, 0, PayloadJSON)
		for i := range d.events {
			events = append(events, d.event(i, src))
		}
		return events
	}
	if !reflect.DeepEqual(made(7), made(7)) {
		t.Error("the same seed made different events")
	}
	if reflect.DeepEqual(made(7), made(8)) {
		t.Error("different seeds made the same events")
	}
	ids := map[annals.ID]bool{}
	for _, e := range made(7) {
		if ids[e.ID] {
			t.Fatalf("the id %s was made twice", e.ID)
		}
		ids[e.ID] = true
	}
}

func TestPayloadsHaveTheirSizeAndAreNeverTheSame(t *testing.T) {
	t.Parallel()
	for _, p := range []Payload{PayloadRandom, PayloadJSON} {
		src, seen := newSource(1, 1, p), map[string]bool{}
		for range 1000 {
			b := src.data()
			if len(b) != PayloadBytes {
				t.Fatalf("a payload of %d bytes, want %d", len(b), PayloadBytes)
			}
			if p == PayloadJSON && !json.Valid(b) {
				t.Fatalf("%s is no JSON", b)
			}
			if seen[string(b)] {
				t.Fatalf("a %s payload came twice", p)
			}
			seen[string(b)] = true
		}
	}
}

func TestIDsAreOfTheirVersion(t *testing.T) {
	t.Parallel()
	src := newSource(1, 1, PayloadRandom)
	if id := src.id(); id[6]>>4 != 7 || id[8]>>6 != 2 {
		t.Errorf("%s is no UUIDv7", id)
	}
	if id := src.id4(); id[6]>>4 != 4 || id[8]>>6 != 2 {
		t.Errorf("%s is no UUIDv4", id)
	}
}
