package cqrs

import (
	"context"
	"time"

	"github.com/annalsdb/annals"
)

// AuditRecord says that somebody gave a command, and what became of it.
type AuditRecord struct {
	// Name of the command.
	Name string
	// Command is its value. It may hold personal data: keep only what you may.
	Command any
	// Subject is the stream that it is about, see [Message.Subject].
	Subject string
	// Principal gave it. Actor is who is written beside the events: the principal's id, unless the metadata of the
	// context names another.
	Principal annals.Principal
	Actor     string
	// CorrelationID and CausationID are those of the metadata, if there are any: what this belongs to, and what it answers.
	CorrelationID, CausationID string
	// Time is when the command was given, Duration how long it took.
	Time     time.Time
	Duration time.Duration
	// Accepted says that the command took effect: what it led to, if anything, is stored. Err may still say that what
	// was to follow failed, such as the wait for a view. If the outcome is unknown, it is false.
	Accepted bool
	// Outcome classes Err.
	Outcome Outcome
	Err     error
}

// Audit hands a record of every command to the function, whether it was accepted, rejected, refused or failed, before
// the caller learns of it. Commands that panic are recorded too, as [ErrPanic], and go on panicking. Queries are not
// recorded.
//
// What middlewares around it refuse, such as limits, is not recorded. The function may be called concurrently. Its context is not cut off when the caller goes away. It has no say: a
// record that must not be lost is put somewhere durable by the function itself.
func Audit(record func(context.Context, AuditRecord)) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (v any, err error) {
			if m.Query {
				return next(ctx, m)
			}
			start := time.Now()
			err = ErrPanic // stands if next does not return
			defer func() {
				md := annals.MetadataFrom(ctx)
				record(context.WithoutCancel(ctx), AuditRecord{
					Name: m.Name, Command: m.Value, Subject: m.Subject(),
					Principal: annals.PrincipalFrom(ctx), Actor: md.Actor,
					CorrelationID: md.CorrelationID, CausationID: md.CausationID,
					Time: start, Duration: time.Since(start),
					Accepted: err == nil || m.stored != nil && m.stored(v),
					Outcome:  OutcomeOf(err), Err: err,
				})
			}()
			v, err = next(ctx, m)
			return v, err
		}
	}
}
