package live_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/live"
)

var usual = live.Config{Bytes: 8 << 20, Events: 8192, Queue: 1024}

func event(kind string, tags ...string) annals.Event {
	return annals.Event{ID: annals.NewID(), Type: kind, Tags: tags}
}

// follow takes whatever comes until ctx ends.
func (r *reader) follow(ctx context.Context) {
	for r.step(ctx) {
	}
	r.sub.Leave()
}

// In a bubble a test does not end before its goroutines, and the hub is not closed here.
func TestNothingIsLeftWhenNobodyIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(usual)
		for round := range 3 {
			a, b := h.reader(annals.All(), h.head.Load()), h.reader(annals.Types("A", "B"), h.head.Load())
			for range 10 {
				h.append(event("A"))
			}
			for a.at < h.head.Load() || b.at < h.head.Load() {
				a.step(t.Context())
				b.step(t.Context())
			}
			h.append(event("A"))
			synctest.Wait()
			if s := h.hub.Stats(); s.Subscribers != 2 || s.Behind != 0 || s.Bytes == 0 {
				t.Errorf("round %d: two are live, and the stats say %+v", round, s)
			}
			a.sub.Leave()
			b.sub.Leave()
			h.append(event("A"))
			synctest.Wait()
			if s := h.hub.Stats(); s != (live.Stats{}) {
				t.Errorf("round %d: all have left, and the stats say %+v", round, s)
			}
		}
	})
}

func TestNothingIsDoneForNobody(t *testing.T) { // allocations are counted: not in parallel
	h := newHistory(usual)
	stuck := h.reader(annals.All(), 0) // has not joined
	defer stuck.sub.Leave()
	header, f := h.commit([]annals.Event{event("A")})
	if n := testing.AllocsPerRun(100, func() { h.hub.Publish(header, f) }); n > 0 {
		t.Errorf("to publish for nobody allocates %v times", n)
	}
	if s := h.hub.Stats(); s.Bytes > 0 || s.Subscribers != 1 || s.Behind != 1 {
		t.Errorf("the stats say %+v", s)
	}
}

// Ten thousand never take what is theirs. They cost a bounded amount of memory, then nothing, and one who does take is not
// delayed.
func TestThoseWhoNeverReadAreLeftBehind(t *testing.T) {
	t.Parallel()
	const stuck, frames = 10_000, 150
	for name, q := range map[string]func(i int) annals.Query{
		"that want everything": func(int) annals.Query { return annals.All() },
		"that want some":       func(i int) annals.Query { return annals.Tags(fmt.Sprint("n:", i%7)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := live.Config{Bytes: 64 << 10, Events: 64, Queue: 8}
			h := newHistory(c)
			defer h.hub.Close()
			for i := range stuck {
				r := h.reader(q(i), 0)
				defer r.sub.Leave()
				r.join()
			}
			healthy := h.reader(annals.Types("A"), 0)
			defer healthy.sub.Leave()
			healthy.join()
			ctx := patient(t)
			for i := range frames {
				h.append(event("A", fmt.Sprint("n:", i%7)), event("B", fmt.Sprint("n:", i%7)))
				for healthy.at < h.head.Load() {
					if !healthy.step(ctx) {
						t.Fatalf("the healthy one is at %d of %d", healthy.at, h.head.Load())
					}
				}
				if s := h.hub.Stats(); s.Bytes > 2*c.Bytes {
					t.Fatalf("frame %d: %d bytes are kept", i, s.Bytes)
				}
			}
			healthy.check(t, 0)
			if healthy.told != frames {
				t.Errorf("%d of %d events were told to the healthy one", healthy.told, frames)
			}
			if s := h.hub.Stats(); s.Subscribers != stuck+1 || s.Behind != stuck {
				t.Errorf("the stats say %+v", s)
			}
		})
	}
}

func TestAFewLearnOfEveryCommitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(usual)
		ctx, stop := context.WithCancel(t.Context())
		var readers []*reader
		for range 50 {
			r := h.reader(annals.Types("never"), 0)
			readers = append(readers, r)
			go r.follow(ctx)
		}
		synctest.Wait()
		before := time.Now()
		for range 5 {
			h.append(event("A"))
			synctest.Wait()
			for _, r := range readers {
				if r.at != h.head.Load() {
					t.Fatalf("one has come to %d; the head is %d", r.at, h.head.Load())
				}
			}
		}
		if d := time.Since(before); d > 0 {
			t.Errorf("it took %s", d)
		}
		stop()
		synctest.Wait()
	})
}

