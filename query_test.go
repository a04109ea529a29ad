package annals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
)

func TestQueryMatchesAnEventThatMatchesAnyItem(t *testing.T) {
	t.Parallel()
	id := annals.NewID()
	e := annals.Recorded{Event: annals.Event{ID: id, Type: "Placed", Stream: "order-42", Tags: []string{"order:42", "product:tea"}}}
	cases := []struct {
		name  string
		query annals.Query
		want  bool
	}{
		{"all", annals.All(), true},
		{"its stream", annals.Stream("order-42"), true},
		{"another stream", annals.Stream("order-4"), false},
		{"its category", annals.Category("order"), true},
		{"a prefix of its category", annals.Category("ord"), false},
		{"one of its tags", annals.Tags("product:tea"), true},
		{"all of its tags", annals.Tags("product:tea", "order:42"), true},
		{"a tag that it lacks beside one that it has", annals.Tags("product:tea", "order:43"), false},
		{"its type", annals.Types("Placed"), true},
		{"one of several types", annals.Types("Paid", "Placed"), true},
		{"its tag and another type", annals.Tags("product:tea").Types("Paid"), false},
		{"its tag and its type", annals.Tags("product:tea").Types("Placed"), true},
		{"its id", annals.ByID(id), true},
		{"another id", annals.ByID(annals.NewID()), false},
		{"another stream or its tag", annals.Stream("order-4").Or(annals.Tags("order:42")), true},
		{"another stream or another tag", annals.Stream("order-4").Or(annals.Tags("order:43")), false},
		{"narrowed alternatives", annals.Stream("order-42").Or(annals.Tags("order:43")).Types("Paid"), false},
		{"the zero query", annals.Query{}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.query.Match(e); got != c.want {
				t.Errorf("%s: matched %v, want %v", c.query, got, c.want)
			}
		})
	}
}

func TestSystemEventsAreHiddenUnlessAskedFor(t *testing.T) {
	t.Parallel()
	for _, e := range []annals.Event{{Type: "$timer"}, {Type: "T", Stream: "$audit"}, {Type: "T", Tags: []string{"$x"}}} {
		if annals.All().MatchEvent(e) {
			t.Errorf("All() matched the system event %+v", e)
		}
		if !annals.All().WithSystem().MatchEvent(e) {
			t.Errorf("All().WithSystem() did not match %+v", e)
		}
	}
	if err := annals.Types("$timer").Check(annals.MinLimits()); !errors.Is(err, annals.ErrReserved) || !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a query that names a system type without WithSystem: got %v, want ErrReserved", err)
	}
	if err := annals.Types("$timer").WithSystem().Check(annals.MinLimits()); err != nil {
		t.Error(err)
	}
}

