package annals_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func newLog(opts ...annals.SchemaOption) *annals.Log[any] {
	return annals.NewLog(memory.New(), annals.NewSchema([]any{placed{}, line{}}, opts...))
}

// values reads them all, up to the first error.
func values(t *testing.T, log *annals.Log[any], q annals.Query) ([]any, error) {
	t.Helper()
	var vs []any
	for e, err := range log.Read(t.Context(), q) {
		if err != nil {
			return vs, err
		}
		vs = append(vs, e.Value)
	}
	return vs, nil
}

func TestALogReadsTheValuesThatWereAppended(t *testing.T) {
	t.Parallel()
	log := newLog()
	receipt, err := log.Append(t.Context(), []any{placed{Order: "1"}, line{Product: "tea", Count: 2}})
	if err != nil || receipt.First != 1 || receipt.Last != 2 {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	got, err := values(t, log, annals.Tags("product:tea"))
	if err != nil || len(got) != 1 || got[0] != (line{Product: "tea", Count: 2}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, err := range log.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Error(err)
		}
		break // frees everything
	}
	if other := log.On(memory.New()); other.Store() == log.Store() || other.Schema() != log.Schema() {
		t.Error("On changes the store and keeps the schema")
	}
	if log.RequiresAuthorize() || !annals.NewLog(log.Store(), log.Schema(), annals.RequireAuthorize()).On(memory.New()).RequiresAuthorize() {
		t.Error("Authorize is required where it was said, on other stores too")
	}
}

func TestEveryEventOfALogHasAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	log := newLog()
	raw, err := log.Encode(t.Context(), []any{line{Product: "tea"}, line{Product: "tea"}})
	if err != nil || raw[0].ID.IsZero() || raw[0].ID == raw[1].ID {
		t.Errorf("got %+v, %v", raw, err)
	}
}

func TestALogRefusesWhatItsSchemaDoesNotKnow(t *testing.T) {
	t.Parallel()
	log := newLog()
	if _, err := log.Append(t.Context(), []any{line{Product: "tea"}, 3}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a value: got %v", err)
	}
	if _, err := log.Append(t.Context(), []any{&line{Product: "tea"}}); !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), "give the value, not a pointer") {
		t.Errorf("a pointer: got %v", err)
	}
	if _, err := values(t, log, annals.Query{}); !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), "use All() for everything") {
		t.Errorf("the zero query: got %v", err)
	}
	if _, err := log.Append(t.Context(), []any{line{Product: "tea"}}, annals.NoneSince(0, annals.Tags("products:tea"))); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a condition: got %v", err)
	}
	if _, err := values(t, log, annals.Category("basket")); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a query: got %v", err)
	}
	if head, err := log.Store().Head(t.Context()); head != 0 || err != nil {
		t.Errorf("something was stored: %d, %v", head, err)
	}
}

func TestUnknownTypesEndAReadUnlessThePolicySaysSkip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		opts []annals.SchemaOption
		want int
		err  error
	}{
		{nil, 1, annals.ErrUnknownType},
		{[]annals.SchemaOption{annals.UnknownTypes(annals.UnknownSkip)}, 2, nil},
		{[]annals.SchemaOption{annals.Dropped("Gone")}, 2, nil},
	} {
		log := newLog(c.opts...)
		if _, err := log.Append(t.Context(), []any{line{Product: "tea"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: "Gone"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), []any{line{Product: "jam"}}); err != nil {
			t.Fatal(err)
		}
		got, err := values(t, log, annals.All())
		if len(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("got %+v, %v; want %d and %v", got, err, c.want, c.err)
		}
	}
}

