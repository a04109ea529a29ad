package process_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

// Reminded is the event of a timer that says something.
type Reminded struct {
	Order string `json:"order" annals:"order,stream"`
	Text  string `json:"text"`
}

// reminders sets a timer whose event says this.
func reminders(text string) process.Manager[Order, any] {
	return process.Manager[Order, any]{
		Name: "reminders", By: "order", Query: annals.Types("Placed"),
		Initial: func(key string) Order { return Order{ID: key} },
		React: func(_ Order, e annals.Entry[any], do *process.Effects[any]) {
			if v, ok := e.Value.(Placed); ok {
				do.Schedule("reminder", e.Time.Add(deadline), Reminded{v.Order, text})
			}
		},
	}
}

// indented is JSON as nobody else in here writes it, and odd something that is no JSON at all.
type (
	indented struct{ annals.Codec }
	odd      struct{ annals.Codec }
)

func (indented) Encode(v any) ([]byte, error) { return json.MarshalIndent(v, "", "\t") }
func (odd) ContentType() string               { return "application/x-odd" }

func (odd) Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append([]byte{0}, b...), err
}

func (odd) Decode(data []byte, v any) error { return json.Unmarshal(data[1:], v) }

// storedAs are the events of a type as they are stored.
func storedAs(t *testing.T, store annals.Store, name string) (events []annals.Recorded) {
	t.Helper()
	for r, err := range store.Read(t.Context(), annals.Types(name).WithSystem()) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, r)
	}
	return events
}

// A store that encrypts personal values looks for them in the data of events, the system's included.
func TestTheEventOfATimerIsInSightAndIsAppendedAsItWas(t *testing.T) {
	t.Parallel()
	const text = `<"ann" & {"$personal":1}> ü`
	for name, c := range map[string]struct {
		options []annals.SchemaOption
		inSight bool
	}{
		"json":          {nil, true},
		"indented json": {[]annals.SchemaOption{annals.Encoding(indented{annals.JSON()})}, false},
		"no json":       {[]annals.SchemaOption{annals.Encoding(odd{annals.JSON()})}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				schema := annals.NewSchema([]any{Placed{}, Reminded{}}, c.options...)
				want, err := schema.Encode(Reminded{"1", text})
				if err != nil {
					t.Fatal(err)
				}
				store := memory.New()
				bus := cqrs.New(annals.NewLog(store, schema))
				p := newProcess(t, bus, reminders(text), process.Options{})
				stop := running(t, p)
				defer stop()
				add(t, bus, Placed{"1", 5})
				synctest.Wait()
				if err := p.Reschedule(t.Context(), "1", "reminder", time.Now().Add(2*deadline)); err != nil {
					t.Fatal(err)
				}
				set := storedAs(t, store, "$timer-set")
				for i, r := range set {
					if bytes.Contains(r.Data, want.Data) != c.inSight {
						t.Errorf("setting %d holds %s: is the event in sight? wanted %t", i+1, r.Data, c.inSight)
					}
				}
				pass(3 * deadline)
				fired := storedAs(t, store, "Reminded")
				if len(set) != 2 || len(fired) != 1 || !fired[0].SameContent(want) || fired[0].Stream != want.Stream {
					t.Errorf("set %d times; got %+v, want %+v", len(set), fired, want)
				}
			})
		})
	}
}

// Data lay in base64 before.
func TestTimersThatWereSetByAnEarlierVersionFire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		p := newProcess(t, newBus(store), deadlines, process.Options{})
		system, err := annals.System(store)
		if err != nil {
			t.Fatal(err)
		}
		data := fmt.Sprintf(`{"key":"1","timer":"payment","at":%q,"event":{"type":"Overdue","stream":"order-1","version":1,"tags":["order:1"],"data":%q}}`,
			time.Now().Add(deadline).Format(time.RFC3339), base64.StdEncoding.EncodeToString([]byte(`{"order":"1"}`)))
		if _, err := system.Append(t.Context(), []annals.Event{{Type: "$timer-set", Stream: p.Stream(), Data: []byte(data)}}); err != nil {
			t.Fatal(err)
		}
		stop := running(t, p)
		defer stop()
		pass(2 * deadline)
		if got := storedAs(t, store, "Overdue"); len(got) != 1 || string(got[0].Data) != `{"order":"1"}` {
			t.Errorf("got %+v", got)
		}
	})
}
