package cqrs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// Trail keeps a record of every command in the store, as system events of the stream [TrailStream]: who gave which command, when,
// because of what, and what became of it, those included that were refused and so left no event. Give its Record to [Audit]:
//
//	trail, err := cqrs.NewTrail(log, cqrs.TrailOptions{Logger: logger})
//	bus := cqrs.New(log, cqrs.Correlation(), cqrs.Audit(trail.Record))
//
// A record is stored after the command. Of one that was accepted, the events say by themselves who gave it, by which command
// and because of what; a crash between the two loses the record, and not the fact. It may be used concurrently.
type Trail struct {
	system      annals.Store
	fingerprint func(parts ...string) string
	streamBytes int  // the longest name of a stream
	protects    bool // the store may be given personal data
	options     TrailOptions
}

// TrailStream is the system stream of all records.
const TrailStream = "$audit"

// typeCommand is the type of a record.
const typeCommand = "$command"

// TrailOptions adjust a trail.
type TrailOptions struct {
	// Show gives what of a command is kept with its record; nil keeps nothing, for a command may be personal, and a record
	// cannot be taken back.
	Show func(r AuditRecord) any
	// Reason gives the words that are kept of why a command was refused or failed; nil keeps those of the error, which may quote
	// what is personal. It is called with an Err only.
	Reason func(r AuditRecord) string
	// Timeout is how long a record may take to be stored; by default ten seconds.
	Timeout time.Duration
	// Logger is told, as an error, of records that could not be stored, with what they say. Nil is silence.
	Logger *slog.Logger
}

// Given is a record of a trail.
type Given struct {
	// Position is that of the record, and Time when the command was given.
	Position annals.Position `json:"-"`
	Time     time.Time       `json:"time"`
	Duration time.Duration   `json:"duration"`
	Command  string          `json:"command"`
	// Subject is the stream that it was about, if it named one that could be one.
	Subject string `json:"subject,omitempty"`
	// Principal is the id of who gave it, with Roles; Actor is who is written beside the events.
	Principal     string   `json:"principal,omitempty"`
	Roles         []string `json:"roles,omitempty"`
	Actor         string   `json:"actor,omitempty"`
	CorrelationID string   `json:"correlationId,omitempty"`
	CausationID   string   `json:"causationId,omitempty"`
	// Accepted says that it took effect. Outcome classes what became of it, and Reason says it in words, if it was not ok.
	Accepted bool    `json:"accepted"`
	Outcome  Outcome `json:"outcome"`
	Reason   string  `json:"reason,omitempty"`
	// Shown is what [TrailOptions.Show] gave, as JSON.
	Shown json.RawMessage `json:"shown,omitempty"`
}

// trailTimeout is [TrailOptions.Timeout] unless it is given.
const trailTimeout = 10 * time.Second

