package workload

import (
	"context"

	"github.com/annalsdb/annals"
)

// Target is a kind of store under measurement.
type Target interface {
	// Name is what the results call it.
	Name() string
	// Open opens the store in dir, or makes it if dir is empty. The directory exists.
	Open(ctx context.Context, dir string) (Store, error)
}

// Store is an open store of a [Target]. All methods may be called concurrently. What a store cannot do it answers with
// [annals.ErrUnsupported]: those cases are left out for it. Embed [Unsupported] to begin with.
type Store interface {
	// Append returns once the events are durable. A condition that does not hold is annals.ErrConflict.
	Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error
	// Read gives visit the events of q, whole and in order of position. What visit is given it may keep.
	Read(ctx context.Context, q annals.Query, visit func(*annals.Event)) error
	// Scan is Read of everything, of events that are lent: they change after visit returns.
	Scan(ctx context.Context, visit func(*annals.Event)) error
	// Follow gives visit the events of q that come after ready was called, until ctx ends, which is no error.
	Follow(ctx context.Context, q annals.Query, ready func(), visit func(*annals.Event)) error
	// Head is the number of events.
	Head(ctx context.Context) (annals.Position, error)
	// Close ends the store.
	Close() error
}

// Unsupported is the answer to everything that a store may lack.
type Unsupported struct{}

// Read cannot.
func (Unsupported) Read(context.Context, annals.Query, func(*annals.Event)) error {
	return annals.ErrUnsupported
}

// Scan cannot.
func (Unsupported) Scan(context.Context, func(*annals.Event)) error { return annals.ErrUnsupported }

// Follow cannot.
func (Unsupported) Follow(context.Context, annals.Query, func(), func(*annals.Event)) error {
	return annals.ErrUnsupported
}

// Segmented is implemented by targets whose log is a sequence of files, of which opening after a crash reads the last.
type Segmented interface {
	// SegmentBytes is how large a file of the log becomes.
	SegmentBytes() int64
}
