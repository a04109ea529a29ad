package annals_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func noParts(struct{}) []any { return nil }

type paid struct {
	Order orderID `json:"order" annals:"order,stream"`
	By    string  `json:"by" annals:"payer"`
}

// placedAndPaid is what two events were once.
type placedAndPaid struct {
	Order orderID
	By    string
	Lines []line
}

// splitting is a schema that makes placed, if there are lines, and paid, if somebody paid, of what was stored as one.
func splitting(opts ...annals.SchemaOption) *annals.Schema[any] {
	return annals.NewSchema([]any{placed{}, paid{}, line{}}, append(opts,
		annals.Split("PlacedAndPaid", 1, []any{placed{}, paid{}}, func(o placedAndPaid) (parts []any) {
			if len(o.Lines) > 0 {
				parts = append(parts, placed{Order: o.Order, Lines: o.Lines})
			}
			if o.By != "" {
				parts = append(parts, paid{Order: o.Order, By: o.By})
			}
			return parts
		}),
		annals.Split("PlacedAndPaid", 2, []any{placed{}}, func(struct{}) []any { return []any{line{}} }))...)
}

// stored appends the old event: of order 1, with both parts, and with tags for both.
func storeOld(t *testing.T, s annals.Store, data string) {
	t.Helper()
	old := annals.Event{Type: "PlacedAndPaid", Stream: "order-1", Tags: []string{"order:1", "payer:ann", "product:tea"}, Data: []byte(data)}
	if _, err := s.Append(t.Context(), []annals.Event{old}); err != nil {
		t.Fatal(err)
	}
}

const bothParts = `{"order":"1","by":"ann","lines":[{"product":"tea","count":1}]}`

func TestAStoredEventIsSplit(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), splitting())
	storeOld(t, log.Store(), bothParts)
	storeOld(t, log.Store(), `{"order":"1"}`)
	storeOld(t, log.Store(), `{"order":"1","by":"bob"}`)
	if _, err := log.Append(t.Context(), []any{paid{"1", "eve"}}); err != nil {
		t.Fatal(err)
	}
	p, ann, bob, eve := placed{Order: "1", Lines: []line{{"tea", 1}}}, paid{"1", "ann"}, paid{"1", "bob"}, paid{"1", "eve"}
	for _, c := range []struct {
		query annals.Query
		opts  []annals.ReadOption
		want  []any
	}{
		{annals.All(), nil, []any{p, ann, bob, eve}},
		{annals.Stream("order-1"), nil, []any{p, ann, bob, eve}},
		{annals.Types("placed"), nil, []any{p}},
		{annals.Types("paid"), nil, []any{ann, bob, eve}},
		{annals.Tags("product:tea"), nil, []any{p}},
		{annals.Tags("payer:ann"), nil, []any{ann}},
		{annals.Tags("payer:bob"), nil, nil}, // the stored event was not about him
		{annals.Types("line"), nil, nil},
		{annals.All(), []annals.ReadOption{annals.Backwards()}, []any{eve, bob, ann, p}},
		{annals.All(), []annals.ReadOption{annals.Limit(1)}, []any{p, ann}},
		{annals.All(), []annals.ReadOption{annals.Limit(2)}, []any{p, ann, bob}},
		{annals.Types("paid"), []annals.ReadOption{annals.Limit(1), annals.After(1)}, []any{bob}},
	} {
		var got []any
		for e, err := range log.Read(t.Context(), c.query, c.opts...) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Value)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.query, got, c.want)
		}
	}
}

func TestAPartSaysWhichItIs(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), splitting())
	storeOld(t, log.Store(), bothParts)
	storeOld(t, log.Store(), `{"order":"1","by":"bob"}`)
	var got []string
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Position, " ", e.Part, "/", e.Parts, " ", e.Type, " ", e.Stream, " ", e.Tags))
	}
	want := []string{"1 0/2 placed order-1 [order:1 product:tea]", "1 1/2 paid order-1 [order:1 payer:ann]", "2 0/1 paid order-1 [order:1 payer:bob]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestAConditionSeesWhatWillBeSplit(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), splitting())
	storeOld(t, log.Store(), bothParts)
	for _, q := range []annals.Query{annals.Types("paid"), annals.Types("placed"), annals.Tags("payer:ann")} {
		if _, err := log.Append(t.Context(), []any{line{Product: "tea"}}, annals.NoneSince(0, q)); !errors.Is(err, annals.ErrConflict) {
			t.Errorf("%s: got %v", q, err)
		}
	}
	if _, err := log.Append(t.Context(), []any{line{Product: "tea"}}, annals.NoneSince(0, annals.Types("line"))); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeSplitIsAnErrorNamingIt(t *testing.T) {
	t.Parallel()
	s := splitting()
	for _, c := range []struct {
		event annals.Event
		want  string
	}{
		{annals.Event{Type: "PlacedAndPaid", Data: []byte("{")}, "position 1: decode PlacedAndPaid version 0: unexpected end"},
		{annals.Event{Type: "PlacedAndPaid", Version: 2, Data: []byte("{}")}, "its Split made a annals_test.line, which is not among the types that it named"},
		{annals.Event{Type: "PlacedAndPaid", Version: 3, Data: []byte("{}")}, "there is no Split for this version"},
		{annals.Event{Type: "PlacedAndPaid", ContentType: "image/png"}, "no codec"},
	} {
		got, err := decoded(s, c.event)
		if err == nil || !strings.Contains(err.Error(), c.want) || got != nil {
			t.Errorf("got %v, %v; want %q", got, err, c.want)
		}
	}
}
