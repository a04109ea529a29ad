package privacy

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Stream is the system stream that tells of all erasures.
const Stream = "$privacy"

// typeErased is the type of its events.
const typeErased = "$erased"

// Erasure says that the data of a subject was erased.
type Erasure struct {
	// Position is that of the record.
	Position annals.Position `json:"-"`
	Subject  string          `json:"subject"`
	// Key is the id of the key that was destroyed, in hexadecimal; "" if there was none.
	Key string `json:"key,omitempty"`
	// Reason is what was given as such, Actor who asked for it.
	Reason string    `json:"reason"`
	Actor  string    `json:"actor,omitempty"`
	Time   time.Time `json:"time"`
}

// Erase destroys the key of a subject: all its personal values are erased, for good. It first writes down who asked for it (the
// principal of ctx) and why, in one append with events of the application, if any, which are encoded by annals.Log.Encode and tell read
// models. An error that matches annals.ErrUnknownOutcome, or comes with a receipt, means that it may be half done: erase again, or open
// the store again, which finishes it. To erase a subject that has no data is no error: that it was asked for is on record.
func (s *Store) Erase(ctx context.Context, subject, reason string, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	switch {
	case subject == "" || reason == "":
		return annals.Receipt{}, &annals.InvalidError{What: "erasure", Problem: "a subject and a reason are required"}
	case s.system == nil:
		return annals.Receipt{}, fmt.Errorf("privacy: erase: the store keeps no system events: %w", annals.ErrUnsupported)
	}
	e := Erasure{Subject: subject, Reason: reason, Actor: annals.MetadataFrom(ctx).Actor, Time: time.Now().UTC().Round(0)}
	key, found, err := s.keys.Key(ctx, subject)
	if err != nil {
		return annals.Receipt{}, fmt.Errorf("privacy: erase %s: %w", subject, err)
	}
	if found {
		e.Key = hex.EncodeToString(key.ID[:])
	}
	data, err := json.Marshal(e)
	if err != nil {
		return annals.Receipt{}, fmt.Errorf("privacy: erase %s: %w", subject, err)
	}
	record := annals.Event{Type: typeErased, Stream: Stream, Data: data}
	receipt, err := s.append(ctx, s.system, append(slices.Clip(events), record), conds)
	if err != nil {
		return receipt, fmt.Errorf("privacy: erase %s: %w", subject, err)
	}
	// From here on it is decided: whether ctx ends does not matter.
	if err := s.destroy(context.WithoutCancel(ctx), e); err != nil {
		return receipt, err
	}
	return receipt, nil
}

// destroy does what a record says.
func (s *Store) destroy(ctx context.Context, e Erasure) error {
	defer s.forget(e.Subject)
	var id [keyIDBytes]byte
	b, err := hex.DecodeString(e.Key)
	if err != nil || e.Key != "" && copy(id[:], b) != len(id) {
		return fmt.Errorf("privacy: the record of the erasure of %s is malformed", e.Subject)
	}
	if e.Key == "" {
		return nil
	}
	if err := s.keys.Erase(ctx, e.Subject, id); err != nil {
		return fmt.Errorf("privacy: erase %s: it is on record, and will be finished when the store is opened: %w", e.Subject, err)
	}
	return nil
}

// finish does what records say and was cut off.
func (s *Store) finish(ctx context.Context) error {
	for e, err := range s.Erasures(ctx) {
		if err == nil {
			err = s.destroy(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Erasures yields what was erased, the oldest first. Options are those of annals.Store.Read.
func (s *Store) Erasures(ctx context.Context, opts ...annals.ReadOption) iter.Seq2[Erasure, error] {
	return func(yield func(Erasure, error) bool) {
		for r, err := range s.base.Read(ctx, annals.Stream(Stream).WithSystem(), opts...) {
			var e Erasure
			if err == nil {
				if err = json.Unmarshal(r.Data, &e); err != nil {
					err = errors.Join(fmt.Errorf("privacy: position %d is no record of an erasure", r.Position), err)
				}
				e.Position = r.Position
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
