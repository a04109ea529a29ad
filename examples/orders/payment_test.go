package orders_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
)

func TestAPaymentIsRequestedForAPlacedOrder(t *testing.T) {
	t.Parallel()
	charge := orders.ChargeOrder{Order: "1", Card: "mine"}
	requested := orders.PaymentRequested{Order: "1", Card: "mine", Amount: eur(900)}
	when(t, ann, charge).Given(placedTea...).Then(requested)
	when(t, clerk, charge).Given(placedTea...).Then(requested)
	when(t, bob, charge).Given(placedTea...).ThenError(decider.ErrForbidden)
	when(t, ann, charge).ThenError(orders.ErrUnknownOrder)
	when(t, ann, charge).Given(withTea...).ThenError(orders.ErrNotPlaced)
	when(t, ann, charge).Given(append(slices.Clip(placedTea), requested)...).ThenError(orders.ErrBeingPaid)
	when(t, ann, charge).Given(append(slices.Clip(placedTea), requested, orders.PaymentDeclined{Order: "1", Reason: "x"})...).Then(requested)
	when(t, ann, charge).Given(paidTea...).ThenError(orders.ErrNotPlaced)
	when(t, ann, orders.ChargeOrder{}).ThenInvalid("order", "card")
}

// shop is a service that runs on a store in a bubble of virtual time, in which events are appended as they are.
type shop struct {
	t     *testing.T
	store *memory.Store
	log   *annals.Log[orders.Event]
	stop  func()
}

func newShop(t *testing.T, payments orders.Payments, past ...orders.Event) *shop {
	t.Helper()
	s := &shop{t: t, store: memory.New()}
	s.log = orders.NewLog(s.store, hashKey)
	for _, e := range past {
		s.add(e)
	}
	c := config(s.store, nil)
	c.Payments, c.PayBackoff, c.PayWithin = payments, time.Second, 0
	service, err := orders.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.stop = func() { cancel(); all.Wait() }
	return s
}

func (s *shop) add(e orders.Event) {
	s.t.Helper()
	if _, err := s.log.Append(s.t.Context(), []orders.Event{e}); err != nil {
		s.t.Fatal(err)
	}
}

// since are the events after a position, by their types.
func (s *shop) since(p int) (types []string) {
	s.t.Helper()
	for e, err := range s.log.Read(s.t.Context(), annals.All(), annals.After(annals.Position(p))) {
		if err != nil {
			s.t.Fatal(err)
		}
		types = append(types, strings.TrimPrefix(fmt.Sprintf("%T", e.Value), "orders."))
	}
	return types
}

func pass(d time.Duration) { <-time.After(d) }

func requested(card string) orders.Event {
	return orders.PaymentRequested{Order: "1", Card: card, Amount: eur(900)}
}

func TestTheProviderTakesTheMoneyOrNot(t *testing.T) {
	t.Parallel()
	for card, c := range map[string]struct {
		want []string
		took time.Duration
	}{
		"good":     {[]string{"PaymentRequested", "PaymentTaken", "OrderPaid"}, 0},
		"slow":     {[]string{"PaymentRequested", "PaymentTaken", "OrderPaid"}, time.Second},
		"declined": {[]string{"PaymentRequested", "PaymentDeclined"}, 0},
		"dead":     {[]string{"PaymentRequested", "PaymentDeclined"}, (1 + 2 + 4 + 8) * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t, new(orders.FakePayments), placedTea...)
			start := time.Now()
			s.add(requested(card))
			pass(time.Hour)
			s.stop()
			if got := s.since(len(placedTea)); !slices.Equal(got, c.want) {
				t.Errorf("%s: got %q", card, got)
			}
			for e, err := range s.log.Read(t.Context(), annals.Types("PaymentTaken", "PaymentDeclined")) {
				if err != nil || e.Time.Sub(start) != c.took {
					t.Errorf("%s: it took %v, want %v; %v", card, e.Time.Sub(start), c.took, err)
				}
			}
		})
	}
}

func TestWhatIsNotPaidWithinADayIsCancelledAndItsStockReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, new(orders.FakePayments), placedTea...)
		pass(24*time.Hour - time.Second)
		if got := s.since(len(placedTea)); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		pass(2 * time.Second)
		s.stop()
		if got := s.since(len(placedTea)); !slices.Equal(got, []string{"PaymentOverdue", "OrderCancelled"}) {
			t.Errorf("got %q", got)
		}
		// All five teas can be ordered again.
		for _, cmd := range []func() error{
			func() error { return do(s, orders.CreateOrder{Order: "2", Customer: ann.ID}) },
			func() error { return do(s, orders.AddItem{Order: "2", Product: "tea", Count: 5}) },
			func() error { return do(s, orders.PlaceOrder{Order: "2"}) },
		} {
			if err := cmd(); err != nil {
				t.Error(err)
			}
		}
	})
}

func do[C decider.Command[S, orders.Event], S decider.State[S, orders.Event]](s *shop, cmd C) error {
	_, err := decider.Execute(annals.WithPrincipal(s.t.Context(), ann), s.log, cmd)
	return err
}

func TestAnOrderThatIsPaidIsNotCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, new(orders.FakePayments), placedTea...)
		pass(time.Hour)
		s.add(requested("good"))
		pass(48 * time.Hour)
		s.stop()
		if got := s.since(len(placedTea)); !slices.Equal(got, []string{"PaymentRequested", "PaymentTaken", "OrderPaid"}) {
			t.Errorf("got %q", got)
		}
	})
}

// late is a provider that answers when the order is cancelled already.
type late struct {
	orders.FakePayments
	wait     time.Duration
	refunded []string
	fail     int
}

func (l *late) Charge(ctx context.Context, id string, c orders.Charge) (string, error) {
	pass(l.wait)
	return l.FakePayments.Charge(ctx, id, c)
}

func (l *late) Refund(_ context.Context, _, receipt string) error {
	if l.fail--; l.fail >= 0 {
		return errors.New("busy")
	}
	l.refunded = append(l.refunded, receipt)
	return nil
}

func TestMoneyThatComesTooLateGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		provider := &late{wait: time.Hour, fail: 2}
		s := newShop(t, provider, placedTea...)
		pass(24*time.Hour - time.Minute)
		s.add(requested("good"))
		pass(48 * time.Hour)
		s.stop()
		want := []string{"PaymentRequested", "PaymentOverdue", "OrderCancelled", "PaymentTaken", "RefundDue", "PaymentRefunded"}
		if got := s.since(len(placedTea)); !slices.Equal(got, want) || !slices.Equal(provider.refunded, []string{"receipt-1"}) {
			t.Errorf("got %q, refunded are %q", got, provider.refunded)
		}
	})
}

func TestAServiceNeedsAStoreThatItsProcessesCanUse(t *testing.T) {
	t.Parallel()
	c := config(memory.New(), nil)
	c.Store = struct{ annals.Store }{c.Store}
	if _, err := orders.New(c); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
