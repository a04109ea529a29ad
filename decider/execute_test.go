package decider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

func TestExecuteAppendsWhatWasDecided(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 1}, orderCreated{"1"}, itemAdded{"1", "tea"})
	ctx := annals.WithPrincipal(t.Context(), clerk)
	res, err := decider.Execute(ctx, log, placeOrder{"1"})
	if err != nil {
		t.Fatal(err)
	}
	if res.State.Order.Status != "placed" || len(res.Events) != 1 || res.Revision != 2 || res.Position != 4 || res.Duplicate {
		t.Errorf("got %+v", res)
	}
	for e, err := range log.Read(t.Context(), annals.Types("orderPlaced")) {
		m := e.Meta()
		if err != nil || m.Command != "placeOrder" || m.Actor != "carla" || m.Fingerprint != "" {
			t.Errorf("got %+v, %v", m, err)
		}
	}
}

func TestADecisionOnNothingStoresNothing(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderPlaced{Order: "1"}, orderPaid{"1"}, orderCreated{"2"})
	res, err := decider.Execute(annals.WithPrincipal(t.Context(), clerk), log, payOrder{"1"}, decider.IdempotencyKey("k"))
	if err != nil || len(res.Events) != 0 || res.Position != 4 || res.Revision != 2 || res.State.Status != "paid" || head(t, log) != 4 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestRefusalsHaveTheirOwnErrors(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderPlaced{Order: "1"})
	_, err := decider.Execute(t.Context(), log, createOrder{"1"})
	wantError(t, err, decider.ErrRejected)
	wantError(t, err, errExists)
	if e, ok := errors.AsType[*decider.RejectedError](err); !ok || e.Command != "createOrder" || err.Error() != "createOrder rejected: order exists" {
		t.Errorf("got %v", err)
	}
	_, err = decider.Execute(t.Context(), log, addItem{"1", "tea"})
	if rule, ok := errors.AsType[decider.Rule](err); !ok || rule != errStatus || err.Error() != `addItem rejected: wrong status: "placed"` {
		t.Errorf("a wrapped rule: got %v", err)
	}
	_, err = decider.Execute(t.Context(), log, payOrder{"1"})
	wantError(t, err, decider.ErrForbidden)
	if e, ok := errors.AsType[*decider.ForbiddenError](err); !ok || e.Command != "payOrder" || !strings.Contains(err.Error(), "order 1 is placed: clerks only") {
		t.Errorf("Authorize sees the loaded state: got %v", err)
	}
	_, err = decider.Execute(t.Context(), log, addItem{})
	wantError(t, err, decider.ErrInvalid)
	e, ok := errors.AsType[*decider.InvalidError](err)
	if !ok || !slices.Equal(e.Fields, []decider.Field{{"order", "is required"}, {"product", "is required"}}) {
		t.Errorf("got %v", err)
	}
	if err.Error() != "decider: invalid command: order is required; product is required" {
		t.Error(err)
	}
	if head(t, log) != 2 {
		t.Error("a refused command stored something")
	}
}

// bare validates without collecting fields.
type bare struct{}

var errBare = errors.New("cannot be")

func (bare) Initial() order                { return order{ID: "1"} }
func (bare) Validate() error               { return errBare }
func (bare) Decide(order) ([]event, error) { return nil, nil }

func TestAnyErrorOfValidateMakesACommandInvalid(t *testing.T) {
	t.Parallel()
	_, err := decider.Execute(t.Context(), history(t), bare{})
	wantError(t, err, decider.ErrInvalid)
	wantError(t, err, errBare)
}

func TestAConflictIsDecidedAgainOnWhatHasHappened(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 1}, orderCreated{"1"}, itemAdded{"1", "tea"})
	m := &meddler{Store: log.Store()}
	m.beforeAppend = func(n int) error {
		if n == 1 {
			record(t, log, orderPlaced{"2", []string{"tea"}}) // the last of the tea goes to somebody else
		}
		return nil
	}
	_, err := decider.Execute(t.Context(), log.On(m), placeOrder{"1"})
	wantError(t, err, errSoldOut)
	record(t, log, stockReceived{"tea", 1})
	m.appends, m.beforeAppend = 0, func(n int) error {
		if n == 1 {
			record(t, log, itemAdded{"1", "tea"})
		}
		if n == 2 {
			record(t, log, stockReceived{"tea", 5})
		}
		return nil
	}
	if _, err = decider.Execute(t.Context(), log.On(m), placeOrder{"1"}); !errors.Is(err, errSoldOut) {
		t.Errorf("two teas, one left: got %v", err)
	}
	record(t, log, stockReceived{"tea", 5})
	if res, err := decider.Execute(t.Context(), log, placeOrder{"1"}); err != nil || res.State.Stock["tea"] != 4 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestWhatLiesOutsideTheBoundaryIsNoConflict(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	m := &meddler{Store: log.Store(), beforeAppend: func(int) error { record(t, log, stockReceived{"tea", 1}); return nil }}
	if _, err := decider.Execute(t.Context(), log.On(m), addItem{"1", "tea"}, decider.Retry(1)); err != nil {
		t.Error(err)
	}
}

