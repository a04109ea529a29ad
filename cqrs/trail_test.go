package cqrs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/store/memory"
)

func newTrail(t *testing.T, log *annals.Log[any], o cqrs.TrailOptions) *cqrs.Trail {
	t.Helper()
	trail, err := cqrs.NewTrail(log, o)
	if err != nil {
		t.Fatal(err)
	}
	return trail
}

func read(t *testing.T, trail *cqrs.Trail, a cqrs.Asked, opts ...annals.ReadOption) (got []string) {
	t.Helper()
	for g, err := range trail.Read(t.Context(), a, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s by %s: %s, %v, %s%s", g.Command, g.Principal, g.Outcome, g.Accepted, g.Reason, g.Shown))
	}
	return got
}

func TestATrailHasEveryCommandAndCanBeAsked(t *testing.T) {
	t.Parallel()
	log := annals.NewLog[any](memory.New(), schema)
	trail := newTrail(t, log, cqrs.TrailOptions{Show: func(r cqrs.AuditRecord) any {
		if c, ok := r.Command.(CloseDoor); ok {
			return map[string]string{"door": c.Door}
		}
		return nil
	}})
	bus := cqrs.New(log, cqrs.Correlation(), cqrs.Audit(trail.Record))
	ctx := annals.WithMetadata(t.Context(), annals.Metadata{CorrelationID: "all", CausationID: "why"})
	guest := annals.WithPrincipal(ctx, annals.Principal{ID: "guest"})
	for _, who := range []context.Context{guest, annals.WithPrincipal(ctx, porter)} {
		for _, err := range []error{give(who, bus, CloseDoor{Door: "a"}), give(who, bus, CloseDoor{Door: "b"})} {
			if err != nil && who != guest {
				t.Error(err)
			}
		}
	}
	const refused, accepted = `CloseDoor by guest: forbidden, false, CloseDoor forbidden: porters only`, `CloseDoor by pat: ok, true, `
	all := []string{refused + `{"door":"a"}`, refused + `{"door":"b"}`, accepted + `{"door":"a"}`, accepted + `{"door":"b"}`}
	for _, c := range []struct {
		asked cqrs.Asked
		opts  []annals.ReadOption
		want  []string
	}{
		{cqrs.Asked{}, nil, all},
		{cqrs.Asked{Principal: "guest"}, nil, all[:2]},
		{cqrs.Asked{Principal: "pat", Command: "CloseDoor"}, nil, all[2:]},
		{cqrs.Asked{Outcome: cqrs.OutcomeForbidden}, nil, all[:2]},
		{cqrs.Asked{CorrelationID: "all"}, []annals.ReadOption{annals.Backwards(), annals.Limit(1)}, all[3:]},
		{cqrs.Asked{Principal: "nobody"}, nil, nil},
		{cqrs.Asked{Subject: "door-a"}, nil, []string{all[0], all[2]}},
		{cqrs.Asked{}, []annals.ReadOption{annals.AsOfTime(time.Now().Add(-time.Hour))}, nil},
	} {
		if got := read(t, trail, c.asked, c.opts...); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.asked, got, c.want)
		}
	}
	for g, err := range trail.Read(t.Context(), cqrs.Asked{Principal: "pat"}) {
		if err != nil || g.CausationID != "why" || g.CorrelationID != "all" || g.Actor != "pat" || !slices.Equal(g.Roles, porter.Roles) || g.Time.IsZero() || g.Position == 0 {
			t.Errorf("got %+v, %v", g, err)
		}
	}
	for r, err := range log.Store().Read(t.Context(), annals.Stream(cqrs.TrailStream).WithSystem()) {
		if err != nil || strings.Contains(strings.Join(r.Tags, " "), "guest") {
			t.Errorf("a name lies open in the tags %q, %v", r.Tags, err)
		}
	}
}

