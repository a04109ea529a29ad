package annalstest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

const (
	errUnknown = decider.Rule("no such show")
	errFull    = decider.Rule("no seat left")
)

type Show struct {
	ID    string
	Seats int
	Notes string
}

func (s Show) Boundary() annals.Query { return annals.Stream("show-" + s.ID) }

func (s Show) Evolve(e any) Show {
	switch e := e.(type) {
	case ShowOpened:
		s.Seats = e.Seats
	case SeatTaken:
		s.Seats--
		s.Notes += e.note
	}
	return s
}

// TakeSeat does right, or in one of the wrong ways that the kit finds.
type TakeSeat struct{ Show, By, Wrong string }

func (c TakeSeat) Initial() Show { return Show{ID: c.Show} }

func (c TakeSeat) Validate() error {
	var v decider.Invalid
	v.Check(c.Show != "", "show", "is required")
	v.Check(c.By != "", "by", "is required")
	return v.Err()
}

func (c TakeSeat) Authorize(p annals.Principal, _ Show) error {
	if p.Has("banned") {
		return decider.Rule("banned")
	}
	return nil
}

func (c TakeSeat) Decide(s Show) ([]any, error) {
	switch {
	case s.Seats == 0 && s.Notes == "":
		return nil, errUnknown
	case s.Seats == 1:
		return nil, errFull
	}
	switch c.Wrong {
	case "nothing":
		return nil, nil
	case "outside":
		return []any{SeatTaken{Show: c.Show}, Applause{Volume: 11}}, nil
	case "lossy":
		return []any{SeatTaken{Show: c.Show, note: "lost in JSON"}}, nil
	}
	return []any{SeatTaken{Show: c.Show, By: []string{c.By}}}, nil
}

var (
	take   = TakeSeat{Show: "1", By: "ann"}
	opened = ShowOpened{Show: "1", Seats: 3}
	taken  = SeatTaken{Show: "1", By: []string{"ann"}}
)

func TestSpecsThatHoldSayNothing(t *testing.T) {
	t.Parallel()
	annalstest.When(t, schema, take).Given(opened).Then(taken)
	annalstest.When(t, schema, take).Given(opened).ThenState(Show{ID: "1", Seats: 2})
	annalstest.When(t, schema, take).Given(opened, SeatTaken{Show: "1"}, SeatTaken{Show: "1"}).ThenError(errFull)
	annalstest.When(t, schema, take).Given(ShowOpened{Show: "2", Seats: 3}).ThenError(errUnknown)
	annalstest.When(t, schema, take).Given(opened).As(annals.Principal{Roles: []string{"banned"}}).ThenError(decider.ErrForbidden)
	annalstest.When(t, schema, take).Given(opened).With(decider.Expect(4)).ThenError(annals.ErrConflict)
	annalstest.When(t, schema, TakeSeat{}).ThenInvalid("show", "by")
	annalstest.When(t, schema, TakeSeat{Show: "1", By: "ann", Wrong: "nothing"}).Given(opened).ThenNothing()
	annalstest.When(t, schema, take).At(annalstest.Epoch.Add(time.Hour)).Given(opened).Then(taken)
	annalstest.When(t, schema, take).Given(opened).With(decider.DryRun()).Then(taken)
	annalstest.When(t, schema, take).Given(opened).With(decider.DryRun()).ThenState(Show{ID: "1", Seats: 2})
	annalstest.When(t, schema, Lend{Show: "1", To: "2"}).Given(opened, ShowOpened{Show: "2", Seats: 5}).Then(SeatTaken{Show: "1", By: []string{"2"}})
	annalstest.When(t, schema, Lend{Show: "1", To: "2"}).Given(opened, ShowOpened{Show: "2", Seats: 5}).ThenState(Lenders{Show: "1", To: []string{"2"}, Seats: 3})
}

// Lenders is a show that lends its seats to others: its boundary grows by theirs, and so by an event that is decided.
type Lenders struct {
	Show  string
	To    []string
	Seats int
}

func (s Lenders) Boundary() annals.Query {
	q := annals.Stream("show-" + s.Show)
	for _, show := range s.To {
		q = q.Or(annals.Stream("show-" + show))
	}
	return q
}

func (s Lenders) Evolve(e any) Lenders {
	switch e := e.(type) {
	case ShowOpened:
		s.Seats += e.Seats
	case SeatTaken:
		s.To = append(s.To, e.By...)
	}
	return s
}

type Lend struct{ Show, To string }

func (c Lend) Initial() Lenders { return Lenders{Show: c.Show} }
func (c Lend) Decide(Lenders) ([]any, error) {
	return []any{SeatTaken{Show: c.Show, By: []string{c.To}}}, nil
}