func TestTriesAreBoundedAndTheLastConflictNamesItsEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			options []decider.Option
			tries   int
		}{{nil, 10}, {[]decider.Option{decider.Retry(3)}, 3}, {[]decider.Option{decider.Expect(0)}, 1}} {
			log := history(t, orderCreated{"1"})
			m := &meddler{Store: log.Store(), beforeAppend: func(int) error { record(t, log, itemAdded{"1", "jam"}); return nil }}
			_, err := decider.Execute(t.Context(), log.On(m), addItem{"1", "tea"}, c.options...)
			wantError(t, err, annals.ErrConflict)
			e, ok := errors.AsType[*annals.ConflictError](err)
			if !ok || m.appends != c.tries || len(e.Failures[0].Events) != 1 || e.Failures[0].Events[0].Type != "itemAdded" {
				t.Errorf("after %d of %d tries: got %v", m.appends, c.tries, err)
			}
		}
	})
}

func TestTheEndOfTheContextEndsTheTries(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client went away")
	m := &meddler{Store: log.Store(), beforeAppend: func(n int) error {
		record(t, log, itemAdded{"1", "jam"})
		if n == 2 {
			cancel(gone)
			return &annals.ConflictError{}
		}
		return nil
	}}
	_, err := decider.Execute(ctx, log.On(m), addItem{"1", "tea"}, decider.Retry(1000))
	wantError(t, err, gone)
	wantError(t, err, context.Canceled)
}

func TestThereIsNoLimitToTheTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &meddler{Store: history(t).Store(), beforeAppend: func(int) error { return &annals.ConflictError{} }}
		_, err := decider.Execute(t.Context(), annals.NewLog(annals.Store(m), schema), createOrder{"1"}, decider.Retry(200))
		wantError(t, err, annals.ErrConflict)
		if m.appends != 200 {
			t.Errorf("tried %d times", m.appends)
		}
	})
}

func TestARejectionIsNeverTakenForAConflict(t *testing.T) {
	t.Parallel()
	calls := 0
	_, err := decider.Update(t.Context(), history(t), order{ID: "1"}, func(order) ([]event, error) {
		calls++
		return nil, &annals.ConflictError{}
	})
	wantError(t, err, decider.ErrRejected)
	if calls != 1 {
		t.Errorf("decided %d times", calls)
	}
}

func TestAnUnknownOutcomeIsReturnedAsItIs(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	unknown := &annals.OutcomeError{Unknown: true, Cause: context.DeadlineExceeded}
	m := &meddler{Store: log.Store(), receive: func(*annals.Receipt) error { return unknown }}
	_, err := decider.Execute(t.Context(), log.On(m), addItem{"1", "tea"})
	if err != error(unknown) || m.appends != 1 { //nolint:errorlint // the very error is wanted
		t.Errorf("got %v after %d appends", err, m.appends)
	}
}

func TestRacersNeverSellMoreThanThereIs(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 5})
	const racers = 20
	for i := range racers {
		record(t, log, orderCreated{fmt.Sprint(i)}, itemAdded{fmt.Sprint(i), "tea"})
	}
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() {
			_, errs[i] = decider.Execute(t.Context(), log, placeOrder{fmt.Sprint(i)}, decider.Retry(1000))
		})
	}
	wg.Wait()
	sold := 0
	for _, err := range errs {
		if err == nil {
			sold++
		} else {
			wantError(t, err, errSoldOut)
		}
	}
	if sold != 5 {
		t.Errorf("sold %d of 5", sold)
	}
}

