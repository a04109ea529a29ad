package faultlane_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/annalsdb/annals"
)

var operations = count("ops", 20_000, 1500, "how many concurrent appends and reads to check for linearizability")

const (
	clients       = 16
	linearStreams = 8
)

// call is one operation on a stream, what it was told, and when. A stream is its length.
type call struct {
	client, stream int
	begin, end     int64 // nanoseconds
	append         bool
	id             annals.ID
	// want is the length that an append wants the stream to have.
	want uint64
	// got is the length that was read, or that an append was refused for.
	got uint64
	// ok says that an append was accepted; unknown that its outcome is not known; none that nothing was done.
	ok, unknown, none bool
}

func (c call) String() string {
	return fmt.Sprintf("client %d, stream %d, append %v: want %d, got %d, ok %v, unknown %v", c.client, c.stream, c.append, c.want, c.got, c.ok, c.unknown)
}

// model is a stream as porcupine sees it.
var streamModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, in, _ any) (bool, any) {
		length, _ := state.(uint64)
		c, _ := in.(call)
		switch {
		case c.append && c.ok:
			return length == c.want, length + 1
		case c.append:
			return length == c.got && c.got != c.want, length
		}
		return length == c.got, length
	},
	DescribeOperation: func(in, _ any) string { return fmt.Sprint(in) },
}

func TestConditionalAppendsAndReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	start := time.Now()
	history := make([][]call, clients)
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			rng := seeded(*seedFlag, 100+uint64(client))
			known := make([]uint64, linearStreams)
			for range *operations / clients {
				c := call{client: client, stream: rng.IntN(linearStreams), append: rng.chance(60), begin: int64(time.Since(start))}
				if c.append {
					c.want = known[c.stream]
					if rng.chance(5) {
						c.want += uint64(rng.IntN(2))
					}
					appendCall(t, s, &c, rng)
				} else {
					c.got = lengthOf(t, s, c.stream)
				}
				c.end = int64(time.Since(start))
				switch {
				case c.ok:
					known[c.stream] = c.want + 1
				case !c.unknown && !c.none:
					known[c.stream] = c.got
				}
				history[client] = append(history[client], c)
			}
		})
	}
	all.Wait()
	closeStore(t, s)
	s = openStore(t, dir) // what was unknown is found in the log
	log, err := everyEvent(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	calls, unknown := resolve(slices.Concat(history...), log, int64(time.Since(start)))
	conflicts := checkAgainstLog(t, calls, log)
	began := time.Now()
	for stream := range linearStreams {
		var ops []porcupine.Operation
		for _, c := range calls {
			if c.stream == stream {
				ops = append(ops, porcupine.Operation{ClientId: c.client, Input: c, Call: c.begin, Return: c.end})
			}
		}
		if got := porcupine.CheckOperationsTimeout(streamModel, ops, time.Minute); got != porcupine.Ok {
			t.Errorf("the %d operations on stream %d: porcupine says %s", len(ops), stream, got)
		}
	}
	report(t, "linearizable", "ops=%d streams=%d clients=%d conflicts=%d unknown=%d linearizable=%v check_s=%.2f",
		len(calls), linearStreams, clients, conflicts, unknown, !t.Failed(), time.Since(began).Seconds())
}

func streamName(stream int) string { return fmt.Sprint("linear-", stream) }

// appendCall appends one event; now and then the caller leaves before it is answered.
func appendCall(t *testing.T, s annals.Store, c *call, rng random) {
	t.Helper()
	ctx, cancel := t.Context(), context.CancelFunc(func() {})
	if rng.chance(3) {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Microsecond)
	}
	defer cancel()
	e := annals.Event{ID: annals.NewID(), Type: "A", Stream: streamName(c.stream)}
	c.id = e.ID
	cond := annals.NoStream(e.Stream)
	if c.want > 0 {
		cond = annals.StreamAt(e.Stream, annals.Revision(c.want-1))
	}
	r, err := s.Append(ctx, []annals.Event{e}, cond)
	conflict, refused := errors.AsType[*annals.ConflictError](err)
	switch {
	case err == nil:
		c.ok = true
		if uint64(r.Revision) != c.want {
			t.Errorf("%v was accepted as revision %d", c, r.Revision)
		}
	case refused:
		if c.got = 0; conflict.Failures[0].Actual != annals.NoRevision {
			c.got = uint64(conflict.Failures[0].Actual) + 1
		}
	case errors.Is(err, annals.ErrUnknownOutcome):
		c.unknown = true
	case errors.Is(err, annals.ErrNotWritten):
		c.none = true
	default:
		t.Errorf("%v was answered %v", c, err)
	}
}

