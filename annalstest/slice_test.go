package annalstest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

type GetShow struct{ Show string }

func slice(tb testing.TB, middleware ...cqrs.Middleware) *annalstest.Slice[any] {
	tb.Helper()
	s := annalstest.NewSlice(tb, schema, Shows).Through(middleware...)
	cqrs.Answer(s.Bus, func(ctx context.Context, q GetShow) (ShowRow, error) {
		return projection.Of(s.Views, Shows).Get(ctx, q.Show)
	})
	return s
}

func TestASliceFromCommandToView(t *testing.T) {
	t.Parallel()
	var audited []cqrs.AuditRecord
	s := slice(t, cqrs.Audit(func(_ context.Context, r cqrs.AuditRecord) { audited = append(audited, r) }))
	s.As(annals.Principal{ID: "ann"}).Given(opened)
	annalstest.ThenAnswer(s, GetShow{"1"}, ShowRow{Seats: 3})
	annalstest.Do(s, take).Then(taken)
	annalstest.ThenAnswer(s, GetShow{"1"}, ShowRow{Seats: 2, By: []string{"ann"}})
	annalstest.ThenNoAnswer[ShowRow](s, GetShow{"2"}, projection.ErrNotFound)
	annalstest.Do(s, take).Then(taken)
	annalstest.Do(s, take).ThenError(errFull)
	annalstest.ThenAnswer(s, GetShow{"1"}, ShowRow{Seats: 1, By: []string{"ann", "ann"}})
	if len(audited) != 3 || audited[2].Outcome != cqrs.OutcomeRejected || audited[0].Actor != "ann" {
		t.Errorf("the bus of the slice was not used: %+v", audited)
	}
}

func TestTheTimesOfASliceAreTheOnesThatWereSaid(t *testing.T) {
	t.Parallel()
	s := slice(t).Given(opened)
	later := annalstest.Epoch.Add(time.Hour)
	annalstest.Do(s, take).At(later).Then(taken)
	annalstest.Do(s.At(later.Add(time.Hour)), take).Then(taken)
	var times []time.Time
	for e, err := range s.Log.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, e.Time)
	}
	want := []time.Time{annalstest.Epoch, later, later.Add(time.Hour)}
	for i := range want {
		if !times[i].Equal(want[i]) {
			t.Errorf("event %d is of %v, want %v", i+1, times[i], want[i])
		}
	}
}

func TestASliceThatDoesNotHoldSaysWhy(t *testing.T) {
	t.Parallel()
	failing := Shows
	failing.Apply = func(string, *ShowRow, annals.Entry[any]) error { return errors.New("apply is broken") }
	for want, test := range map[string]func(*recorder){
		"decided other events":  func(r *recorder) { annalstest.Do(slice(r).Given(opened), take).Then(opened) },
		"says no outcome":       func(r *recorder) { annalstest.Do(slice(r), take) },
		"is answered otherwise": func(r *recorder) { annalstest.ThenAnswer(slice(r).Given(opened), GetShow{"1"}, ShowRow{}) },
		"failed":                func(r *recorder) { annalstest.ThenAnswer(slice(r), GetShow{"1"}, ShowRow{}) },
		"was not to be": func(r *recorder) {
			annalstest.ThenNoAnswer[ShowRow](slice(r).Given(opened), GetShow{"1"}, projection.ErrNotFound)
		},
		"no projection.ErrLagging, or": func(r *recorder) {
			annalstest.ThenNoAnswer[ShowRow](slice(r), GetShow{"1"}, decider.Rule("no projection.ErrLagging, or"))
		},
		"apply is broken": func(r *recorder) { annalstest.NewSlice(r, schema, failing).Given(opened) },
		"given event 1":   func(r *recorder) { slice(r).Given(struct{}{}) },
	} {
		if said := record(t, test); !strings.Contains(said, want) {
			t.Errorf("it does not say %q, but\n%s", want, said)
		}
	}
}