func TestExpectWantsTheEntityWhereTheCallerSawIt(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, itemAdded{"1", "tea"}, orderPlaced{Order: "1"})
	_, err := decider.Execute(t.Context(), log, addItem{"1", "jam"}, decider.Expect(0))
	wantError(t, err, annals.ErrConflict) // and not the broken rule
	e, ok := errors.AsType[*annals.ConflictError](err)
	if !ok || e.Failures[0].Actual != 2 || len(e.Failures[0].Events) != 2 {
		t.Errorf("got %v", err)
	}
	_, err = decider.Execute(t.Context(), log, addItem{"1", "jam"}, decider.Expect(7))
	wantError(t, err, annals.ErrConflict)
	_, err = decider.Execute(t.Context(), log, addItem{"1", "jam"}, decider.Expect(2))
	wantError(t, err, errStatus)
	_, err = decider.Execute(t.Context(), log, createOrder{"1"}, decider.Expect(annals.NoRevision))
	wantError(t, err, annals.ErrConflict)
	if res, err := decider.Execute(t.Context(), log, createOrder{"2"}, decider.Expect(annals.NoRevision)); err != nil || res.Revision != 0 {
		t.Errorf("got %+v, %v", res, err)
	}
	_, err = decider.Execute(t.Context(), log, payOrder{"1"}, decider.Expect(0))
	wantError(t, err, decider.ErrForbidden) // a conflict would show events to whom they are not for
}

// shelf is a state without a stream.
type shelf struct{ Product string }

func (s shelf) Boundary() annals.Query { return annals.Tags("product:" + s.Product) }
func (s shelf) Evolve(event) shelf     { return s }

func TestExpectWithoutAStreamInTheBoundarySpeaksOfTheFirstEvents(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderCreated{"2"})
	add := func(o string) func(shelf) ([]event, error) {
		return func(shelf) ([]event, error) { return []event{itemAdded{o, "tea"}, itemAdded{"2", "tea"}}, nil }
	}
	for _, dry := range [][]decider.Option{nil, {decider.DryRun()}} {
		_, err := decider.Update(t.Context(), log, shelf{"tea"}, add("1"), append(dry, decider.Expect(3))...)
		wantError(t, err, annals.ErrConflict)
	}
	res, err := decider.Update(t.Context(), log, shelf{"tea"}, add("1"), decider.Expect(0))
	if err != nil || res.Revision != 1 || res.Position != 4 {
		t.Errorf("the revision is that of the first event's stream: got %+v, %v", res, err)
	}
	_, err = decider.Update(t.Context(), log, shelf{"tea"}, func(shelf) ([]event, error) {
		return []event{stockReceived{"tea", 1}}, nil
	}, decider.Expect(0))
	wantError(t, err, annals.ErrInvalid)
}

func TestTheRevisionIsThatOfTheBoundarysStreamWhereverItsEventsStand(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderCreated{"2"})
	cases := []struct {
		name   string
		events []event
		want   annals.Revision
	}{
		{"alone", []event{itemAdded{"1", "tea"}}, 1},
		{"first of several streams", []event{itemAdded{"1", "tea"}, itemAdded{"1", "tea"}, itemAdded{"2", "tea"}}, 3},
		{"last of several streams", []event{itemAdded{"2", "tea"}, itemAdded{"1", "tea"}}, 4},
		{"before one without a stream", []event{itemAdded{"1", "tea"}, stockReceived{"tea", 1}}, 5},
		{"not at all", []event{itemAdded{"2", "tea"}}, 5},
	}
	for _, c := range cases {
		res, err := decider.Update(t.Context(), log, order{ID: "1"}, func(order) ([]event, error) { return c.events, nil })
		if err != nil || res.Revision != c.want {
			t.Errorf("%s: got %d, %v; want %d", c.name, res.Revision, err, c.want)
		}
		l, err := decider.Load(t.Context(), log, order{ID: "1"})
		if err != nil || l.Revision != c.want || len(l.State.Products) != len(res.State.Products) {
			t.Errorf("%s: loaded %+v, decided %+v, %v", c.name, l, res, err)
		}
	}
	res, err := decider.Update(t.Context(), log, order{ID: "9"}, func(order) ([]event, error) { return []event{orderCreated{"9"}, invoiceSent{"9"}}, nil })
	if err != nil || res.Revision != 0 {
		t.Errorf("the first event of a stream, another after it: got %+v, %v", res, err)
	}
}

// shipping knows of its order only what it asks for.
type shipping struct{ Order string }

func (s shipping) Boundary() annals.Query {
	return annals.Stream("order-" + s.Order).Types("orderPaid")
}
func (s shipping) Evolve(event) shipping { return s }

