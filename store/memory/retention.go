package memory

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/annalsdb/annals"
)

// keeping is what retention has done to a stream so far. The map of them is copied when it changes.
type keeping struct {
	keep       annals.Retention
	floor      annals.Revision // what is before it is hidden for good
	deleted    annals.Revision // what was before it was deleted
	tombstoned bool
}

// edge is where the part of a stream begins that can be read at one moment.
type edge struct {
	revision annals.Revision // what is before it is hidden
	accepted time.Time       // and so is what was accepted before this
}

func (e edge) hides(r annals.Recorded) bool {
	return r.Revision < e.revision || r.Time.Before(e.accepted)
}

// edge is where the readable part begins at the time now, if next is the revision that the next event will have.
func (k keeping) edge(next annals.Revision, now time.Time) edge {
	e := edge{revision: k.floor}
	if k.tombstoned {
		e.revision = math.MaxUint64
	}
	if most := annals.Revision(k.keep.MaxCount); most > 0 && next > most {
		e.revision = max(e.revision, next-most)
	}
	if k.keep.MaxAge > 0 {
		e.accepted = now.Add(-k.keep.MaxAge)
	}
	return e
}

// view is what can be read at one moment.
type view struct {
	log     []annals.Recorded
	edges   map[string]edge // of the streams that have retention
	changed <-chan struct{} // closed when there is more to see

	matches places            // where the query of a read may match
	stream  []annals.Position // of the one stream that it names, all events
}

// sees reports whether r can be read.
func (v view) sees(r annals.Recorded) bool {
	e, kept := v.edges[r.Stream]
	return !kept || !e.hides(r)
}

func (v view) head() annals.Position { return annals.Position(len(v.log)) }

// asOf is the position up to which the log leads to this revision of a stream.
func (v view) asOf(stream string, r annals.Revision) (annals.Position, error) {
	at, last := annals.Recorded{}, annals.NoRevision
	for _, p := range v.stream {
		e := v.log[p-1]
		last = e.Revision
		if e.Revision == r {
			at = e
		}
	}
	if at.Position == 0 {
		return 0, &annals.AheadError{Head: v.head(), Stream: stream, Revision: r, Actual: last}
	}
	if v.sees(at) {
		return at.Position, nil
	}
	if next, ok := v.first(v.stream, r+1); ok {
		return next.Position - 1, nil
	}
	return v.head(), nil
}

// first is the first event of a stream that can be read and has at least this revision, the stream's positions being given.
func (v view) first(stream []annals.Position, r annals.Revision) (annals.Recorded, bool) {
	for _, p := range stream {
		if e := v.log[p-1]; e.Revision >= r && v.sees(e) {
			return e, true
		}
	}
	return annals.Recorded{}, false
}

// viewLocked is what can be read at the time now.
func (s *Store) viewLocked(now time.Time) view {
	v := view{log: s.log, changed: s.changed}
	if len(s.kept) > 0 {
		v.edges = make(map[string]edge, len(s.kept))
	}
	for stream, k := range s.kept {
		v.edges[stream] = k.edge(s.nextLocked(stream), now)
	}
	return v
}

// nextLocked is the revision of the next event in a stream.
func (s *Store) nextLocked(stream string) annals.Revision {
	if last, ok := s.streams[stream]; ok {
		return last + 1
	}
	return 0
}

// tombstonedLocked refuses events in streams that have ended.
func (s *Store) tombstonedLocked(events []annals.Event) error {
	for _, e := range events {
		if s.kept[e.Stream].tombstoned {
			return &annals.TombstonedError{Stream: e.Stream}
		}
	}
	return nil
}

// checkChangesLocked refuses changes to the retention of streams that have ended, and such as would hide what does not
// exist yet.
func (s *Store) checkChangesLocked(events []annals.Event) error {
	for _, e := range events {
		change, ok, err := annals.RetentionChangeOf(e)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if s.kept[change.Stream].tombstoned {
			return &annals.TombstonedError{Stream: change.Stream}
		}
		if change.Keep.TruncateBefore > s.nextLocked(change.Stream) {
			ahead := &annals.AheadError{Head: s.head(), Stream: change.Stream, Revision: change.Keep.TruncateBefore, Actual: annals.NoRevision}
			if last, exists := s.streams[change.Stream]; exists {
				ahead.Actual = last
			}
			return ahead
		}
	}
	return nil
}

// applyLocked does what e, which was recorded at the time now, does to retention.
func (s *Store) applyLocked(e annals.Event, now time.Time) {
	change, ok, err := annals.RetentionChangeOf(e)
	if !ok || err != nil { // it was checked before it was recorded
		return
	}
	k, next := s.kept[change.Stream], s.nextLocked(change.Stream)
	k.floor = s.hiddenBeforeLocked(change.Stream, k.edge(next, now)) // for good, whatever the settings will be
	switch change.Type {
	case annals.TypeRetention:
		k.keep = change.Keep
		k.floor = max(k.floor, change.Keep.TruncateBefore)
	case annals.TypeDeleted:
		k.floor, k.deleted = next, next
	case annals.TypeTombstoned:
		k.tombstoned = true
	}
	s.kept = maps.Clone(s.kept)
	if s.kept == nil {
		s.kept = map[string]keeping{}
	}
	s.kept[change.Stream] = k
}

// hiddenBeforeLocked is the revision before which everything in a stream is hidden.
func (s *Store) hiddenBeforeLocked(stream string, e edge) annals.Revision {
	floor := e.revision
	for _, p := range s.names.streams[stream] {
		if r := s.log[p-1]; e.hides(r) {
			floor = max(floor, r.Revision+1)
		}
	}
	return floor
}

// stateLocked is what has become of a stream.
func (s *Store) stateLocked(v view, stream string) annals.StreamState {
	k := s.kept[stream]
	_, live := v.first(s.names.streams[stream], 0)
	next := s.nextLocked(stream)
	switch {
	case k.tombstoned:
		return annals.StreamTombstoned
	case live:
		return annals.StreamLive
	case next == 0:
		return annals.StreamNone
	case k.deleted == next:
		return annals.StreamDeleted
	}
	return annals.StreamEmpty
}

// Retention implements [annals.Retainer].
func (s *Store) Retention(ctx context.Context, stream string) (annals.StreamRetention, error) {
	if err := annals.CheckRetained(stream, s.Limits()); err != nil {
		return annals.StreamRetention{}, err
	}
	if err := ended(ctx); err != nil {
		return annals.StreamRetention{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return annals.StreamRetention{}, annals.ErrClosed
	}
	v := s.viewLocked(s.nowLocked())
	got := annals.StreamRetention{
		Keep: s.kept[stream].keep, State: s.stateLocked(v, stream),
		First: s.nextLocked(stream), Last: annals.NoRevision, Settings: annals.NoRevision,
	}
	if last, exists := s.streams[stream]; exists {
		got.Last = last
	}
	if last, exists := s.streams[annals.RetentionStream(stream)]; exists {
		got.Settings = last
	}
	if first, live := v.first(s.names.streams[stream], 0); live {
		got.First = first.Revision
	}
	return got, nil
}
