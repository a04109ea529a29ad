package annalstest_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
)

// Hall is a show, or in one of the wrong ways that Check finds.
type Hall struct {
	Show, Wrong string
	Seats       int
	Guests      map[string]int
	Claps       int
	Stamp       int64
	secret      int
}

func (h Hall) Boundary() annals.Query { return annals.Stream("show-" + h.Show) }

var ticks int64

func (h Hall) Evolve(e any) Hall {
	switch e := e.(type) {
	case ShowOpened:
		h.Seats, h.secret = e.Seats, e.Seats
	case SeatTaken:
		h.Seats--
		if h.Wrong == "partial" && e.By[0] == "" { // an event without By
			return h
		}
		if h.Wrong != "mutating" || h.Guests == nil {
			h.Guests = maps.Clone(h.Guests)
		}
		if h.Guests == nil {
			h.Guests = map[string]int{}
		}
		for _, by := range e.By {
			h.Guests[by]++
		}
		if h.Wrong == "event" && len(e.By) > 0 {
			e.By[0] += "!"
		}
		if h.Wrong == "live" && e.Gifts != nil { // empty and nil are one in JSON
			h.Claps++
		}
		if h.Wrong == "clock" {
			ticks++
			h.Stamp = time.Now().UnixNano() + ticks
		}
	case Applause:
		if h.Wrong == "boundary" {
			h.Claps++
		}
	}
	return h
}

// KeptHall forgets an unexported field in its snapshots.
type KeptHall struct{ Hall }

func (h KeptHall) Evolve(e any) KeptHall { return KeptHall{h.Hall.Evolve(e)} }
func (KeptHall) SnapshotVersion() int    { return 1 }

// CountedHall keeps all that it has.
type CountedHall struct {
	Show  string
	Seats int
}

func (h CountedHall) Boundary() annals.Query { return annals.Stream("show-" + h.Show) }
func (CountedHall) SnapshotVersion() int     { return 1 }
func (h CountedHall) Evolve(e any) CountedHall {
	if e, ok := e.(ShowOpened); ok {
		h.Seats = e.Seats
	}
	return h
}

type (
	Enter      struct{ Show, By, Wrong string }
	EnterKept  struct{ Show string }
	EnterCount struct{ Show string }
	Clap       struct{ Show string }
)

func (c Enter) Initial() Hall { return Hall{Show: c.Show, Wrong: c.Wrong} }
func (c Enter) Decide(h Hall) ([]any, error) {
	if h.Seats == 0 {
		return []any{ShowOpened{Show: c.Show, Seats: 3}}, nil
	}
	if h.Seats == 1 {
		return nil, errFull
	}
	switch c.Wrong {
	case "decide changes":
		if h.Guests != nil {
			h.Guests["nobody"]++
		}
	case "decide differs":
		ticks++
		return []any{SeatTaken{Show: c.Show, By: []string{fmt.Sprint(ticks)}}}, nil
	case "panic":
		panic("decide is broken")
	case "codec":
		return []any{SeatTaken{Show: c.Show, note: "lost"}}, nil
	case "live":
		return []any{SeatTaken{Show: c.Show, Gifts: []string{}}}, nil
	}
	return []any{SeatTaken{Show: c.Show, By: []string{c.By}}}, nil
}

func (c EnterKept) Initial() KeptHall { return KeptHall{Hall{Show: c.Show}} }
func (c EnterKept) Decide(KeptHall) ([]any, error) {
	return []any{ShowOpened{Show: c.Show, Seats: 3}}, nil
}
func (c EnterCount) Initial() CountedHall { return CountedHall{Show: c.Show} }
func (c EnterCount) Decide(CountedHall) ([]any, error) {
	return []any{ShowOpened{Show: c.Show, Seats: 3}}, nil
}
func (c Clap) Initial() Hall              { return Hall{Show: c.Show} }
func (c Clap) Decide(Hall) ([]any, error) { return []any{Applause{Volume: 1}}, nil }

func oneOf(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }

func enter(wrong string) annalstest.Generator[any] {
	return annalstest.Commands(func(r *rand.Rand) Enter {
		return Enter{Show: oneOf(r, "1", "2"), By: oneOf(r, "ann", "bob"), Wrong: wrong}
	})
}

func clap(r *rand.Rand) Clap { return Clap{Show: oneOf(r, "1", "2")} }

func TestCheckOfADeciderThatKeepsTheLawsSaysNothing(t *testing.T) {
	t.Parallel()
	annalstest.Check(t, schema, enter(""), annalstest.Commands(clap),
		annalstest.Commands(func(r *rand.Rand) EnterCount { return EnterCount{Show: oneOf(r, "1", "2")} }))
	annalstest.Check(t, schema, enter("mutating").InPlace())
}

func TestCheckFindsEachBrokenLaw(t *testing.T) { //nolint:paralleltest // the wrong ones share a counter
	kept := annalstest.Commands(func(*rand.Rand) EnterKept { return EnterKept{Show: "1"} })
	for wrong, c := range map[string]struct {
		commands []annalstest.Generator[any]
		want     string
		steps    int
	}{
		"partial":        {nil, "Hall.Evolve panics on annalstest_test.SeatTaken", 1},
		"mutating":       {nil, "Hall.Evolve changes the state it is given", 4},
		"event":          {nil, "Hall.Evolve changes the event", 2},
		"clock":          {nil, "Hall.Evolve is not the same every time", 2},
		"live":           {nil, "the state read back after Enter differs", 2},
		"decide changes": {nil, "Enter.Decide changes the state it is given", 3},
		"decide differs": {nil, "Enter.Decide is not the same every time", 2},
		"panic":          {nil, "Enter fails without being refused", 2},
		"codec":          {nil, "SeatTaken is not the same after encoding", 2},
		"boundary":       {[]annalstest.Generator[any]{enter("boundary"), annalstest.Commands(clap)}, "Hall.Evolve handles Applause", 0},
		"snapshot":       {[]annalstest.Generator[any]{kept}, "KeptHall from a snapshot differs", 1},
		"idle":           {[]annalstest.Generator[any]{annalstest.Commands(func(*rand.Rand) TakeSeat { return TakeSeat{} })}, "nothing was checked", 0},
	} {
		if c.commands == nil {
			c.commands = []annalstest.Generator[any]{enter(wrong)}
		}
		said := record(t, func(r *recorder) { annalstest.Check(r, schema, c.commands...) })
		if said == "" || !strings.Contains(said, c.want) {
			t.Errorf("%s: it says %q, want %q", wrong, said, c.want)
		}
		if c.steps > 0 && (!strings.Contains(said, fmt.Sprintf("  %d. ", c.steps)) || strings.Contains(said, fmt.Sprintf("  %d. ", c.steps+1))) {
			t.Errorf("%s: want a history of %d commands: %s", wrong, c.steps, said)
		}
	}
}
