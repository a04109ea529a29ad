package orders_test

import (
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
)

// A change of an event that old data does not survive fails here. With ANNALS_UPDATE=1 the files are written for what is new.
func TestOldDataSurvivesTheSchemaOfToday(t *testing.T) {
	t.Parallel()
	annalstest.Golden(t, schema, "testdata/events")
}

func TestWhatWasStoredInThePastIsReadAsItIsMeantToday(t *testing.T) {
	t.Parallel()
	store := memory.New()
	for _, e := range []annals.Event{
		{Type: "StockReceived", Version: 1, Stream: "product-tea", Tags: []string{"product:tea"}, Data: []byte(`{"product":"tea","count":10,"cents":450}`)},
		{Type: "OrderCreated", Stream: "order-1", Tags: []string{"customer:customer-1", "order:1"}, Data: []byte(`{"order":"1","customer":"customer-1"}`)},
		{Type: "OrderWithdrawn", Stream: "order-1", Tags: []string{"order:1"}, Data: []byte(`{"order":"1"}`)},
	} {
		if _, err := store.Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	log := orders.NewLog(store, hashKey)
	if l, err := decider.Load(t.Context(), log, orders.Product{ID: "tea"}); err != nil || !l.State.Known || l.State.Price != eur(450) {
		t.Errorf("got %+v, %v", l.State, err)
	}
	if l, err := decider.Load(t.Context(), log, orders.Order{ID: "1"}); err != nil || l.State.Status != orders.StatusCancelled {
		t.Errorf("got %+v, %v", l.State, err)
	}
}
