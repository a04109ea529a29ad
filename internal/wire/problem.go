package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/annalsdb/annals"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// ErrNoStore says that the server has no store of this name, or that the caller may not know of it.
var ErrNoStore = errors.New("annals: no such store")

// Errors of servers.
var (
	// ErrUnauthenticated says that the server wants to know who asks, and has not been told, or not by a key that is good.
	ErrUnauthenticated = errors.New("annals: unauthenticated")
	// ErrInterrupted says that a read was cut off, and cannot go on, since streams were truncated or deleted meanwhile. To read again from the
	// beginning is all right.
	ErrInterrupted = errors.New("annals: the read was cut off, and what it was reading has been truncated or deleted meanwhile")
	// ErrForbidden says that the caller may not do that.
	ErrForbidden = errors.New("annals: forbidden")
)

// sentinel is an error without facts, or with facts of a type of its own: how it is called on the wire, and by which code.
type sentinel struct {
	name string
	err  error
	code codes.Code
}

// sentinels are looked at in this order: the particular ones first.
var sentinels = []sentinel{
	{"outcome-unknown", annals.ErrUnknownOutcome, codes.Unknown},
	{"not-written", annals.ErrNotWritten, codes.Aborted},
	{"conflict", annals.ErrConflict, codes.FailedPrecondition},
	{"ahead", annals.ErrAhead, codes.OutOfRange},
	{"id-reused", annals.ErrIDReused, codes.AlreadyExists},
	{"partial-duplicate", annals.ErrPartialDuplicate, codes.AlreadyExists},
	{"stream-tombstoned", annals.ErrStreamTombstoned, codes.FailedPrecondition},
	{"reserved", annals.ErrReserved, codes.InvalidArgument},
	{"too-large", annals.ErrTooLarge, codes.InvalidArgument},
	{"invalid", annals.ErrInvalid, codes.InvalidArgument},
	{"data-loss", annals.ErrDataLoss, codes.DataLoss},
	{"read-only", annals.ErrReadOnly, codes.FailedPrecondition},
	{"full", annals.ErrFull, codes.ResourceExhausted},
	{"overloaded", annals.ErrOverloaded, codes.ResourceExhausted},
	{"unprotected", annals.ErrUnprotected, codes.FailedPrecondition},
	{"unsupported", annals.ErrUnsupported, codes.Unimplemented},
	{"closed", annals.ErrClosed, codes.FailedPrecondition},
	{"no-store", ErrNoStore, codes.NotFound},
	{"unauthenticated", ErrUnauthenticated, codes.Unauthenticated},
	{"forbidden", ErrForbidden, codes.PermissionDenied},
	{"interrupted", ErrInterrupted, codes.Aborted},
	{"cancelled", context.Canceled, codes.Canceled},
	{"deadline-exceeded", context.DeadlineExceeded, codes.DeadlineExceeded},
}

// factsMax bounds how large a problem may be: it travels in a header. The events of a conflict are left out beyond it.
const factsMax = 1 << 20

// Status is an error as gRPC carries it, with its facts. Nil is nil.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok { // it is one already
		return err
	}
	p := FromError(err)
	code := codes.Internal
	for _, s := range sentinels {
		if s.name == p.GetName() {
			code = s.code
		}
	}
	st, failed := status.New(code, p.GetMessage()).WithDetails(p)
	if failed != nil {
		return status.Error(codes.Internal, "annals: a problem could not be encoded: "+failed.Error())
	}
	return st.Err()
}

// FromError is an error with its facts.
func FromError(err error) *annalsv1.Problem {
	p := &annalsv1.Problem{Name: "internal", Message: err.Error()}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			p.Name = s.name
			break
		}
	}
	setFacts(p, err)
	return p
}

