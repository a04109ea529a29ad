package faultlane_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/faultlane"
	"github.com/annalsdb/annals/store/memory"
)

// liar is a store that does not hold what it was told.
type liar struct {
	annals.Store
	// scan changes what a read of everything gives, other what other reads give.
	scan, other func([]annals.Recorded) []annals.Recorded
	// forgetful is a store that recognises nothing that is sent again.
	forgetful bool
}

func (l liar) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	var got []annals.Recorded
	for e, err := range l.Store.Read(ctx, q, opts...) {
		if err != nil {
			return func(yield func(annals.Recorded, error) bool) { yield(e, err) }
		}
		got = append(got, e)
	}
	change := l.other
	if q.String() == annals.All().WithSystem().String() {
		change = l.scan
	}
	if change != nil {
		got = change(got)
	}
	return func(yield func(annals.Recorded, error) bool) {
		for _, e := range got {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l liar) Head(ctx context.Context) (annals.Position, error) {
	var p annals.Position
	for e, err := range l.Read(ctx, annals.All().WithSystem()) {
		if err != nil {
			return 0, err
		}
		p = e.Position
	}
	return p, nil
}

func (l liar) Append(ctx context.Context, es []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	r, err := l.Store.Append(ctx, es, conds...)
	r.Duplicate = r.Duplicate && !l.forgetful
	return r, err
}

func TestTheOracleSeesEveryWayInWhichAStoreCanDifferFromALedger(t *testing.T) {
	t.Parallel()
	s := memory.New()
	l := faultlane.NewLedger()
	ledgerOf(t, l, &faultlane.Writers{Store: s, Count: 3, Most: 40}, "")
	stranger := memory.New()
	ledgerOf(t, faultlane.NewLedger(), &faultlane.Writers{Store: stranger, Life: 5, Count: 1, Most: 40}, "")
	foreign, err := everyEvent(t.Context(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	each := func(change func(i int, e *annals.Recorded)) func([]annals.Recorded) []annals.Recorded {
		return func(es []annals.Recorded) []annals.Recorded {
			for i := range es {
				change(i, &es[i])
			}
			return es
		}
	}
	for what, c := range map[string]struct {
		store annals.Store
		want  string
	}{
		"nothing":           {s, ""},
		"a shorter log":     {liar{Store: s, scan: func(es []annals.Recorded) []annals.Recorded { return es[:len(es)-1] }}, "lost"},
		"other data":        {liar{Store: s, scan: each(func(i int, e *annals.Recorded) { e.Data = append(slices.Clip(e.Data), byte(i)) })}, "phantom"},
		"events of another": {liar{Store: s, scan: func(es []annals.Recorded) []annals.Recorded { return append(es, foreign...) }}, "phantom"},
		"a missing event":   {liar{Store: s, scan: func(es []annals.Recorded) []annals.Recorded { return append(es[:9:9], es[10:]...) }}, "gaps"},
		"half an append":    {liar{Store: s, scan: halved}, "torn"},
		"a revision twice":  {liar{Store: s, scan: each(func(_ int, e *annals.Recorded) { e.Revision = min(e.Revision, 3) })}, "gaps"},
		"a query too short": {liar{Store: s, other: func(es []annals.Recorded) []annals.Recorded { return es[1:] }}, "answers"},
		"no memory of ids":  {liar{Store: s, forgetful: true}, "answers"},
	} {
		o := faultlane.Oracle{Ledger: l, Random: rand.New(rand.NewPCG(1, 1)), Resend: 20}
		f, err := o.Check(t.Context(), c.store)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		found := map[string]int{"lost": f.Lost, "phantom": f.Phantom, "gaps": f.Gaps, "torn": f.Torn, "answers": f.Answers, "": 1}
		if err := f.Err(); (err == nil) != (c.want == "") || found[c.want] == 0 {
			t.Errorf("%s: the oracle says %v, want %q", what, err, c.want)
		}
	}
}

// halved leaves out the last event of the last batch.
func halved(es []annals.Recorded) []annals.Recorded {
	for i, e := range slices.Backward(es) {
		if strings.Contains(string(e.Data), "/"+string(faultlane.Batch)+"/") {
			return append(es[:i:i], es[i+1:]...)
		}
	}
	return es
}

func TestALedgerTakesNoAnswerThatNobodyCanHaveBeenGiven(t *testing.T) {
	t.Parallel()
	a := faultlane.Attempt{Writer: 1, Kind: faultlane.Batch, Number: 3}
	for _, lines := range [][]string{
		{"try " + a.String(), "try " + a.String()},
		{"ack " + a.String() + " 1 " + a.Hash()},
		{"try " + a.String(), "ack " + a.String() + " 1 00"},
		{"try " + a.String(), "ack " + a.String() + " 1 " + a.Hash(), "refused " + a.String() + " why"},
		{"try 1/2/3"},
		{"tell " + a.String()},
	} {
		l := faultlane.NewLedger()
		var err error
		for _, line := range lines {
			if err = l.Line(line); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("a ledger takes %q", lines)
		}
	}
}
