package cqrs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

func TestAuditRecordsAcceptedAndRejectedCommandsAndNoQueries(t *testing.T) {
	var records []cqrs.AuditRecord
	bus := newBus(t, cqrs.Audit(func(_ context.Context, r cqrs.AuditRecord) { records = append(records, r) }))
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
	ctx := annals.WithPrincipal(t.Context(), porter)
	for range 2 {
		_, _ = cqrs.Do(ctx, bus, OpenDoor{Door: "1"})
	}
	_, _ = cqrs.Do(t.Context(), bus, CloseDoor{Door: "1"})
	_, _ = cqrs.Ask[bool](ctx, bus, IsOpen{})
	var got []string
	for _, r := range records {
		got = append(got, fmt.Sprint(r.Actor, " ", r.Name, " ", r.Outcome, " ", r.Err == nil))
		if r.Time.IsZero() || r.Duration < 0 || r.Command == nil {
			t.Errorf("incomplete record %+v", r)
		}
	}
	want := "pat OpenDoor ok true, pat OpenDoor rejected false,  CloseDoor forbidden false"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if !errors.Is(records[1].Err, errOpen) {
		t.Errorf("the record lacks the reason: %v", records[1].Err)
	}
}

func TestAuditOutlivesTheCallersContextAndPanics(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var records []cqrs.AuditRecord
	var ended error
	audit := cqrs.Audit(func(ctx context.Context, r cqrs.AuditRecord) { records, ended = append(records, r), ctx.Err() })
	explode := func(cqrs.Handler) cqrs.Handler {
		return func(context.Context, cqrs.Message) (any, error) { panic("boom") }
	}
	bus := newBus(t, cqrs.Recover(), audit, explode)
	cancel()
	_, err := cqrs.Do(ctx, bus, OpenDoor{Door: "1"})
	if e, ok := errors.AsType[*cqrs.PanicError](err); !ok || e.Value != "boom" || len(e.Stack) == 0 || e.Message != "OpenDoor" {
		t.Errorf("got %v", err)
	}
	if len(records) != 1 || !errors.Is(records[0].Err, cqrs.ErrPanic) || records[0].Outcome != cqrs.OutcomeFailed || ended != nil {
		t.Errorf("got %+v; the context of the record: %v", records, ended)
	}
}

func TestRecoverKeepsThePanicsError(t *testing.T) {
	cause := errors.New("cause")
	bus := newBus(t, cqrs.Recover())
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { panic(cause) })
	if _, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{}); !errors.Is(err, cause) || !errors.Is(err, cqrs.ErrPanic) {
		t.Errorf("got %v", err)
	}
}

func TestCorrelationIsGivenOnceAndKept(t *testing.T) {
	bus := newBus(t, cqrs.Correlation())
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); err != nil {
		t.Fatal(err)
	}
	ctx := annals.WithMetadata(t.Context(), annals.Metadata{CorrelationID: "given"})
	if _, err := cqrs.Do(ctx, bus, OpenDoor{Door: "2"}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for e, err := range bus.Log().Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.Meta().CorrelationID)
	}
	if _, err := annals.ParseID(ids[0]); err != nil || ids[1] != "given" {
		t.Errorf("got %q", ids)
	}
}

func TestTimeoutEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newBus(t, cqrs.Timeout(time.Minute))
		cqrs.Answer(bus, func(ctx context.Context, _ IsOpen) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		})
		start := time.Now()
		_, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestLoggingWritesALineForEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that nothing takes any time
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		bus := newBus(t, cqrs.Logging(logger))
		cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return false, errors.New("broken") })
		ctx := annals.WithMetadata(annals.WithPrincipal(t.Context(), porter), annals.Metadata{CorrelationID: "c"})
		_, _ = cqrs.Do(ctx, bus, OpenDoor{Door: "1"})
		_, _ = cqrs.Ask[bool](t.Context(), bus, IsOpen{})
		want := `level=INFO msg=command name=OpenDoor principal=pat duration=0s outcome=ok correlation_id=c
level=ERROR msg=query name=IsOpen principal="" duration=0s outcome=failed error=broken
`
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}

func TestErrorsAreClassed(t *testing.T) {
	for want, err := range map[cqrs.Outcome]error{
		cqrs.OutcomeOK:        nil,
		cqrs.OutcomeRejected:  &decider.RejectedError{Command: "OpenDoor", Err: errOpen},
		cqrs.OutcomeInvalid:   &decider.InvalidError{Fields: []decider.Field{{Name: "door", Problem: "is empty"}}},
		cqrs.OutcomeForbidden: fmt.Errorf("no: %w", decider.ErrForbidden),
		cqrs.OutcomeNotFound:  projection.ErrNotFound,
		cqrs.OutcomeConflict:  &annals.ConflictError{},
		cqrs.OutcomeLagging:   projection.ErrLagging,
		cqrs.OutcomeCanceled:  context.Canceled,
		cqrs.OutcomeTimeout:   &annals.OutcomeError{Cause: context.DeadlineExceeded},
		cqrs.OutcomeFailed:    &cqrs.PanicError{Value: projection.ErrNotFound},
	} {
		if got := cqrs.OutcomeOf(err); got != want {
			t.Errorf("%v: got %s, want %s", err, got, want)
		}
	}
	if got := cqrs.OutcomeOf(&annals.AheadError{Position: 9, Head: 1}); got != cqrs.OutcomeNotFound {
		t.Errorf("what has not come that far: got %s", got)
	}
}
