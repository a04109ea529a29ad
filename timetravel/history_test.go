package timetravel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

type (
	Opened struct {
		Order string `json:"order" annals:"order,stream"`
	}
	Added struct {
		Order   string `json:"order" annals:"order,stream"`
		Product string `json:"product" annals:"product"`
		Count   int    `json:"count"`
	}
	Paid struct {
		Order string `json:"order" annals:"order,stream"`
	}
	Priced struct {
		Product string `json:"product" annals:"product,stream"`
		Cents   int    `json:"cents"`
	}
)

var schema = annals.NewSchema([]any{Opened{}, Added{}, Paid{}, Priced{}})

// Order has a map, which Evolve changes in place, and a boundary that grows.
type Order struct {
	ID     string         `json:"id"`
	Status string         `json:"status,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
	Prices []int          `json:"prices,omitempty"`
}

func (o Order) Boundary() annals.Query {
	q := annals.Stream("order-" + o.ID)
	for p := range o.Counts {
		q = q.Or(annals.Stream("product-" + p))
	}
	return q
}

func (o Order) Evolve(e any) Order {
	switch e := e.(type) {
	case Opened:
		o.Status = "open"
	case Added:
		if o.Counts == nil {
			o.Counts = map[string]int{}
		}
		o.Counts[e.Product] += e.Count
		if e.Count < 0 {
			panic("less than nothing")
		}
	case Paid:
		o.Status = "paid"
	case Priced:
		o.Prices = append(o.Prices, e.Cents)
	}
	return o
}

func newLog(t *testing.T, events ...any) *annals.Log[any] {
	t.Helper()
	log := annals.NewLog(memory.New(), schema)
	for _, e := range events {
		if _, err := log.Append(t.Context(), []any{e}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

var past = []any{Priced{"tea", 4}, Opened{"1"}, Added{"1", "tea", 2}, Priced{"jam", 9}, Added{"1", "tea", 1}, Opened{"2"}, Paid{"1"}}

func TestAHistoryHasTheStateAfterEachEventAndWhatItChanged(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	var got []string
	for step, err := range timetravel.History(t.Context(), log, Order{ID: "1"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(step.Entry.Position, " ", step.Entry.Type, " ", string(step.JSON), " ", step.Changes))
	}
	want := []string{
		`1 Priced {"id":"1","prices":[4]} [prices: null → [4]]`,
		`2 Opened {"id":"1","status":"open","prices":[4]} [status: null → "open"]`,
		`3 Added {"id":"1","status":"open","counts":{"tea":2},"prices":[4]} [counts: null → {"tea":2}]`,
		`5 Added {"id":"1","status":"open","counts":{"tea":3},"prices":[4]} [counts.tea: 2 → 3]`,
		`7 Paid {"id":"1","status":"paid","counts":{"tea":3},"prices":[4]} [status: "open" → "paid"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

func TestAHistoryEndsWhereItIsTold(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	for p := range annals.Position(len(past) + 1) {
		var last string
		for step, err := range timetravel.History(t.Context(), log, Order{ID: "1"}, annals.AsOf(p)) {
			if err != nil {
				t.Fatal(err)
			}
			last = fmt.Sprint(step.State)
		}
		want, err := decider.Load(t.Context(), log, Order{ID: "1"}, annals.AsOf(p))
		if err != nil || last != fmt.Sprint(want.State) && want.Found {
			t.Errorf("as of %d: the history ends with %s, the state is %v, %v", p, last, want.State, err)
		}
	}
	for _, err := range timetravel.History(t.Context(), log, Order{ID: "1"}) {
		if err != nil {
			t.Error(err)
		}
		break // frees everything
	}
}

func TestAHistoryThatCannotBeToldSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		log  *annals.Log[any]
		opts []annals.ReadOption
		want error
	}{
		{newLog(t, Opened{"1"}, Added{"1", "tea", -1}), nil, decider.ErrPanic},
		{newLog(t), []annals.ReadOption{annals.AsOf(9)}, annals.ErrAhead},
		{newLog(t), []annals.ReadOption{annals.Limit(1)}, annals.ErrInvalid},
	} {
		var got error
		for _, err := range timetravel.History(t.Context(), c.log, Order{ID: "1"}, c.opts...) {
			got = err
		}
		if !errors.Is(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
		if _, err := timetravel.Why(t.Context(), c.log, Order{ID: "1"}, "status", c.opts...); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after, want string }{
		{`{}`, `{}`, "[]"},
		{`{"a":1}`, `{"a":1.0}`, "[a: 1 → 1.0]"},
		{`{"a":1,"b":{"c":[1,2,{"d":true}]}}`, `{"b":{"c":[1,3,{"d":false},4]}}`, "[a: 1 → null b.c[1]: 2 → 3 b.c[2].d: true → false b.c[3]: null → 4]"},
		{`{"a":[1,2]}`, `{"a":[1]}`, "[a[1]: 2 → null]"},
		{`{"a":{"b":1}}`, `{"a":[1]}`, `[a: {"b":1} → [1]]`},
		{`{"a":null}`, `{}`, "[]"},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, "[a: 12345678901234567890 → 12345678901234567891]"},
		{``, `7`, "[: null → 7]"},
		{`[1]`, `[2]`, "[[0]: 1 → 2]"},
	} {
		got, err := timetravel.Changes([]byte(c.before), []byte(c.after))
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s to %s: got %v, %v; want %s", c.before, c.after, got, err, c.want)
		}
	}
	if _, err := timetravel.Changes([]byte("{"), nil); err == nil {
		t.Error("half a document is compared")
	}
	if _, err := timetravel.Changes(nil, []byte("{")); err == nil {
		t.Error("half a document is compared")
	}
}

