package faultlane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/segment"
	"github.com/annalsdb/annals/store/memory"
)

// random is a source that a seed determines.
type random struct{ *rand.Rand }

func seeded(seed, stream uint64) random { return random{rand.New(rand.NewPCG(seed, stream))} }

func (r random) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

func (r random) chance(percent int) bool { return r.IntN(100) < percent }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

// errDead is what a machine says that is off.
var errDead = errors.New("the machine is off")

// background is the context of simulated machines, which end otherwise.
var background = context.Background()

const storeDir = "/data/store"

// machine is the whole engine over a simulated disk. It starts no goroutine.
type machine struct {
	*engine.Store
	dir *segment.Dir
}

// plan is how a machine is set up.
type plan struct {
	segmentBytes            int64
	frameBytes, frameEvents int
	clock                   func() time.Time
	random                  random
}

func boot(fs vfs.FS, p plan) (*machine, error) {
	d, err := segment.Open(background, fs, storeDir, segment.Options{SegmentBytes: p.segmentBytes, Random: p.random, Foreground: true})
	if err != nil {
		return nil, err
	}
	s, err := engine.Open(background, engine.Config{
		Journal: d, Records: d, Identity: d.Identity(), Clock: p.clock, Random: p.random,
		FrameBytes: p.frameBytes, FrameEvents: p.frameEvents,
	})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &machine{s, d}, nil
}

// shut ends the machine as a program ends that is asked to.
func (m *machine) shut() error { return errors.Join(m.Close(), m.dir.Close()) }

// fail ends the machine as one whose power is gone: nothing more reaches the disk.
func (m *machine) fail() { _ = m.Close() } // touches no file

// oracle is the reference store, and the time of the events that it is to record next.
type oracle struct {
	*memory.Store
	now time.Time
}

func newOracle() *oracle {
	o := &oracle{}
	o.Store = memory.New(memory.Clock(func() time.Time { return o.now }))
	return o
}

// tried is an append.
type tried struct {
	events []annals.Event
	conds  []annals.Condition
}

// accept is the append as a store says that it accepted it, which must be as the reference store would have.
func (o *oracle) accept(a tried, got annals.Receipt) error {
	o.now = got.Time
	want, err := o.Append(background, a.events, a.conds...)
	same := want.Time.Equal(got.Time)
	got.Head, want.Head, got.Time, want.Time = 0, 0, time.Time{}, time.Time{} // up to where a store looked is its own affair
	if err != nil || !same || got != want {
		return fmt.Errorf("an append was answered %+v; want %+v, %w", got, want, err)
	}
	return nil
}

// refuse wants the reference store to refuse as the store did, for the same reasons.
func (o *oracle) refuse(a tried, got error) error {
	r, want := o.Append(background, a.events, a.conds...)
	if want == nil || !sameRefusal(got, want) {
		return fmt.Errorf("an append was answered %w; want %+v, %w", got, r, want)
	}
	return nil
}

// sameRefusal compares what a caller can branch on, and the facts.
func sameRefusal(a, b error) bool {
	for _, kind := range []error{annals.ErrConflict, annals.ErrAhead, annals.ErrIDReused, annals.ErrPartialDuplicate, annals.ErrInvalid} {
		if errors.Is(a, kind) != errors.Is(b, kind) {
			return false
		}
	}
	var x, y *annals.ConflictError
	if !errors.As(a, &x) || !errors.As(b, &y) {
		return a.Error() == b.Error()
	}
	return slices.EqualFunc(x.Failures, y.Failures, func(x, y annals.Failure) bool {
		return x.Index == y.Index && x.Actual == y.Actual && slices.Equal(x.Positions, y.Positions) && slices.EqualFunc(x.Events, y.Events, sameEvent)
	})
}

func sameEvent(a, b annals.Recorded) bool {
	return a.Position == b.Position && a.Revision == b.Revision && a.Time.Equal(b.Time) && a.ID == b.ID && a.Stream == b.Stream &&
		a.SameContent(b.Event) && string(a.Metadata) == string(b.Metadata)
}

