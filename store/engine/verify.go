package engine

import (
	"context"

	"github.com/annalsdb/annals/store/engine/index"
)

// IndexDamageError is a part of the index that is not that of the log. Nothing is lost by it.
type IndexDamageError = index.DamageError

// VerifyIndex compares the index with all events of the log, and lists each part of it that differs. Such a part is made anew
// in the background, and until then it is not asked any more. It reads the log once, in the order of positions, and may run
// beside everything else. The error is that of ctx, of reading, or [annals.ErrClosed].
func (s *Store) VerifyIndex(ctx context.Context) ([]*IndexDamageError, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	found, err := s.index.Check(ctx, s.dated)
	if cause := s.ended(ctx); cause != nil {
		return nil, cause
	}
	return found, err
}
