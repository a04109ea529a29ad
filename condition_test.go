package annals_test

import (
	"testing"

	"github.com/annalsdb/annals"
)

func TestConditionsSayWhatTheyWant(t *testing.T) {
	t.Parallel()
	q := annals.Tags("product:tea").Types("Received", "Placed")
	cases := []struct {
		condition annals.Condition
		kind      annals.ConditionKind
		text      string
	}{
		{annals.StreamAt("order-1", 3), annals.KindStreamAt, "stream order-1 at revision 3"},
		{annals.NoStream("order-1"), annals.KindNoStream, "no stream order-1"},
		{annals.StreamExists("order-1"), annals.KindStreamExists, "stream order-1 exists"},
		{annals.NoneSince(7, q), annals.KindNoneSince, "none of (tag product:tea, type Placed|Received) after 7"},
		{annals.StreamIn("order-1", annals.StreamLive|annals.StreamEmpty), annals.KindStreamIn, "stream order-1 live or empty"},
		{annals.TrackingAt("billing", 7), annals.KindTracking, "source billing before 7"},
		{annals.Condition{}, 0, "unknown condition"},
	}
	for _, c := range cases {
		if c.condition.Kind() != c.kind || c.condition.String() != c.text {
			t.Errorf("got kind %d, %q; want %d, %q", c.condition.Kind(), c.condition, c.kind, c.text)
		}
	}
	at := annals.StreamAt("order-1", 3)
	if at.Stream() != "order-1" || at.Revision() != 3 || !at.Query().IsZero() || at.WantsEvents() {
		t.Errorf("got %+v", at)
	}
	since := annals.NoneSince(7, q).WithEvents()
	if since.After() != 7 || !since.Query().Equal(q) || since.Stream() != "" || !since.WantsEvents() {
		t.Errorf("got %+v", since)
	}
	in := annals.StreamIn("order-1", annals.StreamDeleted)
	if in.Stream() != "order-1" || in.States() != annals.StreamDeleted {
		t.Errorf("got %+v", in)
	}
	tracking := annals.TrackingAt("billing", 7)
	if tracking.Source() != "billing" || tracking.After() != 7 || tracking.Stream() != "" {
		t.Errorf("got %+v", tracking)
	}
	if plain := annals.NoStream("a"); plain.WithEvents().WantsEvents() == plain.WantsEvents() {
		t.Error("WithEvents returns another condition and leaves the old one alone")
	}
}
