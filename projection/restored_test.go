package projection_test

import (
	"errors"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

func storeOf(t *testing.T, events ...annals.Event) annals.Store {
	t.Helper()
	store := memory.New()
	system, err := annals.System(store)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.ID.IsZero() {
			e.ID = annals.NewID()
		}
		if _, err := system.Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// A store that was put back to a backup and has grown since shares events with the one that the rows were made from. What
// it does not share may be events that the projection does not match, or that are nobody's.
func TestAStoreThatWasPutBackToABackupAndGrewAgainIsNoticed(t *testing.T) {
	t.Parallel()
	placed := annals.Event{ID: annals.NewID(), Type: "OrderPlaced", Stream: "order-42", Tags: []string{"order:42"}, Data: []byte(`{"order":"42"}`)}
	paid := annals.Event{Type: "OrderPaid", Stream: "order-42", Tags: []string{"order:42"}, Data: []byte(`{"order":"42"}`)}
	mail := annals.Event{Type: "MailConfirmed", Stream: "mails", Data: []byte(`{}`)}
	system := annals.Event{Type: "$noted", Stream: "$notes", Data: []byte(`{}`)}
	for name, after := range map[string]annals.Event{"matched": paid, "not matched": mail, "the system's": system} {
		for again, grown := range map[string][]annals.Event{
			"not at all":              {placed},
			"to the same position":    {placed, paid, paid, paid},
			"past it":                 {placed, paid, paid, paid, paid, paid},
			"by what does not match":  {placed, mail, mail, mail, mail},
			"by events of the system": {placed, system, system, system, system},
		} {
			views := projection.NewMemory()
			before := annals.NewLog(storeOf(t, placed, after, after, after), schema)
			for range 2 { // the second time it is the same store
				if err := projection.CatchUp(t.Context(), before, views, Orders); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			err := projection.CatchUp(t.Context(), annals.NewLog(storeOf(t, grown...), schema), views, Orders)
			if !errors.Is(err, projection.ErrForeignCheckpoint) {
				t.Errorf("after events that are %s, grown %s: the error is %v", name, again, err)
			}
		}
	}
}

func TestARowWithoutEventsIsNotFoundWithoutReadingThoseOfOthers(t *testing.T) {
	t.Parallel()
	unreadable := annals.Event{Type: "CustomerRegistered", Stream: "customer-ann", Tags: []string{"customer:ann"}, Data: []byte("[]")}
	placed := annals.Event{Type: "OrderPlaced", Stream: "order-42", Tags: []string{"order:42"}, Data: []byte(`{"order":"42","customer":"ann"}`)}
	log := annals.NewLog(storeOf(t, unreadable, placed, unreadable), schema)
	for _, test := range []struct {
		key  string
		at   annals.Position
		want error
	}{
		{"none", 3, projection.ErrNotFound},
		{"none", 2, projection.ErrNotFound},
		{"42", 1, projection.ErrNotFound},
		{"42", 2, projection.ErrApply}, // the joined row is needed
	} {
		var complete annals.Position
		_, err := projection.AsOf(t.Context(), log, Orders, test.key, annals.AsOf(test.at), annals.HeadInto(&complete))
		if !errors.Is(err, test.want) || complete != test.at {
			t.Errorf("%s as of %d, complete up to %d: the error is %v", test.key, test.at, complete, err)
		}
	}
}