func TestMalformedQueriesAreReported(t *testing.T) {
	t.Parallel()
	cases := map[string]annals.Query{
		"zero":                 {},
		"narrowed zero":        annals.Query{}.Types("T"),
		"or with zero":         annals.All().Or(annals.Query{}),
		"zero or":              annals.Query{}.Or(annals.All()),
		"no tag":               annals.Tags(),
		"empty tag":            annals.Tags("a", ""),
		"no type":              annals.Types(),
		"empty type":           annals.Types(""),
		"exclusive types":      annals.Types("A").Types("B"),
		"no stream":            annals.Stream(""),
		"no category":          annals.Category(""),
		"category with a dash": annals.Category("order-42"),
		"the same in an item":  annals.QueryOf(annals.Item{Types: []string{"T"}, Category: "order-42"}),
		"no id":                annals.ByID(annals.ID{}),
		"inside an or":         annals.All().Or(annals.Tags()),
		"control character":    annals.Stream("a\x00b"),
		"not UTF-8":            annals.Tags("\xff"),
	}
	for name, q := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := q.Check(annals.MinLimits()); !errors.Is(err, annals.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
	for name, q := range map[string]annals.Query{
		"long stream": annals.Stream(strings.Repeat("s", 1025)),
		"long tag":    annals.Tags(strings.Repeat("t", 513)),
		"long type":   annals.Types(strings.Repeat("t", 257)),
	} {
		if err := q.Check(annals.MinLimits()); !errors.Is(err, annals.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
}

func TestACategoryWithADashIsRefusedHoweverTheQueryIsMade(t *testing.T) {
	t.Parallel()
	want := annals.Category("a-b").Check(annals.MinLimits())
	if want == nil || !strings.Contains(want.Error(), `category "a-b" has a "-"`) {
		t.Fatalf("got %v", want)
	}
	item := annals.Item{Category: "a-b"}
	for name, q := range map[string]annals.Query{
		"an item":          annals.QueryOf(item),
		"a second item":    annals.QueryOf(annals.Item{Stream: "s-1"}, item),
		"with system":      annals.QueryOf(item).WithSystem(),
		"inside an or":     annals.Stream("s-1").Or(annals.QueryOf(item)),
		"narrowed by type": annals.Category("a-b").Types("T"),
	} {
		if got := q.Check(annals.MinLimits()); got == nil || got.Error() != want.Error() {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestBuildingAQueryLeavesTheOldOneAlone(t *testing.T) {
	t.Parallel()
	base := annals.Tags("a:1", "b:2")
	before := base.String()
	_ = base.Tags("c:3")
	_ = base.Types("T")
	_ = base.Or(annals.Stream("s"))
	items := base.Items()
	items[0].Tags[0] = "changed"
	if base.String() != before {
		t.Errorf("the query became %s, was %s", base, before)
	}
}

func TestAQueryKnowsWhatItCovers(t *testing.T) {
	t.Parallel()
	small, large := annals.Stream("order-1"), annals.Stream("order-1").Or(annals.Tags("product:tea"))
	if !large.Covers(small) || small.Covers(large) || !small.Covers(small) {
		t.Error("a query covers those of its items and no others")
	}
	if !small.Or(small).Equal(small) {
		t.Error("joining a query with itself adds nothing")
	}
	if large.Stream() != "order-1" || large.Or(annals.Stream("order-2")).Stream() != "" || annals.All().Stream() != "" {
		t.Error("Stream is the one stream that is named")
	}
}

func TestCoveringIsByItemsAndIncludesTheSystem(t *testing.T) {
	t.Parallel()
	a, b, c := annals.Stream("a-1"), annals.Tags("b:1").Types("T"), annals.ByID(annals.NewID())
	for _, x := range []struct {
		large, small annals.Query
		want         bool
	}{
		{a.Or(b, c), b, true},
		{a.Or(b), c, false},
		{annals.All(), a, false}, // items are compared, not what they would match
		{annals.Tags("b:1"), b, false},
		{annals.Tags("x", "y"), annals.Tags("y", "x"), true},
		{annals.Types("x", "y"), annals.Types("y", "x", "x"), true},
		{a, a.WithSystem(), false},
		{a.WithSystem(), a, true},
		{a, annals.Query{}, true},
	} {
		if got := x.large.Covers(x.small); got != x.want {
			t.Errorf("%s covers %s: got %v", x.large, x.small, got)
		}
	}
	if a.Equal(a.WithSystem()) || a.Equal(b) || a.Or(b).Equal(b.Or(a)) || !a.Or(b).Equal(a.Or(b)) {
		t.Error("queries are equal if their items are, in the same order")
	}
}

func TestAQueryIsMadeOfItemsAndGivesThemBack(t *testing.T) {
	t.Parallel()
	q := annals.Tags("a:1").Types("T").Or(annals.Category("order"), annals.Stream("order-1"), annals.ByID(annals.NewID()))
	if back := annals.QueryOf(q.Items()...); !back.Equal(q) {
		t.Errorf("%s came back as %s", q, back)
	}
	if !(annals.Query{}).IsZero() || annals.Tags().IsZero() || annals.All().IsZero() || !annals.QueryOf().IsZero() {
		t.Error("only a query that nothing was said of is zero")
	}
	if q.IncludesSystem() || !q.WithSystem().IncludesSystem() || !annals.All().Or(annals.All().WithSystem()).IncludesSystem() {
		t.Error("WithSystem is kept, through Or too")
	}
}

func TestTypesNarrowTypes(t *testing.T) {
	t.Parallel()
	q := annals.Types("A", "B").Types("B", "C")
	if !q.MatchEvent(annals.Event{Type: "B"}) || q.MatchEvent(annals.Event{Type: "A"}) || q.MatchEvent(annals.Event{Type: "C"}) {
		t.Errorf("got %s", q)
	}
}

func TestQueriesAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	id := annals.MakeID(time.UnixMilli(0), [10]byte{})
	for want, q := range map[string]annals.Query{
		"zero query":                           {},
		"malformed query (Tags without a tag)": annals.Tags(),
		"(all)":                                annals.All(),
		"(all) with system events":             annals.All().WithSystem(),
		"(tag a:1+b:2, type T|U) or (stream order-42)":                  annals.Tags("b:2", "a:1").Types("U", "T").Or(annals.Stream("order-42")),
		"(category order) or (id 00000000-0000-7000-8000-000000000000)": annals.Category("order").Or(annals.ByID(id)),
	} {
		if q.String() != want {
			t.Errorf("got %s, want %s", q, want)
		}
	}
}

func TestAQueryOfItemsIsTheOneThatTheConstructorsMake(t *testing.T) {
	t.Parallel()
	item := annals.Item{Types: []string{"U", "T", "U"}, Tags: []string{"b:2", "a:1", "b:2"}}
	q, want := annals.QueryOf(item), annals.Tags("a:1", "b:2").Types("T", "U")
	if !q.Equal(want) || !q.Covers(want) || !want.Covers(q) {
		t.Errorf("got %s, want %s", q, want)
	}
	if item.Types[0] != "U" || item.Tags[0] != "b:2" {
		t.Errorf("the caller's item became %+v", item)
	}
	q = annals.QueryOf(annals.Item{Types: []string{}, Tags: []string{"a:1"}}).Types("T")
	if err := q.Check(annals.MinLimits()); err != nil || !q.Equal(annals.Tags("a:1").Types("T")) {
		t.Errorf("an empty list of types is any type, and can be narrowed: got %s, %v", q, err)
	}
}
