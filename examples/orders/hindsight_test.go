package orders_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

// hourly is a log in which something happened every hour.
func hourly(t *testing.T, events ...orders.Event) *annals.Log[orders.Event] {
	t.Helper()
	now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	log := orders.NewLog(memory.New(memory.Clock(func() time.Time { return now })), hashKey)
	for _, e := range events {
		if _, err := log.Append(t.Context(), []orders.Event{e}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	return log
}

func whatIf(t *testing.T, log *annals.Log[orders.Event], edits ...timetravel.Edit) *timetravel.Branch {
	t.Helper()
	b, err := timetravel.WhatIf(t.Context(), log.Store(), edits...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func raw(ctx context.Context, t *testing.T, log *annals.Log[orders.Event], events ...orders.Event) []annals.Event {
	t.Helper()
	encoded, err := log.Encode(ctx, events)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// reprice brings the lines of an order to their right prices, by events of today: what was wrong stays to be seen.
func reprice(today, wanted orders.Order, _ []timetravel.Change) (events []orders.Event, _ error) {
	for _, l := range wanted.Lines {
		events = append(events, removed{today.ID, l.Product}, added{today.ID, l})
	}
	return events, nil
}

// The price list had a mistake. The orders that are open get the right price, all at once, and for a reason that is kept.
func TestAWrongPriceIsCorrectedAfterTheFact(t *testing.T) {
	t.Parallel()
	wrong := orders.Line{Product: "tea", Count: 2, Price: eur(4500)}
	log := hourly(t, received{"tea", 10, eur(4500)}, created{"1", "customer-1"}, added{"1", wrong}, created{"2", "customer-2"}, added{"2", tea(1)})
	ctx := annals.WithPrincipal(t.Context(), clerk)
	b := whatIf(t, log,
		timetravel.Replace(1, raw(ctx, t, log, received{"tea", 10, eur(450)})...),
		timetravel.Replace(3, raw(ctx, t, log, added{"1", tea(2)})...))
	done, err := timetravel.Correct(ctx, log, b, "a nought too many in the price list of 1 May",
		timetravel.Amend(orders.Order{ID: "1"}, reprice), timetravel.Amend(orders.Order{ID: "2"}, reprice))
	if err != nil || fmt.Sprint(done.Changes) != "[[lines[0].price.amount: 4500 → 450] []]" || len(done.Events) != 2 {
		t.Fatalf("got %+v, %v", done, err)
	}
	why, err := timetravel.Why(ctx, log, orders.Order{ID: "1"}, "lines")
	if err != nil || why.Event.Metadata.Reason != "a nought too many in the price list of 1 May" || why.Event.Metadata.Actor != "clerk" {
		t.Errorf("got %+v, %v", why, err)
	}
}

// Bob's order was cancelled because nobody paid it in time. What if the money had come before that?
func TestWhatIfThePaymentHadComeEarlier(t *testing.T) {
	t.Parallel()
	total := eur(450)
	log := hourly(t, received{"tea", 10, eur(450)}, created{"1", "customer-2"}, added{"1", tea(1)}, placed{"1", lines{tea(1)}, total},
		orders.PaymentOverdue{Order: "1"}, cancelled{"1", lines{tea(1)}}, orders.PaymentTaken{Order: "1", Receipt: "r", Amount: total}, orders.RefundDue{Order: "1", Receipt: "r"})
	b := whatIf(t, log,
		timetravel.Move(4, 7).At(time.Date(2026, 5, 1, 12, 30, 0, 0, time.UTC)),
		timetravel.Insert(4, raw(t.Context(), t, log, paid{"1", total})...),
		timetravel.Drop(5, 6, 8)) // what would not have happened then
	changes, err := timetravel.Compare(t.Context(), log, log.On(b), orders.Order{ID: "1"})
	if err != nil || fmt.Sprint(changes) != `[status: "cancelled" → "paid"]` {
		t.Errorf("got %v, %v", changes, err)
	}
	rows, err := timetravel.CompareRows(t.Context(), log, log.On(b), orders.Orders, 1)
	if err != nil || rows.Differ != 1 || rows.Samples[0].A.Status != orders.StatusCancelled || rows.Samples[0].B.Status != orders.StatusPaid {
		t.Errorf("got %+v, %v", rows, err)
	}
}

// Since when is more promised than there is?
func TestTheEventThatBrokeAnOrderIsFound(t *testing.T) {
	t.Parallel()
	log := hourly(t, created{"1", "customer-1"}, added{"1", tea(1)}, added{"1", pot(1)}, removed{"1", "tea"}, added{"1", pot(4)}, placed{"1", lines{pot(5)}, eur(19500)})
	cheap := func(o orders.Order) bool {
		total, err := o.Lines.Total()
		return err == nil && total.Amount <= 10_000
	}
	broken, err := timetravel.Bisect(t.Context(), log, orders.Order{ID: "1"}, cheap)
	if err != nil || broken.Event.Position != 5 || broken.Event.Type != "ItemAdded" {
		t.Errorf("got %+v, %v", broken, err)
	}
}
