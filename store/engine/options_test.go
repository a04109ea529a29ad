package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/memory"
)

// readOptions are any that fit together or do not, and what they are.
func (g generator) readOptions(head annals.Position, q annals.Query) (opts []annals.ReadOption, text string) {
	add := func(name string, value any, o annals.ReadOption) {
		opts = append(opts, o)
		text += fmt.Sprint(" ", name, " ", value)
	}
	position := func() annals.Position { return annals.Position(g.IntN(int(head) + 3)) }
	revision := func() annals.Revision { return annals.Revision(g.IntN(30)) }
	if g.IntN(3) == 0 {
		p := position()
		add("After", p, annals.After(p))
	}
	if g.IntN(3) == 0 {
		p := position()
		add("AsOf", p, annals.AsOf(p))
	}
	if g.IntN(3) == 0 {
		at := epoch.Add(time.Duration(g.IntN(24)-4) * 500 * time.Millisecond)
		add("AsOfTime", at, annals.AsOfTime(at))
	}
	if g.IntN(2) == 0 {
		add("Backwards", "", annals.Backwards())
	}
	if g.IntN(3) == 0 {
		n := g.IntN(5)
		add("Limit", n, annals.Limit(n))
	}
	if g.IntN(3) == 0 {
		p := min(position(), head) // to wait for more would take for ever
		add("AtLeast", p, annals.AtLeast(p))
	}
	if g.IntN(3) == 0 && (q.Stream() != "" || g.IntN(8) == 0) {
		r := revision()
		add("AsOfRevision", r, annals.AsOfRevision(r))
	}
	if g.IntN(3) == 0 && (q.Stream() != "" || g.IntN(8) == 0) {
		r := revision()
		add("FromRevision", r, annals.FromRevision(r))
	}
	return opts, text
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestReadOptionsMeanWhatTheyMeanToTheReferenceStore(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(20) {
		g := generator{rand.New(rand.NewPCG(seed, 6))}
		now := epoch
		clock := func() time.Time { return now }
		reference := memory.New(memory.Clock(clock))
		s := start(t, newJournal(), func(c *engine.Config) { c.Clock = clock })
		for range 30 {
			es := g.events(4)
			for _, s := range []annals.Store{s.System(), reference.System()} {
				if _, err := s.Append(t.Context(), es); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(time.Duration(g.IntN(3)-1) * 500 * time.Millisecond) // it goes back, too
		}
		for range 200 {
			compareReads(t, g, s, reference)
		}
		if t.Failed() {
			t.Fatalf("-seed=%d", seed)
		}
	}
}

// events are up to so many.
func (g generator) events(most int) []annals.Event {
	es := make([]annals.Event, 1+g.IntN(most))
	for i := range es {
		es[i] = g.event()
	}
	return es
}

func compareReads(t *testing.T, g generator, s, reference annals.Store) {
	t.Helper()
	head, err := reference.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := g.query(nil)
	if g.IntN(3) == 0 {
		q = annals.Stream(g.pick("s-1", "s-2", "r-1", "r", "z")) // the options about revisions want one
	}
	opts, text := g.readOptions(head, q)
	var gotHead, wantHead annals.Position
	got, err := read(t, s, q, append(slices.Clone(opts), annals.HeadInto(&gotHead))...)
	want, wantErr := read(t, reference, q, append(slices.Clone(opts), annals.HeadInto(&wantHead))...)
	// The texts hold all that the errors say.
	if gotHead != wantHead || fmt.Sprint(err) != fmt.Sprint(wantErr) || !slices.EqualFunc(got, want, sameRecorded) {
		t.Errorf("%s with%s reads %d events at %d, %v; want %d at %d, %v",
			q, strings.TrimRight(text, " "), len(got), gotHead, err, len(want), wantHead, wantErr)
	}
}

func sameRecorded(a, b annals.Recorded) bool {
	return a.Position == b.Position && a.Revision == b.Revision && a.Time.Equal(b.Time) && a.SameContent(b.Event)
}