func TestTheRevisionIsReadWhereTheBoundaryDoesNotTellIt(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, itemAdded{"1", "tea"}, orderPaid{"1"}, itemAdded{"1", "jam"}, orderCreated{"2"})
	res, err := decider.Update(t.Context(), log, shipping{"1"}, func(shipping) ([]event, error) {
		return []event{itemAdded{"1", "bag"}, itemAdded{"2", "bag"}}, nil
	})
	if err != nil || res.Revision != 4 {
		t.Errorf("got %+v, %v", res, err)
	}
	_, err = decider.Update(t.Context(), log, shipping{"1"}, func(shipping) ([]event, error) { return nil, nil }, decider.Expect(4))
	if err != nil {
		t.Errorf("a revision that the boundary has not seen, but the stream has: %v", err)
	}
}

// payment is a narrow view of an order.
type payment struct {
	Order string
	Paid  bool
}

func (p payment) Boundary() annals.Query {
	return annals.Stream("order-"+p.Order).Types("orderPlaced", "orderPaid")
}

func (p payment) Evolve(e event) payment {
	_, paid := e.(orderPaid)
	p.Paid = p.Paid || paid
	return p
}

func TestWhatWasLoadedOfANarrowBoundaryCanBeExpected(t *testing.T) {
	t.Parallel()
	pay := func(payment) ([]event, error) { return []event{orderPaid{"1"}}, nil }
	log := history(t, orderCreated{"1"}, orderPlaced{Order: "1"}, itemAdded{"1", "bag"}, orderCreated{"2"})
	l, err := decider.Load(t.Context(), log, payment{Order: "1"})
	if err != nil || l.Revision != 2 {
		t.Errorf("the stream is at 2: got %+v, %v", l, err)
	}
	if l, err := decider.Load(t.Context(), log, payment{Order: "1"}, annals.AsOf(1)); err != nil || l.Found || l.Revision != 0 {
		t.Errorf("the stream was at 0: got %+v, %v", l, err)
	}
	for _, dry := range [][]decider.Option{{decider.DryRun()}, nil} {
		_, err := decider.Update(t.Context(), log, payment{Order: "1"}, pay, append(dry, decider.Expect(1))...)
		wantError(t, err, annals.ErrConflict)
		res, err := decider.Update(t.Context(), log, payment{Order: "1"}, pay, append(dry, decider.Expect(l.Revision))...)
		if err != nil || dry == nil && res.Revision != 3 {
			t.Errorf("got %+v, %v", res, err)
		}
	}
}

func TestRevisionsCountTheEventsOfDroppedTypes(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(history(t, orderCreated{"1"}).Store(),
		annals.NewSchema([]event{stockReceived{}, orderCreated{}, itemAdded{}, orderPlaced{}, orderPaid{}, invoiceSent{}}, annals.Dropped("orderFlagged")))
	flag := func() {
		t.Helper()
		if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: "orderFlagged", Stream: "order-1", Tags: []string{"order:1"}}}); err != nil {
			t.Fatal(err)
		}
	}
	flag()
	l, err := decider.Load(t.Context(), log, order{ID: "1"})
	if err != nil || l.Revision != 1 {
		t.Errorf("the stream is at 1: got %+v, %v", l, err)
	}
	res, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.Expect(l.Revision))
	if err != nil || res.Revision != 2 {
		t.Errorf("the stream is at 2: got %+v, %v", res, err)
	}
	flag()
	res, err = decider.Update(t.Context(), log, order{ID: "1"}, func(order) ([]event, error) {
		return []event{itemAdded{"1", "jam"}, invoiceSent{"7"}}, nil
	})
	if err != nil || res.Revision != 4 {
		t.Errorf("the stream is at 4, though the last event is another's: got %+v, %v", res, err)
	}
	flag()
	res, err = decider.Update(t.Context(), log, order{ID: "1"}, func(order) ([]event, error) { return nil, nil })
	if err != nil || res.Revision != 5 {
		t.Errorf("the stream is at 5, and nothing was decided: got %+v, %v", res, err)
	}
}

// supply is a state whose boundary names no stream.
type supply struct{ Product string }

func (s supply) Boundary() annals.Query { return annals.Tags("product:" + s.Product) }
func (s supply) Evolve(event) supply    { return s }

