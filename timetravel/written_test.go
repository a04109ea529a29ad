package timetravel_test

import (
	"encoding/json"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

func TestWritten(t *testing.T) {
	events := []annals.Event{
		{Type: "Priced", Stream: "product-tea", Tags: []string{"product:tea"}, Data: []byte(`{"product":"tea","cents":4}`)},
		{Type: "Opened", Stream: "order-1", Tags: []string{"order:1"}, Data: []byte(`{"order":"1"}`)},
		{Type: "Added", Stream: "order-1", Tags: []string{"order:1", "product:tea `quoted`"}, Data: []byte("{\"order\":\"1\",\"product\":\"tea `quoted`\",\"count\":5}")},
		{Type: "Added", Stream: "order-1", Tags: []string{"order:1", "product:tea"}, Data: []byte(`{"order":"1","product":"tea","count":1}`)},
	}
	log := annals.NewLog(memory.New(), schema)
	for _, e := range events {
		if _, err := log.Store().Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := decider.Load(t.Context(), log, Order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(loaded.State)
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\"id\":\"1\",\"status\":\"open\",\"counts\":{\"tea\":1,\"tea `quoted`\":5},\"prices\":[4]}"; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