// setFacts adds what the error's type knows.
func setFacts(p *annalsv1.Problem, err error) {
	if e, ok := errors.AsType[*annals.OutcomeError](err); ok {
		f := &annalsv1.OutcomeFacts{Unknown: e.Unknown}
		if e.Cause != nil {
			f.Cause = FromError(e.Cause)
		}
		p.Facts = &annalsv1.Problem_Outcome{Outcome: f}
		return
	}
	if e, ok := errors.AsType[*annals.ConflictError](err); ok {
		p.Facts = &annalsv1.Problem_Conflict{Conflict: fromConflict(e)}
		return
	}
	if e, ok := errors.AsType[*annals.AheadError](err); ok {
		p.Facts = &annalsv1.Problem_Ahead{Ahead: &annalsv1.AheadFacts{
			Position: uint64(e.Position), Head: uint64(e.Head), Stream: e.Stream, Revision: uint64(e.Revision), Actual: uint64(e.Actual),
		}}
		return
	}
	if e, ok := errors.AsType[*annals.IDReusedError](err); ok {
		p.Facts = &annalsv1.Problem_IdReused{IdReused: &annalsv1.IDFacts{Ids: idsBytes(e.IDs)}}
		return
	}
	if e, ok := errors.AsType[*annals.PartialDuplicateError](err); ok {
		p.Facts = &annalsv1.Problem_PartialDuplicate{PartialDuplicate: &annalsv1.PartialFacts{Known: idsBytes(e.Known), New: idsBytes(e.New)}}
		return
	}
	if e, ok := errors.AsType[*annals.TombstonedError](err); ok {
		p.Facts = &annalsv1.Problem_TombstonedStream{TombstonedStream: e.Stream}
		return
	}
	if e, ok := errors.AsType[*annals.DataLossError](err); ok {
		p.Facts = &annalsv1.Problem_DataLoss{DataLoss: &annalsv1.DataLossFacts{
			File: e.File, Offset: e.Offset, First: uint64(e.First), Last: uint64(e.Last), Reason: e.Reason,
		}}
		return
	}
	if e, ok := errors.AsType[*annals.LimitError](err); ok {
		p.Facts = &annalsv1.Problem_Limit{Limit: &annalsv1.LimitFacts{What: e.What, Unit: e.Unit, Limit: int64(e.Limit), Actual: int64(e.Actual)}}
		return
	}
	if e, ok := errors.AsType[*annals.InvalidError](err); ok {
		p.Facts = &annalsv1.Problem_Invalid{Invalid: &annalsv1.InvalidFacts{What: e.What, Problem: e.Problem, Reserved: errors.Is(err, annals.ErrReserved)}}
		return
	}
}

func fromConflict(e *annals.ConflictError) *annalsv1.ConflictFacts {
	facts, bytes := &annalsv1.ConflictFacts{}, 0
	for _, f := range e.Failures {
		m := &annalsv1.Failure{
			Index: uint32(f.Index), Condition: FromCondition(f.Condition), Actual: uint64(f.Actual), State: uint32(f.State), Tracked: uint64(f.Tracked),
		}
		for _, p := range f.Positions {
			m.Positions = append(m.Positions, uint64(p))
		}
		for i := range f.Events {
			if bytes += len(f.Events[i].Data) + len(f.Events[i].Metadata) + 256; bytes > factsMax {
				m.Events = nil
				break
			}
			m.Events = append(m.Events, FromRecorded(&f.Events[i]))
		}
		facts.Failures = append(facts.Failures, m)
	}
	return facts
}

func idsBytes(ids []annals.ID) (list [][]byte) {
	for _, id := range ids {
		list = append(list, id[:])
	}
	return list
}

// Error tells whether a status carries an error of ours, and that. Any other is of the transport, and is given back.
func Error(err error) (ours bool, of error) {
	st, is := status.FromError(err)
	if !is {
		return false, err
	}
	for _, detail := range st.Details() {
		if p, ok := detail.(*annalsv1.Problem); ok {
			return true, ToError(p)
		}
	}
	return false, err
}

// remoteError is an error that a server has said, which is the one that it was there as far as its facts go.
type remoteError struct {
	message string
	is      error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.is }

// reservedError is an [annals.InvalidError] about a system name.
type reservedError struct{ *annals.InvalidError }