func TestATrailKeepsOfAReasonWhatItMay(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := annals.NewLog[any](memory.New(), schema)
	trail := newTrail(t, log, cqrs.TrailOptions{Logger: slog.New(slog.NewTextHandler(&out, nil)), Reason: func(r cqrs.AuditRecord) string {
		if r.Subject == "door-b" {
			panic("no idea")
		}
		return "code " + string(r.Outcome)
	}})
	bus := cqrs.New(log, cqrs.Audit(trail.Record))
	for _, door := range []string{"a", "a", "b", "b", strings.Repeat("x", 2000)} {
		_, _ = cqrs.Do(t.Context(), bus, OpenDoor{Door: door})
	}
	want := []string{"OpenDoor by : ok, true, ", "OpenDoor by : rejected, false, code rejected", "OpenDoor by : ok, true, ", "OpenDoor by : rejected, false, ", "OpenDoor by : invalid, false, code invalid"}
	if got := read(t, trail, cqrs.Asked{}); !slices.Equal(got, want) || !strings.Contains(out.String(), "what a command said is missing") {
		t.Errorf("got %q, reported %s", got, out.String())
	}
	var subjects []string
	for g, err := range trail.Read(t.Context(), cqrs.Asked{}) {
		if err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, g.Subject)
	}
	if want := []string{"door-a", "door-a", "door-b", "door-b", ""}; !slices.Equal(subjects, want) {
		t.Errorf("got %.100q", subjects)
	}
}

func give(ctx context.Context, bus *cqrs.Bus[any], cmd CloseDoor) error {
	_, err := cqrs.Do(ctx, bus, cmd)
	return err
}

func TestATrailThatCannotBeWrittenIsReportedAndFailsNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	store := memory.New()
	log := annals.NewLog[any](store, schema)
	trail := newTrail(t, annals.NewLog[any](failing{store}, schema), cqrs.TrailOptions{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	bus := cqrs.New(log, cqrs.Audit(trail.Record))
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "a"}); err != nil {
		t.Error(err)
	}
	if got := out.String(); !strings.Contains(got, "a command is missing in the audit trail") || !strings.Contains(got, "OpenDoor") || !strings.Contains(got, errFull.Error()) {
		t.Errorf("reported is %s", got)
	}
}

var errFull = errors.New("disk full")

// failing takes no system events.
type failing struct{ *memory.Store }

func (f failing) System() annals.Store { return full{f.Store} }

type full struct{ annals.Store }

func (full) Append(context.Context, []annals.Event, ...annals.Condition) (annals.Receipt, error) {
	return annals.Receipt{}, errFull
}

func TestWhatCannotBeShownLeavesTheRestOfTheRecord(t *testing.T) {
	t.Parallel()
	for _, show := range []func(cqrs.AuditRecord) any{
		func(cqrs.AuditRecord) any { panic("no idea") },
		func(cqrs.AuditRecord) any { return func() {} },
		func(cqrs.AuditRecord) any { return strings.Repeat("x", 17<<20) },
	} {
		var out bytes.Buffer
		log := annals.NewLog[any](memory.New(), schema)
		trail := newTrail(t, log, cqrs.TrailOptions{Show: show, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if _, err := cqrs.Do(t.Context(), cqrs.New(log, cqrs.Audit(trail.Record)), OpenDoor{Door: "a"}); err != nil {
			t.Error(err)
		}
		if got := read(t, trail, cqrs.Asked{}); !slices.Equal(got, []string{"OpenDoor by : ok, true, "}) || !strings.Contains(out.String(), "what a command said is missing") {
			t.Errorf("got %q, reported %s", got, out.String())
		}
	}
}

func TestATrailNeedsAStoreForIt(t *testing.T) {
	t.Parallel()
	bare := annals.NewLog[any](struct{ annals.Store }{memory.New()}, schema)
	if _, err := cqrs.NewTrail(bare, cqrs.TrailOptions{}); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if _, err := cqrs.NewTrail(annals.NewLog[any](memory.New(), schema), cqrs.TrailOptions{Timeout: -1}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// open is a store that would keep personal data in plain.
type open struct{ annals.Store }

func (o open) System() annals.Store {
	system, err := annals.System(o.Store)
	if err != nil {
		panic(err)
	}
	return system
}

func TestATrailKeepsNothingPersonalInPlain(t *testing.T) {
	t.Parallel()
	show := func(cqrs.AuditRecord) any {
		return map[string]any{"name": map[string]any{"$personal": map[string]any{"subject": "s", "value": "MARKER"}}}
	}
	var out bytes.Buffer
	log := annals.NewLog[any](open{memory.New()}, schema)
	trail := newTrail(t, log, cqrs.TrailOptions{Show: show, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if _, err := cqrs.Do(t.Context(), cqrs.New(log, cqrs.Audit(trail.Record)), OpenDoor{Door: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, trail, cqrs.Asked{}); !slices.Equal(got, []string{"OpenDoor by : ok, true, "}) || !strings.Contains(out.String(), annals.ErrUnprotected.Error()) {
		t.Errorf("got %q, reported %s", got, out.String())
	}
}
