package faultlane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/annalsdb/annals"
)

// Findings is how a store differs from a ledger. All but Events and Kept are to be 0.
type Findings struct {
	// Events is how many the store has, Kept how many appends it has that nobody was told of.
	Events, Kept int
	// Lost are events that were acknowledged and are not there, or are at another place.
	Lost int
	// Phantom are events that nobody tried, that differ from what was tried, or that were refused.
	Phantom int
	// Torn are appends of which a part is there, or is not in one piece.
	Torn int
	// Gaps are positions and revisions that do not follow the one before.
	Gaps int
	// Untrue are events whose condition did not hold.
	Untrue int
	// Answers are queries and subscriptions that differ from what a scan of the log gives, and resent appends that were
	// not recognised.
	Answers int
	// Problems says more of the first few.
	Problems []string
}

// Err is nil if the store is what the ledger says.
func (f *Findings) Err() error {
	if f.Lost+f.Phantom+f.Torn+f.Gaps+f.Untrue+f.Answers == 0 {
		return nil
	}
	return fmt.Errorf("faultlane: lost=%d phantom=%d torn=%d gaps=%d untrue=%d answers=%d: %q",
		f.Lost, f.Phantom, f.Torn, f.Gaps, f.Untrue, f.Answers, f.Problems)
}

const problemsMax = 8