// NewTrail makes a trail in the log's store. It fails with annals.ErrUnsupported if that keeps no system events.
func NewTrail[E any](log *annals.Log[E], o TrailOptions) (*Trail, error) {
	system, err := annals.System(log.Store())
	if err != nil {
		return nil, fmt.Errorf("cqrs: audit trail: system events: %w", err)
	}
	if o.Timeout < 0 {
		return nil, &annals.InvalidError{What: "audit trail", Problem: "Timeout must not be negative"}
	}
	if o.Timeout == 0 {
		o.Timeout = trailTimeout
	}
	if o.Reason == nil {
		o.Reason = func(r AuditRecord) string { return r.Err.Error() }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p, ok := log.Store().(annals.Protector)
	return &Trail{system: system, fingerprint: log.Schema().Fingerprint, streamBytes: annals.LimitsOf(log.Store()).StreamBytes, protects: ok && p.ProtectsPersonal(), options: o}, nil
}

// Record stores a record. It is for [Audit].
func (t *Trail) Record(ctx context.Context, r AuditRecord) {
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	if err := t.store(ctx, r); err != nil {
		t.options.Logger.ErrorContext(ctx, "a command is missing in the audit trail", slog.String("name", r.Name),
			slog.String("principal", r.Principal.ID), slog.String("outcome", string(r.Outcome)), slog.Bool("accepted", r.Accepted), slog.Any("error", err))
	}
}

func (t *Trail) store(ctx context.Context, r AuditRecord) (err error) {
	g := Given{
		Time: r.Time.UTC().Round(0), Duration: r.Duration, Command: r.Name, Principal: r.Principal.ID, Roles: r.Principal.Roles, Actor: r.Actor,
		CorrelationID: r.CorrelationID, CausationID: r.CausationID, Accepted: r.Accepted, Outcome: r.Outcome,
	}
	if len(r.Subject) <= t.streamBytes { // else nothing can be there, and it is whatever somebody sent
		g.Subject = r.Subject
	}
	if r.Err != nil {
		if g.Reason, err = guarded(r, t.options.Reason); err != nil {
			t.lacks(ctx, r, err)
		}
	}
	if g.Shown, err = t.show(r); err != nil {
		t.lacks(ctx, r, err)
	}
	err = t.append(ctx, g)
	if errors.Is(err, annals.ErrTooLarge) { // who did what is kept all the same
		t.lacks(ctx, r, err)
		g.Shown = nil
		if len(g.Reason) > reasonMax {
			g.Reason = strings.ToValidUTF8(g.Reason[:reasonMax], "") + "…"
		}
		err = t.append(ctx, g)
	}
	return err
}

// reasonMax is how much of a reason is kept of a record that is too large, in bytes.
const reasonMax = 1000

// lacks reports that a record does not say all that it should.
func (t *Trail) lacks(ctx context.Context, r AuditRecord, err error) {
	t.options.Logger.ErrorContext(ctx, "what a command said is missing in the audit trail", slog.String("name", r.Name), slog.Any("error", err))
}

func (t *Trail) append(ctx context.Context, g Given) error {
	data, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("cqrs: audit trail: %w", err)
	}
	tags := []string{t.tag("command", g.Command), t.tag("outcome", string(g.Outcome))}
	if g.Principal != "" {
		tags = append(tags, t.tag("principal", g.Principal))
	}
	if g.Subject != "" {
		tags = append(tags, t.tag("subject", g.Subject))
	}
	if g.CorrelationID != "" {
		tags = append(tags, t.tag("correlation", g.CorrelationID))
	}
	_, err = t.system.Append(ctx, []annals.Event{{Type: typeCommand, Stream: TrailStream, Tags: tags, Data: data}})
	return err
}

// show is what is kept of the command.
func (t *Trail) show(r AuditRecord) (json.RawMessage, error) {
	v, err := guarded(r, t.options.Show)
	if v == nil || err != nil {
		return nil, err
	}
	shown, err := json.Marshal(v)
	if err == nil && !t.protects && bytes.Contains(shown, personalMark) {
		return nil, annals.ErrUnprotected
	}
	return shown, err
}

// personalMark begins a personal value in JSON, as package privacy writes it.
var personalMark = []byte(`{"$personal":`)

// guarded calls a function of the application; a panic of it is an error. Nil says nothing.
func guarded[T any](r AuditRecord, f func(AuditRecord) T) (v T, err error) {
	if f == nil {
		return v, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Message: r.Name, Value: p}
		}
	}()
	return f(r), nil
}

// tag is a hash, for ids of principals are personal, and of any length.
func (t *Trail) tag(kind, value string) string {
	return "$audit-" + kind + ":" + t.fingerprint("audit "+kind, value)
}

// Asked narrows what [Trail.Read] yields. Empty fields do not.
type Asked struct {
	Principal, Command, Subject, CorrelationID string
	Outcome                                    Outcome
}

// Read yields the records that match, the oldest first. Options are those of annals.Store.Read: AsOfTime, Backwards, Limit and
// the like; times are those at which records were stored.
func (t *Trail) Read(ctx context.Context, a Asked, opts ...annals.ReadOption) iter.Seq2[Given, error] {
	q := annals.Stream(TrailStream).Types(typeCommand)
	for _, by := range []struct{ kind, value string }{
		{"principal", a.Principal}, {"command", a.Command}, {"subject", a.Subject}, {"correlation", a.CorrelationID}, {"outcome", string(a.Outcome)},
	} {
		if by.value != "" {
			q = q.Tags(t.tag(by.kind, by.value))
		}
	}
	return func(yield func(Given, error) bool) {
		for r, err := range t.system.Read(ctx, q.WithSystem(), opts...) {
			var g Given
			if err == nil {
				if err = json.Unmarshal(r.Data, &g); err != nil {
					err = errors.Join(fmt.Errorf("cqrs: audit trail: position %d: not a record", r.Position), err)
				}
				g.Position = r.Position
			}
			if err != nil {
				yield(Given{}, err)
				return
			}
			if !yield(g, nil) {
				return
			}
		}
	}
}
