package process_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

// forgetful is a store that takes no records of gateways.
type forgetful struct {
	*memory.Store
	refuses atomic.Bool
}

func (f *forgetful) System() annals.Store { return refusing{f.Store.System(), f} }

type refusing struct {
	annals.Store
	of *forgetful
}

var errNoRoom = errors.New("no room")

func (r refusing) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	if r.of.refuses.Load() && len(events) > 0 && strings.HasPrefix(events[0].Stream, "$gateway-") {
		return annals.Receipt{}, errNoRoom
	}
	return r.Store.Append(ctx, events, conds...)
}

func TestMoneyThatWasTakenIsNeverSaidToBeDeclined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, outside := &forgetful{Store: memory.New()}, &provider{}
		store.refuses.Store(true)
		bus := newBus(store)
		p := newProcess(t, bus, payments(outside.gateway()), process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 5})
		pass(time.Hour)
		parked, err := p.Parked(t.Context())
		if err != nil || len(parked) != 1 || parked[0].Tries != 5 || !strings.Contains(parked[0].Err, errNoRoom.Error()) {
			t.Errorf("got %+v, %v", parked, err)
		}
		wantTold(t, store, "Placed{Order:1 Cents:5}")
		store.refuses.Store(false)
		if err := p.Retry(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		pass(time.Hour)
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Paid{Order:1 Receipt:receipt for 5}")
		if len(outside.taken) != 1 {
			t.Errorf("taken was %v", outside.taken)
		}
	})
}

func TestAReactionThatTheStoreWillNeverTakeStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, outside := memory.New(), &provider{}
		bus := newBus(store)
		m := payments(outside.gateway())
		m.React = func(o Order, _ annals.Entry[any], do *process.Effects[any]) {
			process.Call(do, outside.gateway(), o.Cents, func(receipt string) any {
				if o.ID == "1" {
					receipt = strings.Repeat("x", 20<<20)
				}
				return Paid{o.ID, receipt}
			})
		}
		p := newProcess(t, bus, m, process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 5}, Placed{"2", 6})
		pass(time.Hour)
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Placed{Order:2 Cents:6}", "Paid{Order:2 Receipt:receipt for 6}")
		if parked, err := p.Parked(t.Context()); err != nil || len(parked) != 1 || parked[0].Key != "1" || !parked[0].Next.IsZero() {
			t.Errorf("got %+v, %v", parked, err)
		}
	})
}

func TestWhatIsSkippedWhileItIsTriedIsNotParkedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, outside := memory.New(), &provider{why: func(int) error { <-time.After(time.Minute); return errors.New("busy") }}
		bus := newBus(store)
		p := newProcess(t, bus, payments(outside.gateway()), process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 5})
		pass(90 * time.Second) // the second try is under way
		if err := p.Skip(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		pass(time.Hour)
		stop()
		if parked, err := p.Parked(t.Context()); err != nil || len(parked) != 0 {
			t.Errorf("got %+v, %v", parked, err)
		}
		wantTold(t, store, "Placed{Order:1 Cents:5}")
		if len(outside.calls) != 2 {
			t.Errorf("the outside was called %d times", len(outside.calls))
		}
	})
}

func TestEventsOfOneIDInTwoStreamsAreTwoEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		raw, err := bus.Log().Encode(t.Context(), []any{Cancelled{"1"}, Released{"all", "1"}})
		if err != nil {
			t.Fatal(err)
		}
		raw[1].ID = raw[0].ID
		both := deadlines
		both.Query = annals.Types("Cancelled", "Released")
		both.React = func(o Order, e annals.Entry[any], do *process.Effects[any]) {
			if o.Cents == 0 && e.Meta().Hops == 0 {
				process.Send(do, Release{Order: o.ID})
			}
		}
		stop := running(t, newProcess(t, bus, both, process.Options{}))
		if _, err := store.Append(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		stop()
		wantTold(t, store, "Cancelled{Order:1}", "Released{Stock:all Order:1}", "Released{Stock:all Order:1}", "Released{Stock:all Order:1}")
	})
}

func TestOverdueTimersFireInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			bus := newBus(store)
			m := deadlines
			m.Query = annals.Types("Placed")
			m.React = func(_ Order, e annals.Entry[any], do *process.Effects[any]) {
				do.Schedule("c", e.Time.Add(3*time.Hour), Declined{"1", "c"})
				do.Schedule("a", time.Time{}, Declined{"1", "a"}) // as early as can be
				do.Schedule("b", e.Time.Add(2*time.Hour), Declined{"1", "b"})
			}
			stop := running(t, newProcess(t, bus, m, process.Options{}))
			add(t, bus, Placed{"1", 5})
			synctest.Wait()
			stop()
			pass(24 * time.Hour)
			stop = running(t, newProcess(t, bus, m, process.Options{}))
			synctest.Wait()
			stop()
			var order []string
			for _, e := range told(t, store)[1:] {
				order = append(order, e[len(e)-2:])
			}
			if !slices.Equal(order, []string{"a}", "b}", "c}"}) {
				t.Errorf("got %q", order)
			}
		})
	}
}
