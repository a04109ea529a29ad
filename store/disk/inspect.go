package disk

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/segment"
)

// Inspection is the log of a directory, opened to be looked at and not to be used: no lock is taken, nothing is
// written, and no index is made of the events. So it works beside a writer, on a copy, and on a log that no store can
// be made of. Make one with [Inspect].
type Inspection struct{ dir *segment.Dir }

// Inspect opens the log in dir as it is now, up to the last frame that is durable. Later appends are not seen. Of the
// options it heeds [Logger]. It fails with [ErrNotAStore], [ErrNewerFormat], an [annals.DataLossError] if nothing in the
// directory verifies that could tell whose log it is, or what the file system says.
func Inspect(ctx context.Context, dir string, opts ...Option) (*Inspection, error) {
	var o options
	for _, f := range opts {
		f(&o)
	}
	d, err := segment.Open(ctx, vfs.OS{}, dir, segment.Options{Logger: o.segments.Logger, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("disk: inspect %s: %w", dir, err)
	}
	return &Inspection{dir: d}, nil
}

// Recovery is what opening found, and how far the log goes.
func (i *Inspection) Recovery() Recovery { return i.dir.Recovered() }

// Verify is [Store.Verify] of the log alone: there is no index.
func (i *Inspection) Verify(ctx context.Context) (r Report, err error) {
	r.Report, err = i.dir.Verify(ctx)
	return r, err
}

// Close closes the files. It may be called again.
func (i *Inspection) Close() error {
	if err := i.dir.Close(); err != nil {
		return fmt.Errorf("disk: close: %w", err)
	}
	return nil
}