func TestConditionsAreBoundLikeQueries(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{registered{}}, annals.HashKey(hashKey))
	log := annals.NewLog(memory.New(), s)
	guard := annals.NoneSince(0, annals.Tags("email:ann@example.com"))
	ann := []any{registered{Customer: "1", Email: "ann@example.com"}}
	if _, err := log.Append(t.Context(), ann, guard); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), ann, guard.WithEvents(), annals.StreamAt("customer-1", 0)); !errors.Is(err, annals.ErrConflict) {
		t.Errorf("a condition on a hashed tag: got %v", err)
	}
	bound, err := s.BindConditions(guard.WithEvents())
	if err != nil || !bound[0].WantsEvents() || bound[0].Query().Equal(guard.Query()) {
		t.Errorf("got %+v, %v", bound, err)
	}
	if bound, err := s.BindConditions(); bound != nil || err != nil {
		t.Errorf("got %+v, %v", bound, err)
	}
}

func TestStreamsOfConditionsAreCheckedLikeThoseOfQueries(t *testing.T) {
	t.Parallel()
	log := newLog()
	for name, c := range map[string]annals.Condition{
		"a category that nothing declares":   annals.NoStream("ordr-1"),
		"a tag that names no stream":         annals.StreamExists("product-tea"),
		"a stream without an id":             annals.StreamAt("order-", 0),
		"a stream without an id and a \"-\"": annals.NoStream("order"),
	} {
		_, err := log.Append(t.Context(), []any{line{Product: "tea"}}, annals.NoStream("order-1"), c)
		if !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), "condition 1") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := log.Append(t.Context(), []any{placed{Order: "1"}}, annals.NoStream("order-1"), annals.NoStream("$timers")); err != nil {
		t.Errorf("streams that are declared, or the system's: %v", err)
	}
}

func TestALimitCountsNoEventThatIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]annals.SchemaOption{"dropped": annals.Dropped("Gone"), "skipped": annals.UnknownTypes(annals.UnknownSkip)} {
		log := newLog(opt)
		for _, kind := range []string{"line", "Gone", "line", "Gone", "Gone"} {
			if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: kind, Data: []byte(`{"product":"tea"}`)}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			opts []annals.ReadOption
			want []annals.Position
		}{
			{[]annals.ReadOption{annals.Backwards(), annals.Limit(1)}, []annals.Position{3}},
			{[]annals.ReadOption{annals.Limit(1), annals.After(1)}, []annals.Position{3}},
			{[]annals.ReadOption{annals.Limit(2)}, []annals.Position{1, 3}},
			{[]annals.ReadOption{annals.Limit(3)}, []annals.Position{1, 3}},
		} {
			var got []annals.Position
			for e, err := range log.Read(t.Context(), annals.All(), c.opts...) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Position)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
		for _, err := range log.Read(t.Context(), annals.All(), annals.Limit(0)) {
			if !errors.Is(err, annals.ErrInvalid) {
				t.Errorf("a limit of 0: got %v", err)
			}
		}
	}
}

func TestTheSchemaMatchesEventsThatAreOlderThanATagLikeTheStore(t *testing.T) {
	t.Parallel()
	log := newLog()
	old := annals.Event{Type: "line", Data: []byte(`{"count":1}`)} // of before there was a product
	if _, err := log.Store().Append(t.Context(), []annals.Event{old}); err != nil {
		t.Fatal(err)
	}
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []annals.Query{annals.All(), annals.Types("line"), annals.Types("placed"), annals.Tags("product:tea"), annals.Stream("order-1")} {
			if bound, err := log.Schema().Bind(q); err != nil || bound.Match(e.Recorded) != log.Schema().Match(q, e.Value) {
				t.Errorf("%s: the store says %v, the schema %v, %v", q, bound.Match(e.Recorded), log.Schema().Match(q, e.Value), err)
			}
		}
	}
}

func TestSystemNamesPassTheSchema(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{line{}})
	for _, q := range []annals.Query{annals.Tags("$key:1"), annals.Stream("$timers"), annals.Category("$audit"), annals.Types("$timer", "line")} {
		if _, err := s.Bind(q.WithSystem()); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}
