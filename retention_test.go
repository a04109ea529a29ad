package annals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func TestRetentionEventsSayInJSONWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keep annals.Retention
		data string
	}{
		{annals.Retention{}, `{}`},
		{annals.Retention{TruncateBefore: 7}, `{"truncateBefore":7}`},
		{annals.Retention{MaxAge: 720 * time.Hour}, `{"maxAge":"720h0m0s"}`},
		{annals.Retention{MaxAge: 1, MaxCount: 3, TruncateBefore: 1<<64 - 2}, `{"truncateBefore":18446744073709551614,"maxAge":"1ns","maxCount":3}`},
	} {
		e := annals.RetentionEvent("order-42", c.keep)
		if string(e.Data) != c.data || e.Type != "$retention" || e.Stream != "$$order-42" || e.ID.IsZero() || !e.IsSystem() {
			t.Errorf("%+v: got %+v with %s, want %s", c.keep, e, e.Data, c.data)
		}
		change, ok, err := annals.RetentionChangeOf(e)
		if !ok || err != nil || change != (annals.RetentionChange{Stream: "order-42", Type: "$retention", Keep: c.keep}) {
			t.Errorf("%s: got %+v, %t, %v", c.data, change, ok, err)
		}
	}
	for _, e := range []annals.Event{annals.DeletionEvent("order-42"), annals.TombstoneEvent("order-42")} {
		change, ok, err := annals.RetentionChangeOf(e)
		if !ok || err != nil || change != (annals.RetentionChange{Stream: "order-42", Type: e.Type}) || string(e.Data) != "{}" {
			t.Errorf("%s: got %+v, %t, %v", e.Type, change, ok, err)
		}
	}
	if change, ok, err := annals.RetentionChangeOf(annals.Event{Type: "A", Stream: "$$order-42"}); ok || err != nil {
		t.Errorf("another event in the same stream: got %+v, %t, %v", change, ok, err)
	}
	if _, ok, err := annals.RetentionChangeOf(annals.Event{Type: "$deleted", Stream: "order-42"}); ok || !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a change in the wrong stream: got %t, %v", ok, err)
	}
}

func TestStoresWithoutAPowerRefuseItByName(t *testing.T) {
	t.Parallel()
	s := modest{memory.New()}
	ctx := t.Context()
	_, retain := annals.Retain(ctx, s, "order-42", annals.Retention{MaxCount: 1})
	_, remove := annals.DeleteStream(ctx, s, "order-42")
	_, end := annals.TombstoneStream(ctx, s, "order-42")
	_, told := annals.RetentionOf(ctx, s, "order-42")
	_, tracked := annals.Tracked(ctx, s, "billing")
	modestLimits := annals.MinLimits()
	for what, err := range map[string]error{
		"Retain": retain, "DeleteStream": remove, "TombstoneStream": end, "RetentionOf": told, "Tracked": tracked,
		"a retention event":    annals.CheckAppend([]annals.Event{annals.DeletionEvent("order-42")}, nil, modestLimits, true),
		"a tracking condition": annals.CheckAppend(nil, []annals.Condition{annals.TrackingAt("billing", 1)}, modestLimits, false),
	} {
		if !errors.Is(err, annals.ErrUnsupported) {
			t.Errorf("%s: got %v, want ErrUnsupported", what, err)
		}
	}
}

func TestPositionsOfSourcesCountAgainstTheLimits(t *testing.T) {
	t.Parallel()
	l := annals.MinLimits()
	l.Tracking, l.AppendEvents = true, 2
	two := []annals.Event{{Type: "A"}, {Type: "A"}}
	track := []annals.Condition{annals.TrackingAt("billing", 1)}
	if err := annals.CheckAppend(two[:1], track, l, false); err != nil {
		t.Errorf("an event and a position: got %v", err)
	}
	if err := annals.CheckAppend(two, track, l, false); !errors.Is(err, annals.ErrTooLarge) {
		t.Errorf("two events and a position: got %v", err)
	}
	l.AppendBytes = 100
	if err := annals.CheckAppend(two[:1], track, l, false); !errors.Is(err, annals.ErrTooLarge) {
		t.Errorf("a position over the bytes of an append: got %v", err)
	}
	if err := annals.CheckAppend(two[:1], nil, l, false); err != nil {
		t.Errorf("the event alone: got %v", err)
	}
}

func TestErrorsAboutRetentionNameTheStreamAndTheSource(t *testing.T) {
	t.Parallel()
	conflict := &annals.ConflictError{Failures: []annals.Failure{
		{Condition: annals.StreamIn("order-42", annals.StreamNone|annals.StreamDeleted), State: annals.StreamEmpty},
		{Condition: annals.TrackingAt("billing", 7), Tracked: 9},
	}}
	for err, want := range map[error]string{
		&annals.TombstonedError{Stream: "order-42"}: "annals: stream order-42 is tombstoned",
		conflict: "annals: conflict: wanted stream order-42 none or deleted: it is empty; source billing before 7: it is at 9",
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if !errors.Is(&annals.TombstonedError{}, annals.ErrStreamTombstoned) {
		t.Error("a TombstonedError matches its sentinel")
	}
	for states, want := range map[annals.StreamState]string{
		0: "nothing", annals.StreamLive: "live", annals.StreamNone | annals.StreamTombstoned: "none or tombstoned",
	} {
		if states.String() != want {
			t.Errorf("got %q, want %q", states, want)
		}
	}
	err := annals.CheckAppend([]annals.Event{annals.RetentionEvent("order-42", annals.Retention{MaxAge: -time.Hour})}, nil, memory.New().Limits(), true)
	if err == nil || !strings.Contains(err.Error(), "event 0: MaxAge is negative: -1h0m0s") {
		t.Errorf("got %v", err)
	}
}
