package memory

import (
	"context"
	"slices"

	"github.com/annalsdb/annals"
)

// Tracked implements [annals.Tracker].
func (s *Store) Tracked(ctx context.Context, source string) (annals.Position, error) {
	if err := annals.CheckSource(source, s.Limits()); err != nil {
		return 0, err
	}
	if err := ended(ctx); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, annals.ErrClosed
	}
	_, p, err := s.trackedLocked(source)
	return p, err
}

// trackedLocked is the last event that holds a position of a source, and that position; zero if there is none.
func (s *Store) trackedLocked(source string) (annals.Recorded, annals.Position, error) {
	for _, p := range slices.Backward(s.names.streams[annals.TrackingStream(source)]) {
		if r := s.log[p-1]; r.Type == annals.TypeTracked {
			p, err := annals.TrackedPosition(r.Event)
			return r, p, err
		}
	}
	return annals.Recorded{}, 0, nil
}
