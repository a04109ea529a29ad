package annalstest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/process"
)

// Audience is a show as a process manager sees it.
type Audience struct {
	ID    string
	Taken int
}

func (a Audience) Boundary() annals.Query { return annals.Stream("show-" + a.ID) }

func (a Audience) Evolve(e any) Audience {
	if _, ok := e.(SeatTaken); ok {
		a.Taken++
	}
	return a
}

// BeginShow is a command that is only sent here.
type BeginShow struct{ Show string }

func (c BeginShow) Initial() Audience              { return Audience{ID: c.Show} }
func (c BeginShow) Decide(Audience) ([]any, error) { return nil, nil }

var _ decider.Command[Audience, any] = BeginShow{}

// begin begins a show when two seats are taken, or an hour after it opened.
var begin = process.Manager[Audience, any]{
	Name: "begin", By: "show", Query: annals.Types("ShowOpened", "SeatTaken"),
	Initial: func(key string) Audience { return Audience{ID: key} },
	React: func(a Audience, e annals.Entry[any], do *process.Effects[any]) {
		switch e.Value.(type) {
		case ShowOpened:
			do.Schedule("late", e.Time.Add(time.Hour), Applause{Volume: 1})
		case SeatTaken:
			if a.Taken == 2 {
				process.Send(do, BeginShow{Show: a.ID})
				process.Call(do, &process.Gateway[int, int]{Name: "lights"}, a.Taken, func(int) any { return Applause{} })
				do.Cancel("late")
				do.Complete()
			}
			if a.Taken > 2 {
				panic("full house")
			}
		}
	},
}

func react(tb testing.TB) *annalstest.Reaction[Audience, any] {
	tb.Helper()
	return annalstest.React(tb, schema, begin)
}

func TestAReactionIsWhatTheManagerAsksFor(t *testing.T) {
	t.Parallel()
	noon := annalstest.Epoch.Add(12 * time.Hour)
	react(t).At(noon).When(ShowOpened{Show: "1"}).Then(annalstest.Schedules("late", noon.Add(time.Hour), Applause{Volume: 1}))
	react(t).Given(ShowOpened{Show: "1"}).When(SeatTaken{Show: "1"}).ThenNothing()
	react(t).Given(SeatTaken{Show: "2"}, SeatTaken{Show: "1"}).When(SeatTaken{Show: "1"}).
		Then(annalstest.Sends(BeginShow{Show: "1"}), annalstest.Calls("lights", 2), annalstest.Cancels("late"), annalstest.Completes())
	react(t).When(Applause{}).For("1").ThenNothing()
	react(t).When(ShowOpened{Show: "1"}).For("2").ThenNothing()
}

func TestAReactionThatIsNotWantedIsShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		test func(*recorder)
		want []string
	}{
		"another effect": {
			func(r *recorder) {
				react(r).Given(SeatTaken{Show: "1"}).When(SeatTaken{Show: "1"}).Then(annalstest.Sends(BeginShow{Show: "2"}))
			},
			[]string{`"begin" does something else`, `send annalstest_test.BeginShow {"Show":"1"}`, "call lights with int 2", "cancel late", "complete\n", `want:`, `{"Show":"2"}`},
		},
		"another time": {
			func(r *recorder) {
				react(r).When(ShowOpened{Show: "1"}).Then(annalstest.Schedules("late", annalstest.Epoch, Applause{Volume: 1}))
			},
			[]string{"schedule late at 2026-01-01T01:00:00Z", "schedule late at 2026-01-01T00:00:00Z"},
		},
		"nothing": {
			func(r *recorder) { react(r).When(SeatTaken{Show: "1"}).Then(annalstest.Completes()) },
			[]string{"got:\n    nothing", "want:\n    complete"},
		},
		"a panic": {
			func(r *recorder) {
				react(r).Given(SeatTaken{Show: "1"}, SeatTaken{Show: "1"}).When(SeatTaken{Show: "1"}).ThenNothing()
			},
			[]string{"failed: process: panic in the manager begin: full house"},
		},
		"no event":      {func(r *recorder) { react(r).ThenNothing() }, []string{"say When"}},
		"no key":        {func(r *recorder) { react(r).When(Applause{}).ThenNothing() }, []string{"say For which one"}},
		"no outcome":    {func(r *recorder) { react(r).When(Applause{}) }, []string{"says no outcome"}},
		"no effects":    {func(r *recorder) { react(r).When(Applause{}).Then() }, []string{"say ThenNothing"}},
		"two outcomes":  {func(r *recorder) { s := react(r).When(SeatTaken{Show: "1"}); s.ThenNothing(); s.ThenNothing() }, []string{"twice"}},
		"no such event": {func(r *recorder) { react(r).When(3) }, []string{"not among the types"}},
	} {
		got := record(t, c.test)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got %s\nwant it to say %q", name, got, want)
			}
		}
	}
}
