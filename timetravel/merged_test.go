package timetravel_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

// Tools that know no types see the data of a stream merged.
func ExampleMerged() {
	log := newMerged(
		`{"order":"42","lines":1,"address":{"city":"Ulm","zip":"1"}}`, `{"address":{"zip":"2"},"note":"hurry"}`, `{"lines":3,"note":null}`,
	)
	for step, err := range timetravel.History(context.Background(), log, timetravel.Merged{Stream: "order-42"}) {
		fmt.Println(step.Changes, err)
	}
	// Output:
	// [$type: null → "T0" address: null → {"city":"Ulm","zip":"1"} lines: null → 1 order: null → "42"] <nil>
	// [$type: "T0" → "T1" address.zip: "1" → "2" note: null → "hurry"] <nil>
	// [$type: "T1" → "T2" lines: 1 → 3 note: "hurry" → null] <nil>
}

func TestMergedStatesTakeWhatIsNoObject(t *testing.T) {
	t.Parallel()
	log := newMerged(`{"a":{"b":1}}`, `[1]`, `nonsense`, ``, `{"a":5}`, `{"a":{"c":12345678901234567890}}`)
	for r, want := range map[annals.Revision]string{
		0: `{"$type":"T0","a":{"b":1}}`, 3: `{"$type":"T3","a":{"b":1}}`, 4: `{"$type":"T4","a":5}`, 5: `{"$type":"T5","a":{"c":12345678901234567890}}`,
	} {
		l, err := decider.Load(t.Context(), log, timetravel.Merged{Stream: "order-42"}, annals.AsOfRevision(r))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.State.MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("revision %d: got %s, %v", r, got, err)
		}
	}
	l, err := decider.Load(t.Context(), log, timetravel.Merged{Stream: "none"})
	if got, encodeErr := l.State.MarshalJSON(); err != nil || encodeErr != nil || string(got) != "{}" || l.Found {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := annals.DeleteStream(t.Context(), log.Store(), "order-42"); err != nil {
		t.Fatal(err)
	}
	l, err = decider.Load(t.Context(), log, timetravel.Merged{Stream: annals.RetentionStream("order-42")})
	if got, encodeErr := l.State.MarshalJSON(); err != nil || encodeErr != nil || string(got) != `{"$type":"$deleted"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// newMerged has a stream with events of these data.
func newMerged(data ...string) *annals.Log[annals.Recorded] {
	log := annals.NewLog(memory.New(), annals.StoredSchema())
	for i, d := range data {
		e := annals.Recorded{Event: annals.Event{Type: fmt.Sprint("T", i), Stream: "order-42", Data: []byte(d)}}
		if _, err := log.Append(context.Background(), []annals.Recorded{e}); err != nil {
			panic(err)
		}
	}
	return log
}
