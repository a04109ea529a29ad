package engine_test

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

var identity = journal.Identity{Store: frame.StoreID{1, 2, 3, 4, 5}, Incarnation: 1, HashSeed: [16]byte{7}}

// memJournal keeps frames in memory. What it answers can be changed.
type memJournal struct {
	// onAppend is asked before a frame is kept: whether to keep it, and what to answer.
	onAppend func(ctx context.Context, f []byte) (keep bool, err error)
	onHead   func() error
	size     int          // the largest frame
	read     atomic.Int64 // how many records were read

	mu      sync.Mutex
	frames  []stored
	tries   int
	epoch   uint64
	damaged map[uint64]*annals.DataLossError // by frame
}

type stored struct {
	header frame.Header
	bytes  []byte
}

func newJournal() *memJournal {
	return &memJournal{epoch: 1, damaged: map[uint64]*annals.DataLossError{}}
}

func (j *memJournal) Head(context.Context) (frame.Ref, uint64, error) {
	if j.onHead != nil {
		if err := j.onHead(); err != nil {
			return frame.Ref{}, 0, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.headLocked(), j.epoch, nil
}

func (j *memJournal) headLocked() frame.Ref {
	if len(j.frames) == 0 {
		return frame.Ref{}
	}
	return j.frames[len(j.frames)-1].header.Ref()
}

func (j *memJournal) CompareAppend(ctx context.Context, expect frame.Ref, f []byte) error {
	keep, err := true, error(nil)
	if j.onAppend != nil {
		keep, err = j.onAppend(ctx, f)
	}
	if !keep {
		return err
	}
	if moved := j.keep(expect, f); moved != nil {
		return moved
	}
	return err
}

func (j *memJournal) keep(expect frame.Ref, f []byte) error {
	h, err := frame.Verify(f, identity.Store)
	if err != nil {
		panic("the engine wrote a frame that does not verify: " + err.Error())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tries++
	if j.headLocked() != expect {
		return journal.ErrMoved
	}
	j.frames = append(j.frames, stored{h, slices.Clone(f)})
	return nil
}

func (j *memJournal) snapshot() []stored {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.frames
}

func (j *memJournal) Frames(_ context.Context, from uint64, _ bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, f := range j.snapshot() {
			if f.header.Seq < from {
				continue
			}
			if loss := j.damaged[f.header.Seq]; loss != nil {
				if !yield(nil, loss) {
					return
				}
				continue
			}
			if !yield(f.bytes, nil) {
				return
			}
		}
	}
}

func (j *memJournal) Limits() journal.Limits {
	if j.size > 0 {
		return journal.Limits{FrameBytes: j.size}
	}
	return journal.Limits{FrameBytes: frame.BytesMax}
}

func (j *memJournal) Record(ctx context.Context, p annals.Position) (frame.Record, error) {
	for r, err := range j.Scan(ctx, p-1, p) {
		return r, err
	}
	panic("the engine read a record that is not durable")
}

func (j *memJournal) Scan(_ context.Context, after, upto annals.Position) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		frames := j.snapshot()
		first := sort.Search(len(frames), func(i int) bool { return frames[i].header.LastPosition() > after })
		for _, f := range frames[first:] {
			if f.header.FirstPosition > upto {
				return
			}
			if j.damaged[f.header.Seq] != nil {
				panic("the engine read a record that is lost")
			}
			for _, b := range frame.Records(f.bytes) {
				r, _, err := frame.DecodeRecord(b, identity.Store)
				if err == nil && (r.Position <= after || r.Position > upto) {
					continue
				}
				j.read.Add(1)
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func (j *memJournal) ScanLent(ctx context.Context, after, upto annals.Position) iter.Seq2[*frame.Record, error] {
	return func(yield func(*frame.Record, error) bool) {
		for r, err := range j.Scan(ctx, after, upto) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&r, nil) {
				return
			}
		}
	}
}

func (j *memJournal) Lookup(ctx context.Context, positions iter.Seq[annals.Position]) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		for p := range positions {
			if !yield(j.Record(ctx, p)) {
				return
			}
		}
	}
}

func config(j *memJournal) engine.Config {
	return engine.Config{Journal: j, Records: j, Identity: identity, Clock: time.Now, Random: rand.Reader}
}

func start(t *testing.T, j *memJournal, change ...func(*engine.Config)) *engine.Store {
	t.Helper()
	c := config(j)
	for _, f := range change {
		f(&c)
	}
	s, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func one(kind, stream string, tags ...string) []annals.Event {
	return []annals.Event{{ID: annals.NewID(), Type: kind, Stream: stream, Tags: tags, Data: []byte(`{}`)}}
}

func read(t *testing.T, s annals.Store, q annals.Query, opts ...annals.ReadOption) ([]annals.Recorded, error) {
	t.Helper()
	var got []annals.Recorded
	for e, err := range s.Read(t.Context(), q, opts...) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}
