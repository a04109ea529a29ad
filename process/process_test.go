package process_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

func wantTold(t *testing.T, store annals.Store, want ...string) {
	t.Helper()
	if got := told(t, store); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWhatIsNotPaidInTimeIsCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		stop := running(t, newProcess(t, bus, deadlines, process.Options{}))
		add(t, bus, Placed{"1", 5}, Placed{"2", 6})
		pass(deadline / 2)
		add(t, bus, Paid{"2", "r"})
		pass(deadline/2 - time.Second)
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Placed{Order:2 Cents:6}", "Paid{Order:2 Receipt:r}")
		pass(time.Hour)
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Placed{Order:2 Cents:6}", "Paid{Order:2 Receipt:r}",
			"Overdue{Order:1}", "Cancelled{Order:1}", "Released{Stock:all Order:1}")
	})
}

func TestATimerWhoseTimeCameWhileNobodyRanFiresLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		p := newProcess(t, bus, deadlines, process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 5})
		synctest.Wait()
		stop()
		pass(100 * deadline)
		timers, err := p.Timers(t.Context())
		if err != nil || len(timers) != 1 || timers[0].Key != "1" || timers[0].Name != "payment" || timers[0].Event != "Overdue" {
			t.Errorf("got %+v, %v", timers, err)
		}
		stop = running(t, newProcess(t, bus, deadlines, process.Options{}))
		synctest.Wait()
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Overdue{Order:1}", "Cancelled{Order:1}", "Released{Stock:all Order:1}")
	})
}

func TestTimersCanBeSeenMovedAndTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		p := newProcess(t, bus, deadlines, process.Options{})
		stop := running(t, p)
		for i := range 4 {
			add(t, bus, Placed{fmt.Sprint(i), i})
		}
		synctest.Wait()
		now := time.Now()
		for _, err := range []error{p.Reschedule(t.Context(), "0", "payment", now.Add(3*deadline)), p.CancelTimer(t.Context(), "1", "payment"), p.FireNow(t.Context(), "2", "payment")} {
			if err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		timers, err := p.Timers(t.Context())
		var got []string
		for _, timer := range timers {
			got = append(got, fmt.Sprint(timer.Key, " ", timer.At.Sub(now)))
		}
		if want := []string{"3 1h0m0s", "0 3h0m0s"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v", got, err)
		}
		for _, err := range []error{
			p.CancelTimer(t.Context(), "1", "payment"), p.Reschedule(t.Context(), "2", "payment", now), p.FireNow(t.Context(), "9", "payment"), p.FireNow(t.Context(), "0", "other"),
		} {
			if !errors.Is(err, process.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		pass(2 * deadline)
		overdue := func() (orders []string) {
			for _, e := range told(t, store) {
				if strings.HasPrefix(e, "Overdue") {
					orders = append(orders, e)
				}
			}
			return orders
		}
		if got := overdue(); !slices.Equal(got, []string{"Overdue{Order:2}", "Overdue{Order:3}"}) {
			t.Errorf("got %q", got)
		}
		pass(2 * deadline)
		stop()
		if got := overdue(); !slices.Equal(got, []string{"Overdue{Order:2}", "Overdue{Order:3}", "Overdue{Order:0}"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestAGatewayThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail  []error
		want  string
		calls int
	}{
		"at once":              {nil, "Paid{Order:1 Receipt:receipt for 5}", 1},
		"twice":                {[]error{errors.New("busy"), context.DeadlineExceeded}, "Paid{Order:1 Receipt:receipt for 5}", 3},
		"for good":             {[]error{process.Permanent(errDeclined)}, "Declined{Order:1 Reason:process: gateway payments: card declined}", 1},
		"until it is too late": {[]error{errDeclined, errDeclined, errDeclined, errDeclined, errDeclined}, "Declined{Order:1 Reason:process: gateway payments: card declined}", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, outside := memory.New(), &provider{fail: c.fail}
				bus := newBus(store)
				p := newProcess(t, bus, payments(outside.gateway()), process.Options{})
				stop := running(t, p)
				start := time.Now()
				add(t, bus, Placed{"1", 5})
				pass(time.Hour)
				stop()
				wantTold(t, store, "Placed{Order:1 Cents:5}", c.want)
				if len(outside.calls) != c.calls || len(slices.Compact(outside.calls)) != 1 {
					t.Errorf("the outside was called by %q", outside.calls)
				}
				for e, err := range bus.Log().Read(t.Context(), annals.Types("Paid", "Declined")) {
					pause := e.Time.Sub(start)
					if want := time.Second * (1<<(c.calls-1) - 1); err != nil || pause != want { // 1, 2, 4, …
						t.Errorf("it took %v, want %v; %v", pause, want, err)
					}
				}
				if parked, err := p.Parked(t.Context()); len(parked) > 0 || err != nil {
					t.Errorf("parked are %+v, %v", parked, err)
				}
			})
		})
	}
}