func (f *Findings) note(count *int, format string, args ...any) {
	*count++
	if len(f.Problems) < problemsMax {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}

// Oracle compares a store with a ledger.
type Oracle struct {
	Ledger *Ledger
	Random *rand.Rand
	// Queries is how many of the names that occur are asked for; 0 is all.
	Queries int
	// Resend is how many acknowledged appends are sent again, beside those whose outcome is open. What a resent append
	// is told is entered into the ledger.
	Resend int

	log []annals.Recorded
	// at is the index in log of the first event of each attempt.
	at map[Attempt]int
}

// Check reads everything. The error is what kept it from reading.
func (o *Oracle) Check(ctx context.Context, s annals.Store) (Findings, error) {
	var f Findings
	o.log, o.at = o.log[:0], map[Attempt]int{}
	for e, err := range s.Read(ctx, annals.All().WithSystem()) {
		if err != nil {
			return f, fmt.Errorf("faultlane: reading after %d events: %w", len(o.log), err)
		}
		o.log = append(o.log, e)
	}
	f.Events = len(o.log)
	if head, err := s.Head(ctx); err != nil || int(head) != len(o.log) {
		f.note(&f.Gaps, "the head is %d, %v; there are %d events", head, err, len(o.log))
	}
	o.order(&f)
	o.origin(&f)
	o.acknowledged(&f)
	if err := o.answers(ctx, s, &f); err != nil {
		return f, err
	}
	return f, o.resend(ctx, s, &f)
}

// order wants positions and revisions without gaps, and times that do not go back.
func (o *Oracle) order(f *Findings) {
	next := map[string]annals.Revision{}
	for i, e := range o.log {
		if int(e.Position) != i+1 {
			f.note(&f.Gaps, "event %d is at position %d", i+1, e.Position)
		}
		want := annals.NoRevision
		if e.Stream != "" {
			want = next[e.Stream]
			next[e.Stream]++
		}
		if e.Revision != want {
			f.note(&f.Gaps, "the event at %d has revision %d of %q, want %d", e.Position, e.Revision, e.Stream, want)
		}
		if i > 0 && e.Time.Before(o.log[i-1].Time) {
			f.note(&f.Gaps, "the event at %d is earlier than the one before", e.Position)
		}
	}
}

// origin wants each event to be, byte for byte, one that was tried and not refused, with all that were appended with it, and
// on a true condition.
func (o *Oracle) origin(f *Findings) {
	lastClaim := map[string]annals.Position{}
	for i := 0; i < len(o.log); {
		first := o.log[i]
		a, index, err := attemptOf(first.Event)
		tried := o.Ledger.entries[a]
		_, twice := o.at[a]
		switch {
		case err != nil || tried == nil:
			f.note(&f.Phantom, "the event at %d, of %s, was never tried: %v", first.Position, a, err)
			i++
			continue
		case twice || tried.said == refused:
			f.note(&f.Phantom, "the event at %d, of %s, is there twice (%v), or was refused (%v)", first.Position, a, twice, tried.said == refused)
		}
		o.at[a] = i
		events := a.Events()
		whole := index == 0 && i+len(events) <= len(o.log)
		n := 0
		for ; n < len(events) && whole; n++ {
			if b, at, err := attemptOf(o.log[i+n].Event); err != nil || b != a || at != n {
				whole = false
			}
		}
		if !whole {
			f.note(&f.Torn, "of the %d events of %s not all follow each other at %d", len(events), a, first.Position)
			i++
			continue
		}
		for n, e := range events {
			if got := o.log[i+n]; got.ID != e.ID || got.Stream != e.Stream || !got.SameContent(e) || len(got.Metadata) > 0 {
				f.note(&f.Phantom, "the event at %d is not what %s says", got.Position, a)
			}
		}
		switch {
		case a.Kind == Counter && uint64(first.Revision) != a.Arg:
			f.note(&f.Untrue, "%s was accepted as revision %d", a, first.Revision)
		case a.Kind == Claim && uint64(lastClaim[a.tag()]) > a.Arg:
			f.note(&f.Untrue, "%s was accepted at %d after %d", a, first.Position, lastClaim[a.tag()])
		}
		if a.Kind == Claim {
			lastClaim[a.tag()] = first.Position
		}
		if tried.said == open {
			f.Kept++
		}
		i += len(events)
	}
}

// acknowledged wants what was acknowledged where it was.
func (o *Oracle) acknowledged(f *Findings) {
	for a, e := range o.Ledger.entries {
		if e.said != acked {
			continue
		}
		if at, found := o.at[a]; !found || o.log[at].Position != e.first {
			n := len(a.Events())
			f.note(&f.Lost, "%s was acknowledged at %d; found %v", a, e.first, found)
			f.Lost += n - 1
		}
	}
}

// answers compares queries and a subscription with the scan.
func (o *Oracle) answers(ctx context.Context, s annals.Store, f *Findings) error {
	names := map[string]annals.Query{}
	for _, e := range o.log {
		names["type "+e.Type] = annals.Types(e.Type)
		if e.Stream != "" {
			names["stream "+e.Stream] = annals.Stream(e.Stream)
			names["category "+e.Category()] = annals.Category(e.Category())
		}
		for _, t := range e.Tags {
			names["tag "+t] = annals.Tags(t)
		}
	}
	keys := make([]string, 0, len(names))
	for name := range names {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	if o.Queries > 0 && len(keys) > o.Queries {
		o.Random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		keys = keys[:o.Queries]
	}
	for i, name := range keys {
		if err := o.query(ctx, s, f, names[name], i%2 == 1); err != nil {
			return err
		}
	}
	followed := annals.All()
	if len(keys) > 0 && o.Random.IntN(2) == 0 {
		followed = names[keys[0]]
	}
	return o.follow(ctx, s, f, followed)
}

func (o *Oracle) matches(q annals.Query) []annals.Position {
	var want []annals.Position
	for _, e := range o.log {
		if q.Match(e) {
			want = append(want, e.Position)
		}
	}
	return want
}

func (o *Oracle) query(ctx context.Context, s annals.Store, f *Findings, q annals.Query, backwards bool) error {
	want := o.matches(q)
	var opts []annals.ReadOption
	if backwards {
		slices.Reverse(want)
		opts = append(opts, annals.Backwards())
	}
	var got []annals.Position
	for e, err := range s.Read(ctx, q, opts...) {
		if err != nil {
			return fmt.Errorf("faultlane: reading %s: %w", q, err)
		}
		got = append(got, e.Position)
	}
	if !slices.Equal(got, want) {
		f.note(&f.Answers, "%s gives %d events, a scan %d", q, len(got), len(want))
	}
	return nil
}

func (o *Oracle) follow(ctx context.Context, s annals.Store, f *Findings, q annals.Query) error {
	var got []annals.Position
	for u, err := range s.Subscribe(ctx, q, 0) {
		if err != nil {
			return fmt.Errorf("faultlane: subscribing to %s: %w", q, err)
		}
		if u.Event != nil {
			got = append(got, u.Event.Position)
		}
		if u.CaughtUp {
			break
		}
	}
	if want := o.matches(q); !slices.Equal(got, want) {
		f.note(&f.Answers, "a subscription to %s gives %d events, a scan %d", q, len(got), len(want))
	}
	return nil
}

// resend sends appends again: what is there must be recognised, whatever was appended since; what is not may be appended now.
func (o *Oracle) resend(ctx context.Context, s annals.Store, f *Findings) error {
	again := slices.Clone(o.Ledger.open)
	for a, e := range o.Ledger.entries {
		if o.Resend > 0 && e.said == acked && o.Random.IntN(1+len(o.Ledger.entries)/o.Resend) == 0 {
			again = append(again, a)
		}
	}
	if o.Resend == 0 {
		return nil
	}
	for _, a := range again {
		at, there := o.at[a]
		r, err := s.Append(ctx, a.Events(), a.Conditions()...)
		switch {
		case err == nil && there && (!r.Duplicate || r.First != o.log[at].Position):
			f.note(&f.Answers, "%s, which is at %d, was sent again, and answered %+v", a, o.log[at].Position, r)
		case err == nil && !there && r.Duplicate:
			f.note(&f.Answers, "%s, which is not there, was sent again, and is said to be at %d", a, r.First)
		case err != nil && (there || !errors.Is(err, annals.ErrConflict)):
			f.note(&f.Answers, "%s (there: %v) was sent again, and answered %v", a, there, err)
		}
		if o.Ledger.entries[a].said != open {
			continue
		}
		line, _, _ := answer(r, err)(a) // a wrong answer is noted already
		if err := o.Ledger.Line(line); err != nil {
			return err
		}
	}
	return nil
}
