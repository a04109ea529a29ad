package process_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

func TestAGatewayRemembersWhatItAnswered(t *testing.T) {
	t.Parallel()
	store, outside := memory.New(), &provider{}
	g := outside.gateway()
	for range 3 {
		if got, err := g.Ask(t.Context(), store, "a", 5); got != "receipt for 5" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if len(outside.calls) != 1 {
		t.Errorf("the outside was called %d times", len(outside.calls))
	}
	if _, err := g.Ask(t.Context(), store, "a", 6); !errors.Is(err, process.ErrOtherRequest) {
		t.Errorf("another request: got %v", err)
	}
	other := *g
	other.Name = "refunds"
	if _, err := other.Ask(t.Context(), store, "a", 6); err != nil {
		t.Errorf("another gateway: got %v", err)
	}
}

func TestAReplaySuppressesUpdatesAndAnswersQueriesFromTheRecord(t *testing.T) {
	t.Parallel()
	store, outside := memory.New(), &provider{}
	g := outside.gateway()
	ctx := process.Replaying(t.Context())
	if got, err := g.Ask(ctx, store, "a", 5); got != "" || err != nil {
		t.Errorf("an update: got %q, %v", got, err)
	}
	g.Query = true
	if _, err := g.Ask(ctx, store, "a", 5); !errors.Is(err, process.ErrNotRecorded) {
		t.Errorf("a query: got %v", err)
	}
	if len(outside.calls) != 0 {
		t.Errorf("the outside was called by %q", outside.calls)
	}
	if head, err := store.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("a replay has stored something: %d, %v", head, err)
	}
}

func TestAGatewayThatIsUsedWronglySaysSo(t *testing.T) {
	t.Parallel()
	store := memory.New()
	panics := process.Gateway[int, string]{Name: "bad", Call: func(context.Context, string, int) (string, error) { panic("oh") }}
	if _, err := panics.Ask(t.Context(), store, "a", 1); !errors.Is(err, process.ErrPanic) || !strings.Contains(err.Error(), "gateway bad: oh") {
		t.Errorf("got %v", err)
	}
	for _, g := range []process.Gateway[int, string]{{}, {Name: "x"}, {Call: panics.Call}} {
		if _, err := g.Ask(t.Context(), store, "a", 1); !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := panics.Ask(t.Context(), store, "", 1); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	loud := process.Gateway[func(), int]{Name: "loud", Call: func(context.Context, string, func()) (int, error) { return 1, nil }}
	if _, err := loud.Ask(t.Context(), store, "a", nil); err == nil || !strings.Contains(err.Error(), "encode request") {
		t.Errorf("got %v", err)
	}
	good := process.Gateway[int, int]{Name: "g", Call: func(context.Context, string, int) (int, error) { return 1, nil }}
	if _, err := good.Ask(t.Context(), bare{store}, "a", 1); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
