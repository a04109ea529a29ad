package annals_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func TestTheShapeOfAnAppendIsChecked(t *testing.T) {
	t.Parallel()
	l := annals.MinLimits()
	id := annals.NewID()
	one := func(e annals.Event) []annals.Event {
		if e.Type == "" {
			e.Type = "T"
		}
		return []annals.Event{e}
	}
	tags := make([]string, l.EventTags+1)
	for i := range tags {
		tags[i] = strings.Repeat("t", i+1)
	}
	half := annals.Event{Type: "T", Data: make([]byte, l.EventBytes-100)}
	q := annals.Tags("t:1")
	cases := []struct {
		name   string
		events []annals.Event
		conds  []annals.Condition
		want   error
	}{
		{"nothing at all", nil, nil, annals.ErrInvalid},
		{"conditions alone", nil, []annals.Condition{annals.NoStream("a-1")}, nil},
		{"the least event", one(annals.Event{}), nil, nil},
		{"an event without a type", []annals.Event{{}}, nil, annals.ErrInvalid},
		{"a type of the longest", one(annals.Event{Type: strings.Repeat("t", l.TypeBytes)}), nil, nil},
		{"a type too long", one(annals.Event{Type: strings.Repeat("t", l.TypeBytes+1)}), nil, annals.ErrTooLarge},
		{"a stream too long", one(annals.Event{Stream: strings.Repeat("s", l.StreamBytes+1)}), nil, annals.ErrTooLarge},
		{"a stream with a control character", one(annals.Event{Stream: "a\n"}), nil, annals.ErrInvalid},
		{"a tag that is not UTF-8", one(annals.Event{Tags: []string{"\xff"}}), nil, annals.ErrInvalid},
		{"an empty tag", one(annals.Event{Tags: []string{""}}), nil, annals.ErrInvalid},
		{"a tag too long", one(annals.Event{Tags: []string{strings.Repeat("t", l.TagBytes+1)}}), nil, annals.ErrTooLarge},
		{"a tag twice", one(annals.Event{Tags: []string{"a", "b", "a"}}), nil, annals.ErrInvalid},
		{"as many tags as allowed", one(annals.Event{Tags: tags[1:]}), nil, nil},
		{"a tag too many", one(annals.Event{Tags: tags}), nil, annals.ErrTooLarge},
		{"a content type with a control character", one(annals.Event{ContentType: "\x00"}), nil, annals.ErrInvalid},
		{"data and metadata of the most", one(annals.Event{Data: make([]byte, l.EventBytes-1), Metadata: make([]byte, 1)}), nil, nil},
		{"data and metadata too large together", one(annals.Event{Data: make([]byte, l.EventBytes), Metadata: make([]byte, 1)}), nil, annals.ErrTooLarge},
		{"events too large together", []annals.Event{half, half, half}, nil, annals.ErrTooLarge},
		{"an event too many", make([]annals.Event, l.AppendEvents+1), nil, annals.ErrTooLarge},
		{"an id twice in one stream", []annals.Event{{Type: "T", ID: id}, {Type: "T", ID: id}}, nil, annals.ErrInvalid},
		{"an id in two streams", []annals.Event{{Type: "T", ID: id, Stream: "a-1"}, {Type: "T", ID: id, Stream: "a-2"}}, nil, nil},
		{"no ids at all", []annals.Event{{Type: "T"}, {Type: "T"}}, nil, nil},
		{"a system type", one(annals.Event{Type: "$t"}), nil, annals.ErrReserved},
		{"a system stream", one(annals.Event{Stream: "$s"}), nil, annals.ErrReserved},
		{"a system tag", one(annals.Event{Tags: []string{"$t"}}), nil, annals.ErrReserved},
		{"the zero condition", nil, []annals.Condition{{}}, annals.ErrInvalid},
		{"a condition on no stream", nil, []annals.Condition{annals.StreamExists("")}, annals.ErrInvalid},
		{"a condition at NoRevision", nil, []annals.Condition{annals.StreamAt("a-1", annals.NoRevision)}, annals.ErrInvalid},
		{"a condition on a stream too long", nil, []annals.Condition{annals.NoStream(strings.Repeat("s", l.StreamBytes+1))}, annals.ErrTooLarge},
		{"two conditions on one stream", nil, []annals.Condition{annals.StreamAt("a-1", 0), annals.NoStream("a-1")}, annals.ErrInvalid},
		{"two queries", nil, []annals.Condition{annals.NoneSince(0, q), annals.NoneSince(1, q)}, nil},
		{"the zero query in a condition", nil, []annals.Condition{annals.NoneSince(0, annals.Query{})}, annals.ErrInvalid},
		{"a system query in a condition", nil, []annals.Condition{annals.NoneSince(0, annals.Stream("$s"))}, annals.ErrReserved},
		{"a condition too many", nil, make([]annals.Condition, l.Conditions+1), annals.ErrTooLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := annals.CheckAppend(c.events, c.conds, l, false)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && !errors.Is(err, annals.ErrInvalid) {
				t.Errorf("%v is an ErrInvalid too", err)
			}
		})
	}
	if err := annals.CheckAppend(one(annals.Event{Type: "$t", Stream: "$s", Tags: []string{"$x"}}), nil, l, true); err != nil {
		t.Errorf("the system may use its names: %v", err)
	}
}

func TestQueriesAreBounded(t *testing.T) {
	t.Parallel()
	limits := annals.MinLimits()
	limits.QueryItems, limits.QueryTerms = 2, 3
	two := annals.Stream("a-1").Or(annals.Stream("a-2"))
	for _, c := range []struct {
		query annals.Query
		ok    bool
	}{
		{two, true},
		{two.Or(annals.Category("b")), false},
		{two.Types("T"), false},
		{annals.Types("A", "B", "C"), true},
		{annals.Tags("a", "b").Types("A", "B"), false},
		{annals.ByID(annals.NewID()).Tags("a").Types("A"), true},
	} {
		if err := c.query.Check(limits); c.ok != (err == nil) || !c.ok && !errors.Is(err, annals.ErrTooLarge) {
			t.Errorf("%s: got %v", c.query, err)
		}
	}
}

// modest is a store with none of the optional powers.
type modest struct{ annals.Store }

func TestPowersAreFoundByAsking(t *testing.T) {
	t.Parallel()
	full := memory.New()
	if annals.LimitsOf(full) != full.Limits() || annals.LimitsOf(modest{full}) != annals.MinLimits() {
		t.Error("limits are those that a store states, or those that every store has")
	}
	if _, err := annals.System(modest{full}); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	s, err := annals.System(full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "$timer"}}); err != nil {
		t.Error(err)
	}
	if _, err := full.Append(t.Context(), []annals.Event{{Type: "$timer"}}); !errors.Is(err, annals.ErrReserved) {
		t.Errorf("got %v", err)
	}
}