// isRefusal tells whether an append was refused for what it says, not for what the disk did.
func isRefusal(err error) bool {
	for _, kind := range []error{annals.ErrConflict, annals.ErrAhead, annals.ErrIDReused, annals.ErrPartialDuplicate, annals.ErrInvalid} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// isInability tells whether an append failed in a way that a disk can cause: nothing was written.
func isInability(err error) bool {
	for _, kind := range []error{annals.ErrNotWritten, annals.ErrFull, annals.ErrReadOnly, annals.ErrDataLoss} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return errors.Is(err, errDead) || errors.Is(err, syscall.EIO) || errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, syscall.EMFILE)
}

// all is everything that a store has.
func all(s annals.Store, q annals.Query, opts ...annals.ReadOption) ([]annals.Recorded, error) {
	var got []annals.Recorded
	for e, err := range s.Read(background, q, opts...) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

// followed is what a subscription yields until it has caught up.
func followed(s annals.Store, q annals.Query, after annals.Position) ([]annals.Recorded, error) {
	var got []annals.Recorded
	for u, err := range s.Subscribe(background, q, after) {
		if err != nil {
			return got, err
		}
		if u.Event != nil {
			got = append(got, *u.Event)
		}
		if u.CaughtUp {
			break
		}
	}
	return got, nil
}

// matching is what a scan of the log finds.
func matching(log []annals.Recorded, q annals.Query) []annals.Recorded {
	var want []annals.Recorded
	for _, e := range log {
		if q.Match(e) {
			want = append(want, e)
		}
	}
	return want
}

// differ tells how what was read differs from what was to be read.
func differ(what string, got, want []annals.Recorded) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d events, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !sameEvent(got[i], want[i]) {
			return fmt.Errorf("%s: event %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
	return nil
}

// vocabulary is what random appends and queries are made of: few words, so that they meet.
type vocabulary struct{ random }

func (v vocabulary) event() annals.Event {
	e := annals.Event{
		ID:   annals.MakeID(epoch, [10]byte{byte(v.Uint32()), byte(v.Uint32()), byte(v.Uint32()), byte(v.Uint32()), byte(v.Uint32())}),
		Type: pick(v.random, "A", "B", "C"), Stream: pick(v.random, "", "s-1", "s-2", "r-1"),
		Version: 1, Data: make([]byte, v.IntN(pick(v.random, 40, 400, 1500))),
	}
	for _, t := range []string{"k:1", "k:2", "l:1"} {
		if v.IntN(3) == 0 {
			e.Tags = append(e.Tags, t)
		}
	}
	for i := range e.Data {
		e.Data[i] = byte(v.Uint32())
	}
	return e.Canonical()
}

func (v vocabulary) events() []annals.Event {
	es := make([]annals.Event, pick(v.random, 1, 1, 1, 2, 3, 5))
	for i := range es {
		es[i] = v.event()
	}
	return es
}

func (v vocabulary) query() annals.Query {
	switch v.IntN(7) {
	case 0:
		return annals.All()
	case 1:
		return annals.Stream(pick(v.random, "s-1", "s-2", "r-1", "none"))
	case 2:
		return annals.Category(pick(v.random, "s", "r"))
	case 3:
		return annals.Types(pick(v.random, "A", "B", "C", "D"))
	case 4:
		return annals.Tags("k:1").Or(annals.Types("A", "B").Tags("l:1"))
	case 5:
		return annals.Tags("k:1", "k:2")
	}
	return annals.Tags(pick(v.random, "k:1", "k:2", "l:1", "none"))
}

// conditions hold for the most part, at the head of a log.
func (v vocabulary) conditions(log []annals.Recorded) []annals.Condition {
	stream := pick(v.random, "s-1", "s-2", "r-1")
	last := annals.NoRevision
	for _, e := range log {
		if e.Stream == stream {
			last = e.Revision
		}
	}
	head := annals.Position(len(log))
	switch v.IntN(6) {
	case 0:
		return []annals.Condition{annals.NoneSince(head-min(head, annals.Position(v.IntN(3))), v.query())}
	case 1:
		return []annals.Condition{annals.NoneSince(head, annals.All()), annals.NoneSince(head-min(head, 1), v.query()).WithEvents()}
	case 2:
		if last == annals.NoRevision {
			return []annals.Condition{annals.NoStream(stream)}
		}
		return []annals.Condition{annals.StreamAt(stream, last)}
	case 3:
		return []annals.Condition{annals.StreamAt(stream, annals.Revision(v.IntN(10))), annals.NoneSince(head, annals.All())}
	case 4:
		return []annals.Condition{annals.StreamExists(stream)}
	}
	return nil
}

// epoch is when simulated time begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
