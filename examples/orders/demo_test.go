package orders_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
)

// cutOff is a store that takes so many appends more.
type cutOff struct {
	*memory.Store
	appends int
}

func (c *cutOff) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	if c.appends == 0 {
		return annals.Receipt{}, errBurns
	}
	c.appends--
	return c.Store.Append(ctx, events, conds...)
}

// plenty is more appends than the demo needs.
const plenty = 1000

// demo tells the demo to a store by a service of its own, and wants it to report whether the store has all of it.
func demo(t *testing.T, store annals.Store, wantWhole bool, wantErr error) {
	t.Helper()
	service, err := orders.New(config(store, nil))
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := orders.Demo(t.Context(), service); whole != wantWhole || !is(err, wantErr) {
		t.Fatalf("Demo: whole %v, %v; want %v, %v", whole, err, wantWhole, wantErr)
	}
	before := history(t, store)
	if has, err := orders.HasDemo(t.Context(), service); has != wantWhole || err != nil {
		t.Errorf("HasDemo: %v, %v; want %v", has, err, wantWhole)
	}
	if after := history(t, store); !slices.Equal(before, after) {
		t.Errorf("to ask for the demo has changed the store: %v", after)
	}
}

// history is the types, the streams and the data of all events.
func history(t *testing.T, store annals.Store) (events []string) {
	t.Helper()
	for e, err := range store.Read(t.Context(), annals.All().WithSystem()) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e.Type+" "+e.Stream+" "+string(e.Data))
	}
	return events
}

// told is the history that a new store is given, by so many commands.
func told(t *testing.T) (events []string, commands int) {
	t.Helper()
	store := &cutOff{Store: memory.New(), appends: plenty}
	demo(t, store, true, nil)
	return history(t, store), plenty - store.appends
}

// begun is a store with the demo's first commands.
func begun(t *testing.T, commands int) annals.Store {
	t.Helper()
	store := &cutOff{Store: memory.New(), appends: commands}
	demo(t, store, false, errBurns)
	return store.Store
}

func TestADemoThatWasCutOffIsToldToItsEndAndOnce(t *testing.T) {
	t.Parallel()
	want, commands := told(t)
	if len(want) < 30 || commands < 25 {
		t.Fatalf("the demo has %d commands, which lead to %d events", commands, len(want))
	}
	for n := range commands {
		store := begun(t, n)
		for range 2 {
			demo(t, store, true, nil)
			if got := history(t, store); !slices.Equal(got, want) {
				t.Fatalf("cut off after %d commands: got %v", n, got)
			}
		}
	}
}

func TestADemoThatIsCutOffAgainAndAgainComesToItsEnd(t *testing.T) {
	t.Parallel()
	want, commands := told(t)
	store := &cutOff{Store: memory.New()}
	for range commands - 1 {
		store.appends = 1
		demo(t, store, false, errBurns)
	}
	store.appends = 1
	demo(t, store, true, nil)
	if got := history(t, store); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestTwoNewStoresAreToldTheSame(t *testing.T) {
	t.Parallel()
	a, _ := told(t)
	if b, _ := told(t); !slices.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
}

func TestTwoWhoTellTheDemoAtOnceTellItOnce(t *testing.T) {
	t.Parallel()
	want, _ := told(t)
	for range 10 {
		store := memory.New()
		var tellers sync.WaitGroup
		for range 2 {
			service, err := orders.New(config(store, nil))
			if err != nil {
				t.Fatal(err)
			}
			tellers.Go(func() {
				// Whether it was this one who told the end of it is open.
				if _, err := orders.Demo(t.Context(), service); err != nil {
					t.Error(err)
				}
			})
		}
		tellers.Wait()
		if got := history(t, store); !slices.Equal(got, want) {
			t.Fatalf("got %v", got)
		}
	}
}

func TestADemoIsNotMixedWithWhatOthersDo(t *testing.T) {
	t.Parallel()
	does := func(store annals.Store, cmd orders.ReceiveStock) {
		if _, err := decider.Execute(annals.WithPrincipal(t.Context(), clerk), orders.NewLog(store, hashKey), cmd); err != nil {
			t.Fatal(err)
		}
	}
	_, commands := told(t)
	for n := range commands + 1 {
		store := annals.Store(memory.New())
		switch n {
		case 0:
		case commands:
			demo(t, store, true, nil)
		default:
			store = begun(t, n)
		}
		does(store, orders.ReceiveStock{Product: "tea", Count: 1, Price: eur(450)}) // what is left of the demo would fit still
		before := history(t, store)
		for range 2 {
			demo(t, store, n == commands, nil)
		}
		if after := history(t, store); !slices.Equal(before, after) {
			t.Errorf("somebody came after %d commands: got %v", n, after)
		}
	}
}

func TestTheStoreOfAnotherApplicationIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"customer-customer-1", "order-1001", "order-1005", "thing-1", ""} {
		store := memory.New()
		if _, err := store.Append(t.Context(), []annals.Event{{Type: "Strange", Stream: stream, Data: []byte("{}")}}); err != nil {
			t.Fatal(err)
		}
		demo(t, store, false, nil)
		if got := history(t, store); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	}
}

func TestADemoSaysWhyItCannotBeTold(t *testing.T) {
	t.Parallel()
	store := newFaulty(t)
	service, err := orders.New(config(store, nil))
	if err != nil {
		t.Fatal(err)
	}
	store.during(errBurns, func() {
		if whole, err := orders.Demo(t.Context(), service); whole || !is(err, errBurns) {
			t.Errorf("Demo: %v, %v", whole, err)
		}
		if whole, err := orders.HasDemo(t.Context(), service); whole || !is(err, errBurns) {
			t.Errorf("HasDemo: %v, %v", whole, err)
		}
	})
	demo(t, store, true, nil)
}