// Time costs nothing here, and so tells only how the hub paces itself.
func TestTenThousandLearnOfTheHeadSoonAndNotOfEveryCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const idle, frames = 10_000, 400
		h := newHistory(usual)
		ctx, stop := context.WithCancel(t.Context())
		var readers []*reader
		steps := make([]int, idle)
		for i := range idle {
			r := h.reader(annals.Types("never"), 0)
			readers = append(readers, r)
			go func() {
				for r.step(ctx) {
					steps[i]++
				}
				r.sub.Leave()
			}()
		}
		synctest.Wait()
		for range frames { // for as long
			h.append(event("A"))
			time.Sleep(time.Millisecond) //nolint:forbidigo // a clock that costs no time
		}
		time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // a clock that costs no time
		synctest.Wait()
		total := 0
		for i, r := range readers {
			if total += steps[i]; r.at != h.head.Load() {
				t.Fatalf("one has come to %d; the head is %d", r.at, h.head.Load())
			}
		}
		if most := 2*16_000 + 2*idle; total > most { // a visit is a step, and another that finds nothing
			t.Errorf("%d steps were made; want at most %d", total, most)
		}
		stop()
		synctest.Wait()
	})
}

// Who leaves in the middle of a tour must not hide another from it.
func TestATourPassesOverNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const idle = 2000
		h := newHistory(usual)
		ctx, stop := context.WithCancel(t.Context())
		some, leave := context.WithCancel(t.Context())
		var stay []*reader
		for i := range idle {
			r := h.reader(annals.Types("never"), 0)
			r.join() // and so they are visited in this order
			if i >= 100 && i < 300 {
				go r.follow(some)
			} else {
				stay = append(stay, r)
				go r.follow(ctx)
			}
		}
		synctest.Wait()
		h.append(event("A"))
		synctest.Wait() // the first 300 were visited
		leave()
		synctest.Wait()
		time.Sleep(time.Second) //nolint:forbidigo // a clock that costs no time
		synctest.Wait()
		for i, r := range stay {
			if r.at != 1 {
				t.Fatalf("number %d of %d who stayed was passed over", i, len(stay))
			}
		}
		stop()
		synctest.Wait()
	})
}

// Nor must who joins in the middle of one take the place of another in it.
func TestATourPassesOverNobodyForThoseWhoJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(usual)
		ctx, stop := context.WithCancel(t.Context())
		var readers []*reader
		join := func(n int) {
			for range n {
				r := h.reader(annals.Types("never"), h.head.Load())
				r.join()
				readers = append(readers, r)
				go r.follow(ctx)
			}
		}
		tell := func() {
			h.append(event("A"))
			synctest.Wait() // the first 300 were visited
		}
		rest := func() {
			time.Sleep(time.Second) //nolint:forbidigo // a clock that costs no time
			synctest.Wait()
		}
		join(300)
		tell()
		rest()
		join(700)
		tell() // from number 300 on
		join(20)
		rest()
		for i, r := range readers {
			if r.at != h.head.Load() {
				t.Fatalf("number %d of %d was passed over", i, len(readers))
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestWhoWasBusyDuringATourLearnsOfTheHeadAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(usual)
		r := h.reader(annals.Types("A"), 0)
		r.join()
		h.append(event("A"))
		h.append(event("B"))
		synctest.Wait() // the tour is over
		for r.at < 2 {
			if !r.step(t.Context()) {
				t.Fatalf("it is at %d", r.at)
			}
		}
		r.sub.Leave()
	})
}

// A commit may come at any moment while a subscriber joins: here, right after the head was looked at.
func TestACommitWhileASubscriberJoinsIsTold(t *testing.T) {
	t.Parallel()
	var h *history
	var once sync.Once
	c := usual
	c.Store = store
	c.Head = func() uint64 {
		p := h.head.Load()
		once.Do(func() { h.append(event("A")) })
		return p
	}
	h = &history{hub: live.New(c)}
	defer h.hub.Close()
	r := h.reader(annals.All(), 0)
	defer r.sub.Leave()
	ctx := patient(t)
	for r.at < 1 {
		if !r.step(ctx) {
			t.Fatal("nobody tells")
		}
	}
	r.check(t, 0)
}

// What is skipped in the log cannot be told.
func TestAnInterruptionSendsEveryoneToTheLog(t *testing.T) {
	t.Parallel()
	h := newHistory(usual)
	defer h.hub.Close()
	ctx := patient(t)
	r := h.reader(annals.All(), 0)
	defer r.sub.Leave()
	h.append(event("A"))
	for r.at < 1 {
		r.step(ctx)
	}
	h.commit([]annals.Event{event("B"), event("C")})
	h.hub.Interrupt()
	h.append(event("D"))
	for r.at < 4 && r.step(ctx) {
	}
	r.check(t, 0)
}

func TestAFrameThatIsTooLargeIsReadFromTheLog(t *testing.T) {
	t.Parallel()
	h := newHistory(live.Config{Bytes: 10 << 10, Events: 64, Queue: 8})
	defer h.hub.Close()
	ctx := patient(t)
	r := h.reader(annals.All(), 0)
	defer r.sub.Leave()
	for round := range 3 {
		large := event("A")
		large.Data = make([]byte, 20<<10)
		h.append(event("A"), large)
		h.append(event("A"))
		for r.at < h.head.Load() && r.step(ctx) {
		}
		r.check(t, 0)
		if s := h.hub.Stats(); s.Bytes > 20<<10 {
			t.Errorf("round %d: %d bytes are kept", round, s.Bytes)
		}
	}
}