func TestNothingIsExpectedOfADecisionOnNothingWithoutAStream(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 1})
	decide := func(events ...event) (decider.Result[supply, event], error) {
		return decider.Update(t.Context(), log, supply{"tea"}, func(supply) ([]event, error) { return events, nil }, decider.Expect(0))
	}
	if res, err := decide(); err != nil || len(res.Events) != 0 || res.Revision != annals.NoRevision || head(t, log) != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
	_, err := decide(stockReceived{"tea", 1})
	wantError(t, err, annals.ErrInvalid)
	_, err = decide(itemAdded{"1", "tea"})
	wantError(t, err, annals.ErrConflict)
}

func TestADryRunStoresNothing(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	res, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.DryRun(), decider.WaitFor(view(func(annals.Position) error { return errors.New("waited") })))
	if err != nil || len(res.Events) != 1 || len(res.State.Products) != 1 || res.Position != 1 || res.Revision != 0 || head(t, log) != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

type view func(annals.Position) error

func (v view) Wait(_ context.Context, p annals.Position) error { return v(p) }

func TestViewsAreWaitedForWithThePositionOfTheAppend(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	var waited []annals.Position
	v := view(func(p annals.Position) error { waited = append(waited, p); return nil })
	if _, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.WaitFor(v, v)); err != nil || !slices.Equal(waited, []annals.Position{2, 2}) {
		t.Errorf("waited for %v: %v", waited, err)
	}
	lagging := errors.New("lagging")
	res, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.WaitFor(view(func(annals.Position) error { return lagging })))
	wantError(t, err, lagging)
	if res.Position != 3 || len(res.Events) != 1 {
		t.Errorf("the result comes with the error: got %+v", res)
	}
}

func TestWrongOptionsAreErrors(t *testing.T) {
	t.Parallel()
	for _, o := range []decider.Option{decider.Retry(0), decider.IdempotencyKey("")} {
		_, err := decider.Execute(t.Context(), history(t), createOrder{"1"}, o)
		wantError(t, err, annals.ErrInvalid)
	}
}

func TestPanicsOfDecisionsAreErrorsAndStoreNothing(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	_, err := decider.Update(t.Context(), log, order{ID: "1"}, func(order) ([]event, error) { panic(annals.ErrConflict) })
	if e, ok := errors.AsType[*decider.PanicError](err); !ok || e.Method != "order.Decide" || e.Position != 1 || errors.Is(err, annals.ErrConflict) {
		t.Errorf("got %v", err)
	}
	_, err = decider.Update(t.Context(), log, order{ID: "1"}, func(order) ([]event, error) { return []event{orderPaid{"1"}, orderPaid{"1"}}, nil })
	if e, ok := errors.AsType[*decider.PanicError](err); !ok || e.Method != "order.Evolve" {
		t.Errorf("its own events cannot be folded in: got %v", err)
	}
	if head(t, log) != 1 {
		t.Error("something was stored")
	}
	var none decider.Command[order, event]
	_, err = decider.Execute(t.Context(), log, none)
	wantError(t, err, annals.ErrInvalid)
}

func TestAPanicNamesTheCommandThatMetIt(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderPaid{"1"}, orderPaid{"1"})
	_, err := decider.Execute(t.Context(), log, addItem{"1", "tea"})
	e, ok := errors.AsType[*decider.PanicError](err)
	if !ok || e.Command != "addItem" || e.Method != "order.Evolve" || e.Position != 3 ||
		!strings.Contains(err.Error(), "decider: addItem: ") {
		t.Errorf("got %v", err)
	}
	decide := func(o order) ([]event, error) { return []event{orderPaid{"2"}, orderPaid{"2"}}, nil }
	_, err = decider.Update(t.Context(), log, order{ID: "2"}, decide)
	if e, ok := errors.AsType[*decider.PanicError](err); !ok || e.Command != "order" || e.Method != "order.Evolve" {
		t.Errorf("got %v", err)
	}
	_, err = decider.Load(t.Context(), log, order{ID: "1"})
	if e, ok := errors.AsType[*decider.PanicError](err); !ok || e.Command != "" {
		t.Errorf("no command asked: got %v", err)
	}
}

func TestCommandsMayBeHeldInAnInterface(t *testing.T) {
	t.Parallel()
	log := history(t)
	for _, cmd := range []decider.Command[order, event]{createOrder{"1"}, addItem{"1", "tea"}} {
		if _, err := decider.Execute(t.Context(), log, cmd); err != nil {
			t.Error(err)
		}
	}
	for e, err := range log.Read(t.Context(), annals.Types("itemAdded")) {
		if err != nil || e.Meta().Command != "addItem" {
			t.Errorf("got %+v, %v", e.Meta(), err)
		}
	}
}
