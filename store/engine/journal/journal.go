// Package journal is the seam between the engine and whatever makes its frames durable: files on disk today, replicated
// logs and databases later. A journal decides commits and nothing else: order, replication, election and fencing are
// its own affair; conditions, ids and indexes are the engine's.
package journal

import (
	"context"
	"errors"
	"iter"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// What CompareAppend can answer, beside annals.ErrNotWritten: something failed, ctx ended for instance, and the frame is not
// in the log nor will be; annals.ErrClosed; and annals.ErrReadOnly.
var (
	// ErrMoved: the journal's last frame is another than expected; nothing was written.
	ErrMoved = errors.New("journal: the last frame is another")
	// ErrAmbiguous: the frame may or may not have become durable. Head tells, once it answers.
	ErrAmbiguous = errors.New("journal: outcome unknown")
	// ErrTooLarge: the frame is over the limit; nothing was written.
	ErrTooLarge = errors.New("journal: frame too large")
	// ErrFull: there is no space; nothing was written, and a later try may succeed.
	ErrFull = errors.New("journal: no space left")
	// ErrStopped: writing has failed in a way after which nothing that was written can be trusted to be durable. The
	// journal takes no frame until it is opened again.
	ErrStopped = errors.New("journal: writes have stopped")
)

// Limits are what a journal accepts.
type Limits struct {
	// FrameBytes bounds a frame, header included.
	FrameBytes int
}

// Journal is an append-only sequence of frames, each carrying the hash of the one before it. Reading methods may be
// called concurrently with each other and with CompareAppend, of which at most one is outstanding.
type Journal interface {
	// Head is the last durable frame, linearizably, and the epoch in which frames are to be written. The zero Ref
	// stands for none.
	Head(ctx context.Context) (frame.Ref, uint64, error)
	// CompareAppend makes f durable as the frame after expect. It returns nil only when f is durable. The journal does
	// not keep f.
	CompareAppend(ctx context.Context, expect frame.Ref, f []byte) error
	// Frames yields the durable frames from the given number on, in order, without gap; with follow it goes on with those that come,
	// until ctx ends. A frame that is damaged is yielded as a nil frame with a [*annals.DataLossError], and, unlike
	// other errors, does not end the sequence: the next frame that verifies follows it. Yielded frames are lent until
	// the next one is asked for.
	Frames(ctx context.Context, from uint64, follow bool) iter.Seq2[[]byte, error]
	// Limits are fixed while the journal is open.
	Limits() Limits
}

// Records is where the engine reads single events that it knows by position. On files the segments of the journal serve
// it; beside a remote journal, a local replica does. Safe for concurrent use. Every record is verified when it is read; one that
// does not verify is an [*annals.DataLossError] for its position alone. Decoded values share no memory that is ever
// written again.
type Records interface {
	// Record is the event at p, which must be durable.
	Record(ctx context.Context, p annals.Position) (frame.Record, error)
	// Scan yields the events after one position up to another, in order; the first error ends it.
	Scan(ctx context.Context, after, upto annals.Position) iter.Seq2[frame.Record, error]
	// ScanLent is Scan for whoever keeps nothing: a record, with its names, tags, data and metadata, is lent until the next one is
	// asked for, or the loop ends. With an error comes nil.
	ScanLent(ctx context.Context, after, upto annals.Position) iter.Seq2[*frame.Record, error]
	// Lookup yields the events at these positions, in the order that they are given in, ascending or descending being the
	// cheapest. An event that cannot be read is yielded as an error in its place, and does not end the sequence, unless the error
	// is that of ctx or [annals.ErrClosed]. Positions are asked for ahead, more and more of them as the sequence goes on; where the
	// device is slow, several are read at once.
	Lookup(ctx context.Context, positions iter.Seq[annals.Position]) iter.Seq2[frame.Record, error]
}

// Identity says whose log it is. It is fixed while the journal is open.
type Identity struct {
	Store       frame.StoreID
	Incarnation uint32
	// HashSeed is secret and random: names are hashed under it in the index.
	HashSeed [16]byte
}
