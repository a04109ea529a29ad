package decider_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

func TestLoadFoldsTheBoundaryAndNothingElse(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderCreated{"2"}, itemAdded{"1", "tea"}, orderPlaced{Order: "2"})
	l, err := decider.Load(t.Context(), log, order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if l.State.Status != "draft" || len(l.State.Products) != 1 || !l.Found || l.Revision != 1 || l.Position != 4 {
		t.Errorf("got %+v", l)
	}
	if !l.Boundary.Equal(annals.Stream("order-1")) {
		t.Errorf("the boundary is %s", l.Boundary)
	}
	l, err = decider.Load(t.Context(), log, order{ID: "3"})
	if err != nil || l.Found || l.Revision != annals.NoRevision || l.Position != 4 {
		t.Errorf("a state without events: got %+v, %v", l, err)
	}
}

func TestLoadTellsStatesOfThePast(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	log := annals.NewLog(memory.New(memory.Clock(func() time.Time { now = now.Add(time.Hour); return now })), schema)
	record(t, log, orderCreated{"1"}, stockReceived{"tea", 3}, itemAdded{"1", "tea"}, orderPlaced{"1", []string{"tea"}}, orderPaid{"1"})
	cases := []struct {
		name     string
		option   annals.ReadOption
		status   string
		stock    int
		position annals.Position
		revision annals.Revision
	}{
		{"as of a position", annals.AsOf(3), "draft", 3, 3, 1},
		{"as of a time", annals.AsOfTime(start.Add(4 * time.Hour)), "placed", 2, 4, 2},
		{"as of a revision", annals.AsOfRevision(1), "draft", 3, 3, 1},
		{"now", annals.AtLeast(5), "paid", 2, 5, 3},
	}
	for _, c := range cases {
		var at annals.Position
		l, err := decider.Load(t.Context(), log, placing{Order: order{ID: "1"}}, c.option, annals.HeadInto(&at))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if l.State.Order.Status != c.status || l.State.Stock["tea"] != c.stock || l.Position != c.position || at != c.position || l.Revision != c.revision {
			t.Errorf("%s: got %+v, head %d", c.name, l, at)
		}
	}
	_, err := decider.Load(t.Context(), log, order{ID: "1"}, annals.AsOf(9))
	wantError(t, err, annals.ErrAhead)
	_, err = decider.Load(t.Context(), log, order{ID: "1"}, annals.AsOfRevision(9))
	wantError(t, err, annals.ErrAhead)
}

func TestLoadRefusesOptionsThatLeaveOutThePast(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderPlaced{Order: "1"})
	for _, o := range []annals.ReadOption{annals.After(1), annals.Limit(1), annals.Limit(0), annals.Backwards(), annals.FromRevision(0)} {
		_, err := decider.Load(t.Context(), log, order{ID: "1"}, o)
		wantError(t, err, annals.ErrInvalid)
	}
}

func TestAGrownBoundaryIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 2}, stockReceived{"jam", 1}, orderCreated{"1"}, itemAdded{"1", "tea"}, orderPlaced{"2", []string{"tea"}})
	l, err := decider.Load(t.Context(), log, placing{Order: order{ID: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if l.State.Stock["tea"] != 1 || len(l.State.Stock) != 1 || len(l.State.Order.Products) != 1 {
		t.Errorf("got %+v", l.State)
	}
	if l.Revision != 1 || l.Boundary.Stream() != "order-1" || !l.Boundary.Covers(annals.Tags("product:tea").Types("orderPlaced", "stockReceived")) {
		t.Errorf("got revision %d of %s", l.Revision, l.Boundary)
	}
}

// chain is a state whose boundary grows by one stream with every event.
type chain struct{ Seen []string }

func (c chain) Boundary() annals.Query {
	q := annals.Stream("order-0")
	for _, id := range c.Seen {
		q = q.Or(annals.Stream("order-" + id))
	}
	return q
}

func (c chain) Evolve(e event) chain {
	if e, ok := e.(itemAdded); ok {
		c.Seen = append(c.Seen, e.Product)
	}
	return c
}

func TestABoundaryThatGrowsForEverIsAnErrorNamingTheState(t *testing.T) {
	t.Parallel()
	log := history(t)
	for i := range 6 {
		record(t, log, itemAdded{fmt.Sprint(i), fmt.Sprint(i + 1)})
	}
	l, err := decider.Load(t.Context(), log, chain{})
	if err != nil || len(l.State.Seen) != 6 || l.Revision != 0 {
		t.Fatalf("seven rounds are within the limit: got %+v, %v", l, err)
	}
	for i := range 6 {
		record(t, log, itemAdded{fmt.Sprint(i + 6), fmt.Sprint(i + 7)})
	}
	_, err = decider.Load(t.Context(), log, chain{})
	wantError(t, err, decider.ErrDeclaration)
	if e, ok := errors.AsType[*decider.BoundaryError](err); !ok || e.State != "chain" || e.Rounds != 8 || !strings.Contains(err.Error(), "chain") {
		t.Errorf("got %v", err)
	}
}

// forgetful looks away from where it began.
type forgetful struct{ Next string }

func (f forgetful) Boundary() annals.Query {
	if f.Next != "" {
		return annals.Stream("order-" + f.Next)
	}
	return annals.Stream("order-1")
}

func (f forgetful) Evolve(e event) forgetful {
	if e, ok := e.(itemAdded); ok {
		f.Next = e.Product
	}
	return f
}

func TestWhatABoundaryLetsGoOfIsStillGuarded(t *testing.T) {
	t.Parallel()
	log := history(t, itemAdded{"1", "2"}, orderCreated{"2"})
	l, err := decider.Load(t.Context(), log, forgetful{})
	if err != nil || !l.Boundary.Equal(annals.Stream("order-1").Or(annals.Stream("order-2"))) || l.Revision != 0 {
		t.Errorf("got %+v, %v", l, err)
	}
}

// wrong has whatever boundary it is given, and panics on placed orders.
type wrong struct{ Query, After annals.Query }

func (w wrong) Boundary() annals.Query { return w.Query }
func (w wrong) Evolve(e event) wrong {
	if _, ok := e.(orderPlaced); ok {
		panic("cannot cope")
	}
	w.Query = w.After
	return w
}

func TestAWrongBoundaryIsAnError(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	good := annals.Stream("order-1")
	for name, s := range map[string]wrong{
		"zero":               {},
		"an undeclared tag":  {Query: annals.Tags("products:tea")},
		"a malformed query":  {Query: annals.Tags()},
		"zero after a while": {Query: good},
		"malformed later":    {Query: good, After: good.Tags("")},
	} {
		if _, err := decider.Load(t.Context(), log, s); !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func TestAPanicOfEvolveIsAnErrorThatSaysWhere(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderCreated{"2"}, orderPlaced{Order: "1"})
	q := annals.Stream("order-1")
	_, err := decider.Load(t.Context(), log, wrong{Query: q, After: q})
	wantError(t, err, decider.ErrPanic)
	e, ok := errors.AsType[*decider.PanicError](err)
	if !ok || e.Method != "wrong.Evolve" || e.Position != 3 || e.Value != "cannot cope" || len(e.Stack) == 0 {
		t.Fatalf("got %+v", err)
	}
	if !strings.Contains(err.Error(), "wrong.Evolve at position 3: cannot cope") {
		t.Error(err)
	}
}

func TestAPanicOfTheStoreIsNotTakenForOneOfTheState(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	log = log.On(&meddler{Store: log.Store(), beforeRead: func() { panic("disk on fire") }})
	defer func() {
		if v := recover(); v != "disk on fire" {
			t.Errorf("got %v", v)
		}
	}()
	_, err := decider.Load(t.Context(), log, order{ID: "1"})
	t.Errorf("no panic: %v", err)
}

func TestAnUnknownTypeInTheBoundaryIsAnError(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: "Other", Stream: "order-1"}}); err != nil {
		t.Fatal(err)
	}
	_, err := decider.Load(t.Context(), log, order{ID: "1"})
	wantError(t, err, annals.ErrUnknownType)
}