func (e reservedError) Unwrap() error        { return e.InvalidError }
func (e reservedError) Is(target error) bool { return target == annals.ErrReserved }

// ToError is the error of a problem.
func ToError(p *annalsv1.Problem) error {
	typed, err := typedError(p)
	if err != nil {
		return &remoteError{message: fmt.Sprintf("annals: an error that cannot be read: %v: %s", err, p.GetMessage())}
	}
	if typed != nil && typed.Error() == p.GetMessage() {
		return typed
	}
	if typed == nil {
		for _, s := range sentinels {
			if s.name == p.GetName() {
				typed = s.err
			}
		}
	}
	return &remoteError{p.GetMessage(), typed}
}

// typedError is the error with facts; nil if it has none.
func typedError(p *annalsv1.Problem) (error, error) {
	switch f := p.GetFacts().(type) {
	case *annalsv1.Problem_Outcome:
		e := &annals.OutcomeError{Unknown: f.Outcome.GetUnknown()}
		if f.Outcome.GetCause() != nil {
			e.Cause = ToError(f.Outcome.GetCause())
		}
		return e, nil
	case *annalsv1.Problem_Conflict:
		return toConflict(f.Conflict)
	case *annalsv1.Problem_Ahead:
		return &annals.AheadError{
			Position: annals.Position(f.Ahead.GetPosition()), Head: annals.Position(f.Ahead.GetHead()), Stream: f.Ahead.GetStream(),
			Revision: annals.Revision(f.Ahead.GetRevision()), Actual: annals.Revision(f.Ahead.GetActual()),
		}, nil
	case *annalsv1.Problem_IdReused:
		ids, err := idsOf(f.IdReused.GetIds())
		return &annals.IDReusedError{IDs: ids}, err
	case *annalsv1.Problem_PartialDuplicate:
		known, err := idsOf(f.PartialDuplicate.GetKnown())
		if err != nil {
			return nil, err
		}
		fresh, err := idsOf(f.PartialDuplicate.GetNew())
		return &annals.PartialDuplicateError{Known: known, New: fresh}, err
	case *annalsv1.Problem_TombstonedStream:
		return &annals.TombstonedError{Stream: f.TombstonedStream}, nil
	case *annalsv1.Problem_DataLoss:
		return &annals.DataLossError{
			File: f.DataLoss.GetFile(), Offset: f.DataLoss.GetOffset(), First: annals.Position(f.DataLoss.GetFirst()),
			Last: annals.Position(f.DataLoss.GetLast()), Reason: f.DataLoss.GetReason(),
		}, nil
	case *annalsv1.Problem_Limit:
		return &annals.LimitError{What: f.Limit.GetWhat(), Unit: f.Limit.GetUnit(), Limit: int(f.Limit.GetLimit()), Actual: int(f.Limit.GetActual())}, nil
	case *annalsv1.Problem_Invalid:
		e := &annals.InvalidError{What: f.Invalid.GetWhat(), Problem: f.Invalid.GetProblem()}
		if f.Invalid.GetReserved() {
			return reservedError{e}, nil
		}
		return e, nil
	}
	return nil, nil
}

func toConflict(m *annalsv1.ConflictFacts) (error, error) {
	e := &annals.ConflictError{}
	for _, f := range m.GetFailures() {
		c, err := ToCondition(f.GetCondition())
		if err != nil {
			return nil, err
		}
		failure := annals.Failure{
			Index: int(f.GetIndex()), Condition: c, Actual: annals.Revision(f.GetActual()), State: annals.StreamState(f.GetState()), Tracked: annals.Position(f.GetTracked()),
		}
		for _, p := range f.GetPositions() {
			failure.Positions = append(failure.Positions, annals.Position(p))
		}
		for _, r := range f.GetEvents() {
			event, err := ToRecorded(r)
			if err != nil {
				return nil, err
			}
			failure.Events = append(failure.Events, event)
		}
		e.Failures = append(e.Failures, failure)
	}
	return e, nil
}

func idsOf(list [][]byte) (ids []annals.ID, err error) {
	for _, b := range list {
		id, err := idOf(b)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
