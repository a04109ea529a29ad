package faultlane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/annalsdb/annals"
)

// Writers append to a store at the same time, and say what they try, before they do, and what they are told.
type Writers struct {
	Store annals.Store
	// Life goes into the attempts; no two sets of writers of a store may have the same.
	Life, Count int
	// Most is how many attempts each of them makes; 0 is no end.
	Most int
	// Ledger is written one line at a time, each in one piece.
	Ledger io.Writer

	mu sync.Mutex
}

// Run appends until ctx ends, the writers have made their attempts, or the store takes nothing any more; that is not an error.
// An answer that a store must not give is one.
func (w *Writers) Run(ctx context.Context) error {
	errs := make([]error, w.Count)
	var all sync.WaitGroup
	for i := range w.Count {
		all.Go(func() { errs[i] = w.write(ctx, i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *Writers) write(ctx context.Context, writer int) error {
	for n := 0; ctx.Err() == nil && (w.Most == 0 || n < w.Most); n++ {
		a := Attempt{Life: w.Life, Writer: writer, Number: n, Kind: []Kind{Plain, Batch, Counter, Claim}[(n+writer)%4]}
		ends, err := w.prepare(ctx, &a)
		if err == nil && !ends {
			ends, err = w.try(ctx, a)
		}
		if err != nil || ends {
			return err
		}
	}
	return nil
}

// prepare reads what a condition is to say.
func (w *Writers) prepare(ctx context.Context, a *Attempt) (ends bool, err error) {
	switch a.Kind {
	case Counter:
		for e, failed := range w.Store.Read(ctx, annals.Stream(a.stream()), annals.Backwards(), annals.Limit(1)) {
			if err = failed; err == nil {
				a.Arg = uint64(e.Revision) + 1
			}
		}
	case Claim:
		var head annals.Position
		head, err = w.Store.Head(ctx)
		a.Arg = uint64(head)
	}
	if ctx.Err() != nil || errors.Is(err, annals.ErrClosed) {
		return true, nil
	}
	return false, err
}

func (w *Writers) try(ctx context.Context, a Attempt) (ends bool, err error) {
	if err := w.say(tryLine(a)); err != nil {
		return true, err
	}
	line, ends, err := answer(w.Store.Append(ctx, a.Events(), a.Conditions()...))(a)
	return ends, errors.Join(err, w.say(line))
}

// answer is the line for what an append was told, and whether to try more makes no sense.
func answer(r annals.Receipt, err error) func(a Attempt) (line string, ends bool, wrong error) {
	return func(a Attempt) (string, bool, error) {
		switch {
		case err == nil:
			return ackLine(a, r.First, a.Hash()), false, nil
		case errors.Is(err, annals.ErrUnknownOutcome): // its cause may match ErrNotWritten
			return openLine(a, err), false, nil
		case errors.Is(err, annals.ErrConflict), errors.Is(err, annals.ErrNotWritten), errors.Is(err, annals.ErrOverloaded):
			return refusedLine(a, err), false, nil
		case errors.Is(err, annals.ErrReadOnly), errors.Is(err, annals.ErrFull), errors.Is(err, annals.ErrClosed):
			return refusedLine(a, err), true, nil
		}
		return openLine(a, err), true, fmt.Errorf("faultlane: %s was answered: %w", a, err)
	}
}

func (w *Writers) say(line string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := io.WriteString(w.Ledger, line+"\n")
	return err
}