func TestWhyFollowsTheCausesAcrossStreams(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"})
	by := func(m annals.Metadata, e any) string {
		t.Helper()
		raw, err := log.Encode(annals.WithMetadata(t.Context(), m), []any{e})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Store().Append(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		return raw[0].ID.String()
	}
	first := by(annals.Metadata{Actor: "clerk", Command: "SetPrice", CausationID: "request 7"}, Priced{"tea", 4})
	second := by(annals.Metadata{Actor: "shop", Command: "AddItem", CausationID: first}, Added{"1", "tea", 2})
	by(annals.Metadata{Actor: "bank", Command: "Pay", CausationID: second}, Paid{"1"})
	reason, err := timetravel.Why(t.Context(), log, Order{ID: "1"}, "status")
	if err != nil {
		t.Fatal(err)
	}
	var causes []string
	for _, c := range reason.Causes {
		causes = append(causes, c.Type+" by "+c.Metadata.Actor)
	}
	if string(reason.Value) != `"paid"` || reason.Event.Type != "Paid" || reason.Event.Metadata.Command != "Pay" ||
		!slices.Equal(causes, []string{"Added by shop", "Priced by clerk"}) || reason.Request != "request 7" || reason.Cut {
		t.Errorf("got %+v, causes %q", reason, causes)
	}
	for path, want := range map[string]string{"counts.tea": "2", "counts": `{"tea":2}`, "prices[0]": "4"} {
		if r, err := timetravel.Why(t.Context(), log, Order{ID: "1"}, path); err != nil || string(r.Value) != want {
			t.Errorf("%s: got %s, %v", path, r.Value, err)
		}
	}
	for _, path := range []string{"stat", "status.x", "nothing", "counts.jam", "prices[1]", "prices[x]", "id"} {
		if r, err := timetravel.Why(t.Context(), log, Order{ID: "1"}, path); !errors.Is(err, timetravel.ErrNoReason) {
			t.Errorf("%s: got %+v, %v", path, r, err)
		}
	}
}

func TestACircleOfCausesEnds(t *testing.T) {
	t.Parallel()
	store := memory.New()
	a, b := annals.NewID(), annals.NewID()
	meta := func(cause annals.ID) []byte { return []byte(`{"causationId":"` + cause.String() + `"}`) }
	for _, e := range []annals.Event{
		{ID: a, Type: "Opened", Stream: "order-1", Tags: []string{"order:1"}, Data: []byte(`{"order":"1"}`), Metadata: meta(b)},
		{ID: b, Type: "Paid", Stream: "order-1", Tags: []string{"order:1"}, Data: []byte(`{"order":"1"}`), Metadata: meta(a)},
	} {
		if _, err := store.Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := timetravel.Why(t.Context(), annals.NewLog(store, schema), Order{ID: "1"}, "status")
	if err != nil || len(r.Causes) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestALongChainOfCausesIsCut(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	cause := ""
	for i := range 150 {
		raw, err := log.Encode(annals.WithMetadata(context.Background(), annals.Metadata{CausationID: cause}), []any{Added{"1", "tea", i}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Store().Append(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		cause = raw[0].ID.String()
	}
	r, err := timetravel.Why(t.Context(), log, Order{ID: "1"}, "counts")
	if err != nil || len(r.Causes) != 100 || !r.Cut {
		t.Errorf("got %d causes, cut %v, %v", len(r.Causes), r.Cut, err)
	}
}