func lengthOf(t *testing.T, s annals.Store, stream int) uint64 {
	t.Helper()
	for e, err := range s.Read(t.Context(), annals.Stream(streamName(stream)), annals.Backwards(), annals.Limit(1)) {
		if err != nil {
			t.Error(err)
		}
		return uint64(e.Revision) + 1
	}
	return 0
}

func everyEvent(ctx context.Context, s annals.Store) (log []annals.Recorded, err error) {
	for e, err := range s.Read(ctx, annals.All()) {
		if err != nil {
			return nil, err
		}
		log = append(log, e)
	}
	return log, nil
}

// resolve finds out by id what became of appends whose outcome is not known: in the log they may have taken effect at any time
// since, otherwise they never did. What did nothing is left out.
func resolve(calls []call, log []annals.Recorded, end int64) (resolved []call, unknown int) {
	there := map[annals.ID]bool{}
	for _, e := range log {
		there[e.ID] = true
	}
	for _, c := range calls {
		if c.unknown {
			unknown++
			c.ok, c.none, c.end = there[c.id], !there[c.id], end
		}
		if !c.none {
			resolved = append(resolved, c)
		}
	}
	return resolved, unknown
}

// checkAgainstLog compares what was told with the order of the log, in one pass over sorted lists: what ended before something
// else began precedes it; what was accepted was accepted where its condition held; what was read, or refused for, was the
// length at a moment between question and answer.
func checkAgainstLog(t *testing.T, calls []call, log []annals.Recorded) (conflicts int) {
	t.Helper()
	at := map[annals.ID]annals.Recorded{}
	for _, e := range log {
		if twice, found := at[e.ID]; found {
			t.Errorf("%s is at %d and at %d", e.ID, twice.Position, e.Position)
		}
		at[e.ID] = e
	}
	type span struct{ begin, end int64 }
	spans := make([][]span, linearStreams) // of the append that made a stream that long, by length - 1
	var accepted []call
	for _, c := range calls {
		if !c.ok {
			continue
		}
		e, found := at[c.id]
		if !found || uint64(e.Revision) != c.want || e.Stream != streamName(c.stream) {
			t.Errorf("%v was accepted; it is there: %v, with revision %d", c, found, e.Revision)
			continue
		}
		accepted = append(accepted, c)
		for uint64(len(spans[c.stream])) <= c.want {
			spans[c.stream] = append(spans[c.stream], span{})
		}
		spans[c.stream][c.want] = span{c.begin, c.end}
	}
	if len(accepted) != len(log) {
		t.Errorf("%d appends were accepted, the log has %d events", len(accepted), len(log))
	}
	ends := slices.Clone(accepted)
	slices.SortFunc(accepted, func(a, b call) int { return cmp.Compare(a.begin, b.begin) })
	slices.SortFunc(ends, func(a, b call) int { return cmp.Compare(a.end, b.end) })
	var latest annals.Position
	for i := 0; len(accepted) > 0; accepted = accepted[1:] {
		c := accepted[0]
		for ; i < len(ends) && ends[i].end < c.begin; i++ {
			latest = max(latest, at[ends[i].id].Position)
		}
		if p := at[c.id].Position; p < latest {
			t.Errorf("%v is at %d, and began when %d was acknowledged", c, p, latest)
		}
	}
	for _, c := range calls {
		if c.ok {
			continue
		}
		if c.append {
			conflicts++
		}
		of := spans[c.stream]
		if c.append && c.got == c.want || c.got > uint64(len(of)) || c.got > 0 && of[c.got-1].begin > c.end || c.got < uint64(len(of)) && of[c.got].end < c.begin {
			t.Errorf("%v: at no moment between question and answer was that the length", c)
		}
	}
	return conflicts
}