func TestWhatIsRefusedIsParkedAndItsKeyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		strict := deadlines // a refusal is not accepted
		strict.React = func(o Order, e annals.Entry[any], do *process.Effects[any]) {
			switch v := e.Value.(type) {
			case Overdue:
				process.Send(do, Cancel(v))
			case Declined:
				process.Send(do, Release{Order: v.Order})
			}
		}
		strict.Query = annals.Types("Overdue", "Declined")
		p := newProcess(t, bus, strict, process.Options{})
		stop := running(t, p)
		add(t, bus, Paid{"1", "r"}, Overdue{"1"}, Declined{"1", "x"}, Declined{"2", "y"})
		pass(time.Hour)
		parked, err := p.Parked(t.Context())
		if err != nil || len(parked) != 2 || parked[0].Position != 2 || parked[0].Tries != 1 || !parked[0].Next.IsZero() ||
			!strings.Contains(parked[0].Err, "send Cancel: Cancel rejected: order is paid") || parked[1].Position != 3 || parked[1].Tries != 0 {
			t.Fatalf("got %+v, %v", parked, err)
		}
		wantTold(t, store, "Paid{Order:1 Receipt:r}", "Overdue{Order:1}", "Declined{Order:1 Reason:x}", "Declined{Order:2 Reason:y}", "Released{Stock:all Order:2}")
		if err := p.Retry(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		pass(time.Hour)
		if parked, err = p.Parked(t.Context()); err != nil || len(parked) != 2 || parked[0].Tries != 2 {
			t.Errorf("got %+v, %v", parked, err)
		}
		stop()
		p = newProcess(t, bus, strict, process.Options{}) // it outlives the process
		stop = running(t, p)
		if err := p.Skip(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		pass(time.Hour)
		stop()
		if parked, err = p.Parked(t.Context()); err != nil || len(parked) != 0 {
			t.Errorf("got %+v, %v", parked, err)
		}
		if got := told(t, store); got[len(got)-1] != "Released{Stock:all Order:1}" {
			t.Errorf("what waited was not done: %q", got)
		}
		for _, err := range []error{p.Retry(t.Context(), "1"), p.Skip(t.Context(), "9")} {
			if !errors.Is(err, process.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestACircleIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus := newBus(memory.New())
		echo := process.Manager[Order, any]{
			Name: "echo", By: "order", Query: annals.Types("Released", "Placed"),
			Initial: func(key string) Order { return Order{ID: key} },
			React:   func(o Order, _ annals.Entry[any], do *process.Effects[any]) { process.Send(do, Release{o.ID}) },
		}
		p := newProcess(t, bus, echo, process.Options{HopsMax: 7})
		stop := running(t, p)
		add(t, bus, Placed{"1", 1})
		pass(time.Hour)
		stop()
		parked, err := p.Parked(t.Context())
		if err != nil || len(parked) != 1 || !strings.Contains(parked[0].Err, process.ErrCycle.Error()) || !strings.Contains(parked[0].Err, "7 reactions led to Released") {
			t.Errorf("got %+v, %v", parked, err)
		}
		if n := len(told(t, bus.Log().Store())); n != 8 {
			t.Errorf("there are %d events", n)
		}
	})
}

func TestAPanicParksAndKillsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus := newBus(memory.New())
		bad := deadlines
		bad.React = func(o Order, e annals.Entry[any], do *process.Effects[any]) {
			if o.ID == "1" {
				panic("no idea")
			}
			process.Send(do, Release{o.ID})
		}
		p := newProcess(t, bus, bad, process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 1}, Placed{"2", 2})
		pass(time.Hour)
		stop()
		parked, err := p.Parked(t.Context())
		if err != nil || len(parked) != 1 || !strings.Contains(parked[0].Err, "process: panic in the manager deadlines: no idea") {
			t.Errorf("got %+v, %v", parked, err)
		}
		if got := told(t, bus.Log().Store()); got[len(got)-1] != "Released{Stock:all Order:2}" {
			t.Errorf("got %q", got)
		}
	})
}

func TestCausesFlowThroughAProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus := newBus(memory.New())
		p := newProcess(t, bus, deadlines, process.Options{Principal: annals.Principal{ID: "the clock"}})
		stop := running(t, p)
		ctx := annals.WithMetadata(t.Context(), annals.Metadata{CorrelationID: "first"})
		if _, err := bus.Log().Append(ctx, []any{Placed{"1", 5}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * deadline)
		stop()
		var cause string
		for e, err := range bus.Log().Read(t.Context(), annals.All()) {
			if err != nil {
				t.Fatal(err)
			}
			m := e.Meta()
			if m.CorrelationID != "first" || m.CausationID != cause || cause != "" && m.Actor != "the clock" {
				t.Errorf("%s: got %+v, want the cause %s", e.Type, m, cause)
			}
			cause = e.ID.String()
		}
		reactions, err := p.Reactions(t.Context(), "1")
		var got []string
		for _, r := range reactions {
			got = append(got, fmt.Sprint(r.Effects))
		}
		if want := []string{"[{schedule payment }]", "[{send Cancel }]", "[{cancel payment } {send Release }]"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestACompletedInstanceReactsToNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		bus := newBus(store)
		p := newProcess(t, bus, deadlines, process.Options{})
		stop := running(t, p)
		add(t, bus, Placed{"1", 5}, Paid{"1", "r"}, Placed{"1", 6}, Cancelled{"1"})
		pass(2 * deadline)
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Paid{Order:1 Receipt:r}", "Placed{Order:1 Cents:6}", "Cancelled{Order:1}")
	})
}

func TestManagersThatAreDeclaredWronglyAreRefused(t *testing.T) {
	t.Parallel()
	bus := newBus(memory.New())
	_, err := process.New(bus, process.Manager[Order, any]{Query: annals.Types("Nothing").WithSystem()}, process.Options{})
	for _, want := range []string{"it has no Name", "no By", "no Initial", "no React", "system events", `the type "Nothing"`} {
		if err == nil || !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	wrongTag := deadlines
	wrongTag.By = "ordr"
	if _, err := process.New(bus, wrongTag, process.Options{}); err == nil || !strings.Contains(err.Error(), "ordr") {
		t.Errorf("got %v", err)
	}
	if _, err := process.New(bus, deadlines, process.Options{TriesMax: -1}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := process.New(cqrs.New(bus.Log().On(bare{memory.New()})), deadlines, process.Options{}); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// bare is a store without powers.
type bare struct{ annals.Store }

func TestAProcessCanBeWaitedFor(t *testing.T) {
	t.Parallel()
	bus := newBus(memory.New())
	p := newProcess(t, bus, deadlines, process.Options{})
	r := add(t, bus, Placed{"1", 5})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx, r.Last); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	stop := running(t, p)
	defer stop()
	if err := p.Wait(t.Context(), r.Last); err != nil {
		t.Error(err)
	}
}
