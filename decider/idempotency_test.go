package decider_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

func TestARepeatedCommandGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	log := history(t, stockReceived{"tea", 1}, orderCreated{"1"}, itemAdded{"1", "tea"})
	key := decider.IdempotencyKey("k")
	first, err := decider.Execute(t.Context(), log, placeOrder{"1"}, key, decider.Expect(1))
	if err != nil || first.Duplicate {
		t.Fatalf("got %+v, %v", first, err)
	}
	record(t, log, stockReceived{"tea", 9}, orderPaid{"1"})
	again, err := decider.Execute(t.Context(), log, placeOrder{"1"}, key, decider.Expect(1))
	if err != nil || !again.Duplicate || head(t, log) != 6 {
		t.Fatalf("got %+v, %v", again, err)
	}
	again.Duplicate = false
	if !reflect.DeepEqual(again, first) {
		t.Errorf("got %+v\nwas %+v", again, first)
	}
	_, err = decider.Execute(t.Context(), log, placeOrder{"1"}, decider.IdempotencyKey("other"))
	wantError(t, err, errStatus)
}

func TestAnAnswerIsMadeFromAllEventsOfItsRunAndNoOthers(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	decide := func(order) ([]event, error) {
		return []event{invoiceSent{"7"}, itemAdded{"1", "tea"}, stockReceived{"tea", 1}, itemAdded{"1", "jam"}, invoiceSent{"8"}}, nil
	}
	first, err := decider.Update(t.Context(), log, order{ID: "1"}, decide, decider.IdempotencyKey("k"))
	if err != nil || first.Position != 6 || first.Revision != 2 {
		t.Fatalf("got %+v, %v", first, err)
	}
	if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: "ofAnotherContext"}}); err != nil {
		t.Fatal(err)
	}
	again, err := decider.Update(t.Context(), log, order{ID: "1"}, decide, decider.IdempotencyKey("k"))
	if err != nil || !again.Duplicate || again.Position != 6 || again.Revision != 2 || len(again.Events) != 5 || len(again.State.Products) != 2 {
		t.Errorf("got %+v, %v", again, err)
	}
	_, err = decider.Update(t.Context(), log, order{ID: "2"}, decide, decider.IdempotencyKey("k"))
	wantError(t, err, decider.ErrKeyReused)
}

func TestTheFirstEventOfARunCarriesTheFingerprint(t *testing.T) {
	t.Parallel()
	log := history(t)
	decide := func(order) ([]event, error) { return []event{orderCreated{"1"}, itemAdded{"1", "tea"}}, nil }
	if _, err := decider.Update(t.Context(), log, order{ID: "1"}, decide, decider.IdempotencyKey("k")); err != nil {
		t.Fatal(err)
	}
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil || (e.Meta().Fingerprint != "") != (e.Position == 1) || e.ID[6]>>4 != 8 || e.ID[8]>>6 != 2 {
			t.Errorf("position %d: %s %+v, %v", e.Position, e.ID, e.Meta(), err)
		}
	}
}

func TestAKeyBelongsToOnePrincipalAndOneCommand(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	key := decider.IdempotencyKey("k")
	give := func(actor string, cmd addItem) (decider.Result[order, event], error) {
		return decider.Execute(annals.WithPrincipal(t.Context(), annals.Principal{ID: actor}), log, cmd, key)
	}
	for _, actor := range []string{"ann", "bob"} {
		if res, err := give(actor, addItem{"1", "tea"}); err != nil || res.Duplicate {
			t.Errorf("%s: got %+v, %v", actor, res, err)
		}
	}
	_, err := give("ann", addItem{"1", "jam"})
	wantError(t, err, decider.ErrKeyReused)
	if e, ok := errors.AsType[*decider.KeyReusedError](err); !ok || e.Command != "addItem" || e.Key != "k" || e.Position != 2 {
		t.Errorf("got %v", err)
	}
	if _, err := decider.Execute(annals.WithPrincipal(t.Context(), annals.Principal{ID: "ann"}), log, createOrder{"2"}, key); err != nil {
		t.Errorf("another command: %v", err)
	}
}

