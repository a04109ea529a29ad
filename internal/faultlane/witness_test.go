package faultlane_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
)

// witness knows what a store was told and what it answered, and so what it must hold, whatever became of its machines.
type witness struct {
	model *oracle
	log   []annals.Recorded // the model's
	// open is the append of which nobody knows, until the next machine.
	open *tried
	past []remembered
	life int
	// Of this life: whether an operation failed, and whether one that reads did.
	failed, unread bool

	count map[string]int
	trace func(format string, args ...any)
}

type remembered struct {
	tried
	life    int
	unknown bool // when it was answered first
}

func newWitness(count map[string]int, trace func(string, ...any)) *witness {
	return &witness{model: newOracle(), count: count, trace: trace}
}

// begin begins another life.
func (w *witness) begin(life int) { w.life, w.failed, w.unread = life, false, false }

// errUnread ends a life in which the disk does not let the log be compared: it may have the append of which nobody knows.
var errUnread = errors.New("the log cannot be read")

// recovered wants the log to be the one that was acknowledged, and at most the append of which nobody knew.
func (w *witness) recovered(m *machine) error {
	r := m.dir.Recovered()
	w.trace("recovered %+v", r)
	for _, loss := range r.Damage {
		if !w.unread || loss.First != 0 {
			return fmt.Errorf("damage after crashes only: %w", loss)
		}
	}
	if r.Clean {
		w.count["opened clean"]++
	}
	if r.CutBytes > 0 {
		w.count["torn tail cut"]++
		if r.QuarantineFile != "" {
			w.count["quarantine kept"]++
		}
	}
	got, err := all(m, annals.All())
	if err != nil {
		if err := w.unable("reading", err); err != nil {
			return err
		}
		return errUnread
	}
	if err := w.adopt(got); err != nil {
		return err
	}
	return differ("the log after recovery", got, w.log)
}

// adopt finds out what became of the append of which nobody knew.
func (w *witness) adopt(got []annals.Recorded) error {
	switch {
	case w.open == nil:
		return nil
	case len(got) == len(w.log)+len(w.open.events):
		if err := w.accept(*w.open, receiptOf(got[len(w.log):]), true); err != nil {
			return fmt.Errorf("of the append nobody knew of: %w", err)
		}
		w.count["unacknowledged tail kept"]++
	default:
		w.past = append(w.past, remembered{*w.open, w.life, true})
		w.count["unacknowledged tail gone"]++
	}
	w.open = nil
	return nil
}

// receiptOf is what the append of these events would have been told.
func receiptOf(es []annals.Recorded) annals.Receipt {
	r := annals.Receipt{First: es[0].Position, Last: es[len(es)-1].Position, Revision: annals.NoRevision, Time: es[0].Time}
	for _, e := range es {
		if e.Stream != "" {
			r.Revision = e.Revision
		}
	}
	return r
}

// unable is an error unless the disk explains it.
func (w *witness) unable(what string, err error) error {
	if w.failed && isInability(err) {
		w.count["read failed"]++
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// answered enters what an append was told, and is an error if it should not have been told that. The append is one that was
// made before, if again is not nil.
func (w *witness) answered(a tried, again *remembered, receipt annals.Receipt, err error) error {
	w.trace("append of %d, again %v: %+v, %v", len(a.events), again != nil, receipt, err)
	switch {
	case err == nil:
		if receipt.Duplicate && again != nil {
			w.count["duplicate"]++
			if again.life < w.life {
				w.count["duplicate after crash"]++
			}
			if again.unknown {
				w.count["duplicate of an unknown outcome"]++
			}
		}
		return w.accept(a, receipt, false)
	case isRefusal(err):
		w.count[refusalOf(err)]++
		if w.life > 0 && errors.Is(err, annals.ErrConflict) {
			w.count["conflict after crash"]++
		}
		return w.model.refuse(a, err)
	case !w.failed:
		return fmt.Errorf("an append was answered %w, and no operation failed", err)
	case errors.Is(err, annals.ErrUnknownOutcome):
		if w.open != nil {
			return fmt.Errorf("two appends in a life have no known outcome: %w", err)
		}
		w.open = &a
		w.count["unknown outcome"]++
	case !isInability(err):
		return fmt.Errorf("an append was answered %w", err)
	case errors.Is(err, annals.ErrFull):
		w.count["full"]++
	case errors.Is(err, annals.ErrReadOnly):
		w.count["stopped"]++
	case errors.Is(err, annals.ErrNotWritten):
		w.count["not written"]++
	}
	return nil
}

func refusalOf(err error) string {
	switch {
	case errors.Is(err, annals.ErrConflict):
		return "conflict"
	case errors.Is(err, annals.ErrIDReused):
		return "id reused"
	case errors.Is(err, annals.ErrPartialDuplicate):
		return "partial duplicate"
	}
	return "refused"
}

// accept enters an append into the model.
func (w *witness) accept(a tried, receipt annals.Receipt, unknown bool) error {
	if err := w.model.accept(a, receipt); err != nil {
		return err
	}
	if !receipt.Duplicate {
		w.past = append(w.past, remembered{a, w.life, unknown})
		added, err := all(w.model, annals.All(), annals.After(annals.Position(len(w.log))))
		if err != nil {
			return err
		}
		w.log = append(w.log, added...)
	}
	return nil
}

// reads compares a query with a scan of the log.
func (w *witness) reads(m *machine, q annals.Query, backwards bool) error {
	var opts []annals.ReadOption
	if backwards {
		opts = append(opts, annals.Backwards())
	}
	got, err := all(m, q, opts...)
	if err != nil {
		return w.unable("reading", err)
	}
	w.count["read"]++
	want := matching(w.log, q)
	if backwards {
		slices.Reverse(want)
	}
	return differ(fmt.Sprintf("%s, backwards %v", q, backwards), got, want)
}

// follows compares a subscription, until it has caught up, with a scan of the log.
func (w *witness) follows(m *machine, q annals.Query, after annals.Position) error {
	got, err := followed(m, q, after)
	if err != nil {
		return w.unable("subscribing", err)
	}
	w.count["subscription"]++
	return differ(fmt.Sprintf("a subscription to %s after %d", q, after), got, matching(w.log[after:], q))
}

// heads compares the head.
func (w *witness) heads(m *machine) error {
	head, err := m.Head(background)
	if err != nil || int(head) != len(w.log) {
		return fmt.Errorf("the head is %d, %w; want %d", head, err, len(w.log))
	}
	return nil
}

// names are the queries whose answers come from every kind of list in an index.
func names() []annals.Query {
	return []annals.Query{
		annals.Stream("s-1"), annals.Stream("s-2"), annals.Stream("r-1"), annals.Category("s"), annals.Types("A"), annals.Types("B"),
		annals.Types("C"), annals.Tags("k:1"), annals.Tags("k:2"), annals.Tags("l:1"), annals.Tags("k:1", "l:1"),
	}
}

// everything asks for all names, verifies all bytes, and sends again what was sent last. It is for a disk that works.
func (w *witness) everything(m *machine) error {
	for _, q := range names() {
		if err := w.reads(m, q, false); err != nil {
			return err
		}
	}
	report, err := m.dir.Verify(background)
	if err != nil || len(report.Damage) > 0 {
		return fmt.Errorf("it does not verify: %v, %w", report.Damage, err)
	}
	for _, r := range w.past[max(0, len(w.past)-10):] {
		receipt, err := m.Append(background, r.events, r.conds...)
		if err := w.answered(r.tried, &r, receipt, err); err != nil {
			return fmt.Errorf("sent again: %w", err)
		}
	}
	return nil
}
