package annals_test

import (
	"errors"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func TestReadOptionsSayWhatTheySay(t *testing.T) {
	t.Parallel()
	o := annals.NewReadOptions()
	if o.After != 0 || o.AsOf != annals.NoPosition || !o.AsOfTime.IsZero() || o.AsOfRevision != nil || o.FromRevision != nil || o.AtLeast != 0 || o.Limit != 0 || o.Backwards || o.HeadInto != nil {
		t.Errorf("the defaults are %+v", o)
	}
	var head annals.Position
	now := time.Now()
	o = annals.NewReadOptions(annals.After(1), annals.AsOf(2), annals.AsOfTime(now), annals.AsOfRevision(3), annals.FromRevision(0),
		annals.AtLeast(4), annals.Limit(5), annals.Backwards(), annals.HeadInto(&head))
	if o.After != 1 || o.AsOf != 2 || !o.AsOfTime.Equal(now) || *o.AsOfRevision != 3 || *o.FromRevision != 0 || o.AtLeast != 4 || o.Limit != 5 || !o.Backwards || o.HeadInto != &head {
		t.Errorf("got %+v", o)
	}
}

func TestReadOptionsAreCheckedAgainstTheQuery(t *testing.T) {
	t.Parallel()
	one, tags := annals.Stream("order-1"), annals.Tags("product:tea")
	cases := []struct {
		name   string
		query  annals.Query
		option annals.ReadOption
		ok     bool
	}{
		{"a limit", tags, annals.Limit(1), true},
		{"a limit of 0", tags, annals.Limit(0), false},
		{"a negative limit", tags, annals.Limit(-1), false},
		{"as of a revision of one stream", one.Or(tags), annals.AsOfRevision(0), true},
		{"as of a revision of no stream", tags, annals.AsOfRevision(0), false},
		{"as of a revision of two streams", one.Or(annals.Stream("order-2")), annals.AsOfRevision(0), false},
		{"from a revision of one stream", one, annals.FromRevision(0), true},
		{"from a revision of no stream", annals.All(), annals.FromRevision(0), false},
		{"the zero query", annals.Query{}, annals.After(1), false},
	}
	for _, c := range cases {
		err := annals.NewReadOptions(c.option).Check(c.query, annals.MinLimits())
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestSubscriptionsTellProgressAtLeastNowAndThen(t *testing.T) {
	t.Parallel()
	if o := annals.NewSubscribeOptions(); o.ProgressEvery != 10_000 || o.Check() != nil {
		t.Errorf("the defaults are %+v: %v", o, o.Check())
	}
	if err := annals.NewSubscribeOptions(annals.ProgressEvery(0)).Check(); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if err := annals.NewSubscribeOptions(annals.ProgressEvery(1)).Check(); err != nil {
		t.Error(err)
	}
}

func TestTheZeroTimeIsBeforeEverything(t *testing.T) {
	t.Parallel()
	s := memory.New()
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "T"}}); err != nil {
		t.Fatal(err)
	}
	head := annals.Position(9)
	for e, err := range s.Read(t.Context(), annals.All(), annals.AsOfTime(time.Time{}), annals.HeadInto(&head)) {
		t.Errorf("got %+v, %v", e, err)
	}
	if head != 0 {
		t.Errorf("the head then was %d, want 0", head)
	}
}