func TestAKeyOfARefusedCommandIsFree(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, itemAdded{"1", "tea"})
	_, err := decider.Execute(t.Context(), log, placeOrder{"1"}, decider.IdempotencyKey("k"))
	wantError(t, err, errSoldOut)
	record(t, log, stockReceived{"tea", 1})
	if res, err := decider.Execute(t.Context(), log, placeOrder{"1"}, decider.IdempotencyKey("k")); err != nil || res.Duplicate {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestAnEarlierAnswerIsForThoseWhoMayStillAsk(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"}, orderPlaced{Order: "1"})
	if _, err := decider.Execute(annals.WithPrincipal(t.Context(), clerk), log, payOrder{"1"}, decider.IdempotencyKey("k")); err != nil {
		t.Fatal(err)
	}
	_, err := decider.Execute(annals.WithPrincipal(t.Context(), annals.Principal{ID: clerk.ID}), log, payOrder{"1"}, decider.IdempotencyKey("k"))
	wantError(t, err, decider.ErrForbidden)
}

func TestOfTwoFirstUsesOfAKeyOneWinsAndTheOtherLearnsOfIt(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{true, false} {
		log := history(t, orderCreated{"1"}, orderCreated{"2"})
		m := &meddler{Store: log.Store()}
		m.beforeAppend = func(n int) error {
			if n > 1 {
				return nil
			}
			_, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.IdempotencyKey("k"))
			return err
		}
		cmd := addItem{"1", "tea"}
		if !same {
			cmd = addItem{"2", "tea"} // another stream: only the condition on the id sees it
		}
		res, err := decider.Execute(t.Context(), log.On(m), cmd, decider.IdempotencyKey("k"))
		if same && (err != nil || !res.Duplicate || res.Position != 3) || !same && !errors.Is(err, decider.ErrKeyReused) || head(t, log) != 3 {
			t.Errorf("same %v: got %+v, %v", same, res, err)
		}
	}
}

func TestNobodyIsRefusedBecauseOfTheirOwnSuccess(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]decider.Option{
		"a rule":      {decider.IdempotencyKey("k")},
		"an old view": {decider.IdempotencyKey("k"), decider.Expect(annals.NoRevision)},
	} {
		log := history(t)
		reads := 0
		m := &meddler{Store: log.Store(), beforeRead: func() {
			if reads++; reads == 2 { // the look-up found nothing, the load will find the other run's events
				if _, err := decider.Execute(t.Context(), log, createOrder{"1"}, options...); err != nil {
					t.Error(err)
				}
			}
		}}
		res, err := decider.Execute(t.Context(), log.On(m), createOrder{"1"}, options...)
		if err != nil || !res.Duplicate || res.Position != 1 || res.State.Status != "draft" {
			t.Errorf("%s: got %+v, %v", name, res, err)
		}
	}
}

func TestRacersUnderOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	var wg sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		wg.Go(func() {
			res, err := decider.Execute(t.Context(), log, createOrder{"2"}, decider.IdempotencyKey("k"))
			if err == nil && res.Position != 2 {
				err = fmt.Errorf("position %d", res.Position)
			}
			results[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(results...); err != nil || head(t, log) != 2 {
		t.Errorf("head %d: %v", head(t, log), err)
	}
}

func TestAfterAnUnknownOutcomeTheKeyTellsWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	m := &meddler{Store: log.Store(), receive: func(*annals.Receipt) error {
		return &annals.OutcomeError{Unknown: true, Cause: context.Canceled}
	}}
	_, err := decider.Execute(t.Context(), log.On(m), addItem{"1", "tea"}, decider.IdempotencyKey("k"))
	wantError(t, err, annals.ErrUnknownOutcome)
	res, err := decider.Execute(t.Context(), log, addItem{"1", "tea"}, decider.IdempotencyKey("k"))
	if err != nil || !res.Duplicate || res.Position != 2 || head(t, log) != 2 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestAStoreThatRetriedByItselfDoesNotConfuseAKey(t *testing.T) {
	t.Parallel()
	log := history(t, orderCreated{"1"})
	m := &meddler{Store: log.Store(), receive: func(r *annals.Receipt) error { r.Duplicate = true; return nil }}
	res, err := decider.Execute(t.Context(), log.On(m), addItem{"1", "tea"}, decider.IdempotencyKey("k"))
	if err != nil || res.Position != 2 || len(res.Events) != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// byPath and unexported say what they are about where JSON does not see it.
type (
	byPath struct {
		Order string `json:"-"`
	}
	unexported struct{ order string }
)

func (c byPath) Initial() order                    { return order{ID: c.Order} }
func (c byPath) Decide(order) ([]event, error)     { return []event{orderCreated(c)}, nil }
func (c unexported) Initial() order                { return order{ID: c.order} }
func (c unexported) Decide(order) ([]event, error) { return []event{orderCreated{c.order}}, nil }

func TestCommandsWhoseJSONIsEqualAreToldApartByTheirBoundary(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(log *annals.Log[event], order string) (decider.Result[order, event], error){
		"left out of JSON": func(log *annals.Log[event], id string) (decider.Result[order, event], error) {
			return decider.Execute(t.Context(), log, byPath{id}, decider.IdempotencyKey("k"))
		},
		"not exported": func(log *annals.Log[event], id string) (decider.Result[order, event], error) {
			return decider.Execute(t.Context(), log, unexported{id}, decider.IdempotencyKey("k"))
		},
	} {
		log := history(t)
		if _, err := give(log, "1"); err != nil {
			t.Fatal(err)
		}
		if res, err := give(log, "1"); err != nil || !res.Duplicate {
			t.Errorf("%s, the same again: got %+v, %v", name, res, err)
		}
		if res, err := give(log, "2"); !errors.Is(err, decider.ErrKeyReused) {
			t.Errorf("%s, another order: got %+v, %v", name, res, err)
		}
	}
}

// elsewhere creates an order of another shop.
type elsewhere struct{ Order string }

func (c elsewhere) Initial() order { return order{ID: "elsewhere-" + c.Order} }
func (c elsewhere) Decide(order) ([]event, error) {
	return []event{orderCreated{"elsewhere-" + c.Order}}, nil
}

func TestCommandsOfOneNameInTwoPlacesAreToldApartByTheirBoundary(t *testing.T) {
	t.Parallel()
	log := history(t)
	key := decider.IdempotencyKey("k")
	here := func() error {
		type create struct{ createOrder }
		_, err := decider.Execute(t.Context(), log, create{createOrder{"1"}}, key)
		return err
	}
	there := func() error {
		type create struct{ elsewhere }
		_, err := decider.Execute(t.Context(), log, create{elsewhere{"1"}}, key)
		return err
	}
	if err := here(); err != nil {
		t.Fatal(err)
	}
	wantError(t, there(), decider.ErrKeyReused)
}

func TestAnEarlierAnswerLeavesOutWhatTheSchemaSkips(t *testing.T) {
	t.Parallel()
	log := history(t)
	decide := func(order) ([]event, error) {
		return []event{orderCreated{"1"}, invoiceSent{"7"}, itemAdded{"1", "tea"}}, nil
	}
	if _, err := decider.Update(t.Context(), log, order{ID: "1"}, decide, decider.IdempotencyKey("k")); err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]annals.SchemaOption{"skipped": annals.UnknownTypes(annals.UnknownSkip), "dropped": annals.Dropped("invoiceSent")} {
		today := annals.NewLog(log.Store(), annals.NewSchema([]event{orderCreated{}, itemAdded{}}, opt))
		res, err := decider.Update(t.Context(), today, order{ID: "1"}, decide, decider.IdempotencyKey("k"))
		if err != nil || !res.Duplicate || len(res.Events) != 2 || res.Position != 3 || res.Revision != 1 {
			t.Errorf("%s: got %+v, %v", name, res, err)
		}
	}
	strict := annals.NewLog(log.Store(), annals.NewSchema([]event{orderCreated{}, itemAdded{}}))
	_, err := decider.Update(t.Context(), strict, order{ID: "1"}, decide, decider.IdempotencyKey("k"))
	wantError(t, err, annals.ErrUnknownType)
}

// secretive cannot be written as JSON.
type secretive struct{ F func() }

func (secretive) Initial() order                { return order{ID: "1"} }
func (secretive) Decide(order) ([]event, error) { return nil, nil }

func TestACommandWithoutJSONHasNoKey(t *testing.T) {
	t.Parallel()
	if _, err := decider.Execute(t.Context(), history(t), secretive{}); err != nil {
		t.Error(err)
	}
	if _, err := decider.Execute(t.Context(), history(t), secretive{}, decider.IdempotencyKey("k")); err == nil {
		t.Error("a key was taken for a command that cannot be told from others")
	}
}