func TestSpecsThatDoNotHoldSayWhy(t *testing.T) {
	t.Parallel()
	wrong := func(how string) TakeSeat { return TakeSeat{Show: "1", By: "ann", Wrong: how} }
	cases := []struct {
		name string
		test func(*recorder)
		want []string
	}{
		{
			"other events",
			func(r *recorder) {
				annalstest.When(r, schema, take).Given(opened).Then(SeatTaken{Show: "1", By: []string{"bob"}}, opened)
			},
			[]string{"TakeSeat decided other events", `! annalstest_test.SeatTaken {"show":"1","by":["ann"]}`, `["bob"]`, "! annalstest_test.ShowOpened"},
		},
		{
			"events that JSON cannot tell apart",
			func(r *recorder) {
				annalstest.When(r, schema, take).Given(opened).Then(SeatTaken{Show: "1", By: []string{"ann"}, note: "x"})
			},
			[]string{"which is {Show:1 By:[ann] Gifts:[] note:x}"},
		},
		{
			"another state",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened).ThenState(Show{ID: "1"}) },
			[]string{"another state", `"Seats":2`},
		},
		{
			"an error instead of events",
			func(r *recorder) { annalstest.When(r, schema, take).Then(taken) },
			[]string{"TakeSeat failed: TakeSeat rejected: no such show"},
		},
		{
			"events instead of nothing",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened).ThenNothing() },
			[]string{"was to decide nothing", "SeatTaken"},
		},
		{
			"nothing instead of events",
			func(r *recorder) { annalstest.When(r, schema, wrong("nothing")).Given(opened).Then(taken) },
			[]string{"got:\n    nothing"},
		},
		{
			"events instead of an error",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened).ThenError(errFull) },
			[]string{"was accepted, not refused", "want no seat left", "SeatTaken"},
		},
		{
			"another error",
			func(r *recorder) { annalstest.When(r, schema, take).ThenError(errFull) },
			[]string{"got TakeSeat rejected: no such show\nwant no seat left"},
		},
		{
			"another error instead of an invalid field",
			func(r *recorder) { annalstest.When(r, schema, take).ThenInvalid("by") },
			[]string{"no such show", `want a decider.InvalidError of ["by"]`},
		},
		{
			"other invalid fields",
			func(r *recorder) { annalstest.When(r, schema, TakeSeat{Show: "1"}).ThenInvalid("show") },
			[]string{"by is required", `want the fields ["show"]`},
		},
		{
			"an event outside the boundary",
			func(r *recorder) { annalstest.When(r, schema, wrong("outside")).Given(opened).ThenNothing() },
			[]string{"outside the boundary", "Unguarded", `Applause {"Volume":11}`, "stream show-1", "widen Boundary"},
		},
		{
			"an event that loses something when it is stored",
			func(r *recorder) {
				annalstest.When(r, schema, wrong("lossy")).Given(opened).Then(SeatTaken{Show: "1", note: "lost in JSON"})
			},
			[]string{"lose something in JSON"},
		},
		{
			"no outcome",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened) },
			[]string{"says no outcome"},
		},
		{
			"two outcomes",
			func(r *recorder) {
				s := annalstest.When(r, schema, take).Given(opened)
				s.Then(taken)
				s.Then(taken)
			},
			[]string{"twice"},
		},
		{
			"Then without events",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened).Then() },
			[]string{"say ThenNothing"},
		},
		{
			"ThenError without an error",
			func(r *recorder) { annalstest.When(r, schema, take).ThenError(nil) },
			[]string{"ThenError(nil)"},
		},
		{
			"a past that cannot be",
			func(r *recorder) { annalstest.When(r, schema, take).Given(opened, 7).Then(taken) },
			[]string{"given event 1, int 7"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			said := record(t, c.test)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
		})
	}
}

// Tally keeps a map, and changes one that it does not own if it is told to.
type Tally struct {
	Show  string
	Taken map[string]int
	Leak  map[string]int
}

func (s Tally) Boundary() annals.Query { return annals.Stream("show-" + s.Show) }

func (s Tally) Evolve(e any) Tally {
	if s.Taken == nil {
		s.Taken = map[string]int{}
	}
	if e, ok := e.(SeatTaken); ok {
		for _, by := range e.By {
			s.Taken[by]++
		}
		if s.Leak != nil {
			s.Leak["n"]++
		}
	}
	return s
}

func TestReplayFindsStatesThatDoNotFollowFromTheirEvents(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), schema)
	if _, err := log.Append(t.Context(), []any{opened, taken, SeatTaken{Show: "1"}, taken}); err != nil {
		t.Fatal(err)
	}
	annalstest.Replay(t, log, Tally{Show: "1"})
	if said := record(t, func(r *recorder) { annalstest.Replay(r, log, Tally{Show: "1", Leak: map[string]int{}}) }); !strings.Contains(said, "not the same twice") {
		t.Errorf("a map that is shared by states: it says %q", said)
	}
	old := []annals.Event{{Type: "SeatTaken", Stream: "show-1", Tags: []string{"seat:4"}, Data: []byte(`{"show":"1"}`)}}
	if _, err := log.Store().Append(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if said := record(t, func(r *recorder) { annalstest.Replay(r, log, Tally{Show: "1"}) }); !strings.Contains(said, `"seat:4"`) {
		t.Errorf("tags that today's schema would not give: it says %q", said)
	}
	if said := record(t, func(r *recorder) { annalstest.Replay(r, log, Tally{}) }); !strings.Contains(said, "has no id") {
		t.Errorf("a boundary that cannot be: it says %q", said)
	}
}

func TestAnEventMayLieOutsideTheBoundaryIfTheTestSaysSo(t *testing.T) {
	t.Parallel()
	annalstest.When(t, schema, TakeSeat{Show: "1", By: "ann", Wrong: "outside"}).Given(opened).Unguarded(Applause{}).Then(SeatTaken{Show: "1"}, Applause{Volume: 11})
}
