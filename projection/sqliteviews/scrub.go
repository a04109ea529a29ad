package sqliteviews

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals/projection"
)

// Scrub sees to it that what was deleted, overwritten or dropped before it was called is in none of the files any more: not in
// the database, and not in the WAL beside it, which is emptied. It is for personal data, once the projections have applied the event
// that says that it is erased: SQLite only marks what is deleted as free, and leaves it where it is.
//
// It writes the whole file anew, while nobody else can write to it, and needs room for a copy of it here and in the system's directory
// for temporary files; do it once for many erasures. It waits, as long as ctx allows, for whoever reads or writes, in any process, and
// may be called again. It does not reach copies of the files, nor what a file system or a disk keeps of blocks that are free.
func (v *Views) Scrub(ctx context.Context) error {
	// SQLite's secure_delete would be cheaper, but leaves copies of cells in pages that were split or merged.
	for _, step := range []func(context.Context) (bool, error){v.vacuum, v.emptyWAL} {
		if err := v.insist(ctx, step); err != nil {
			return fmt.Errorf("sqliteviews: scrub %s: %w", v.path, err)
		}
	}
	return nil
}

// insist does something until it is done, or ctx ends. It has the turn, so that this process is not in its own way.
func (v *Views) insist(ctx context.Context, do func(context.Context) (done bool, err error)) error {
	for {
		done, err := v.inTurn(ctx, do)
		if err != nil && !errors.Is(err, ErrLocked) {
			return err
		}
		if done {
			return nil
		}
		if end := v.sleep(ctx, lockedPoll); end != nil {
			return fmt.Errorf("somebody reads or writes: %w", errors.Join(end, err))
		}
	}
}

func (v *Views) inTurn(ctx context.Context, do func(context.Context) (bool, error)) (done bool, err error) {
	select {
	case v.turn <- struct{}{}:
	case <-v.closing:
		return false, projection.ErrClosed
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-v.turn }()
	err = v.use(func() error {
		done, err = do(ctx)
		return cutOff(ctx, named(err))
	})
	return done, err
}

// vacuum writes all pages anew, from what is not deleted.
func (v *Views) vacuum(ctx context.Context) (done bool, err error) {
	_, err = v.writer.ExecContext(ctx, "VACUUM")
	return err == nil, err
}

// emptyWAL moves the pages of the WAL into the database and cuts the WAL to nothing, unless somebody is in the way.
func (v *Views) emptyWAL(ctx context.Context) (done bool, err error) {
	var busy, frames, moved int
	err = v.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	return err == nil && busy == 0, err
}
