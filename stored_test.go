package annals_test

import (
	"errors"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func TestToolsReadAndAppendEventsOfAnyType(t *testing.T) {
	t.Parallel()
	store := memory.New()
	log := annals.NewLog(store, annals.StoredSchema())
	events := []annals.Recorded{
		{Event: annals.Event{Type: "Odd", Stream: "s-1", Tags: []string{"b:2", "a:1"}, ContentType: "text/plain", Data: []byte("?")}},
		{Event: annals.Event{Type: "Other", ID: annals.NewID(), Version: 7}},
	}
	if _, err := log.Append(annals.WithMetadata(t.Context(), annals.Metadata{Actor: "ann"}), events); err != nil {
		t.Fatal(err)
	}
	if _, err := annals.DeleteStream(t.Context(), store, "s-2"); err != nil {
		t.Fatal(err)
	}
	var got []annals.Recorded
	for e, err := range log.Read(t.Context(), annals.All().WithSystem()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value.ID != e.ID || e.Parts != 1 {
			t.Errorf("got %+v", e)
		}
		got = append(got, e.Value)
	}
	if len(got) != 3 || got[0].Stream != "s-1" || string(got[0].Data) != "?" || got[1].ID == events[1].ID || got[1].Version != 7 || got[1].Meta().Actor != "ann" || !got[2].IsSystem() {
		t.Errorf("got %+v", got)
	}
	if q := annals.Tags("undeclared:1"); log.Schema().Match(q, got[0]) || !log.Schema().Match(annals.Tags("a:1"), got[0]) {
		t.Error("matched otherwise than the store does")
	}
	if name := log.Schema().TypeName(got[0]); name != "Odd" {
		t.Error(name)
	}
	if _, err := log.Append(t.Context(), events, annals.StreamAt("s-1", 5)); !errors.Is(err, annals.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if _, err := log.Schema().Bind(annals.Query{}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
