package retention

import (
	"iter"

	"github.com/annalsdb/annals"
)

// Staged is the retention events of a frame that is being packed, which no table knows yet. The zero Staged is none. It
// belongs to the sequencer.
type Staged struct {
	streams map[string]bool // those of which an event speaks, and whether one ends it
}

// Add notes a change whose event was given a place in the frame.
func (s *Staged) Add(change annals.RetentionChange) {
	if s.streams == nil {
		s.streams = map[string]bool{}
	}
	s.streams[change.Stream] = s.streams[change.Stream] || change.Type == annals.TypeTombstoned
}

// Forget begins another frame.
func (s *Staged) Forget() { s.streams = nil }

// Affects is [Table.Affects] for what is staged.
func (s *Staged) Affects(events []annals.Event, conds iter.Seq[annals.Condition]) bool {
	if s.streams == nil {
		return false
	}
	return affects(events, conds, func(stream string) (ended, changed bool) {
		ended, changed = s.streams[stream]
		return ended, changed
	})
}
