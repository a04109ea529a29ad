package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/outbox"
	"github.com/annalsdb/annals/store/memory"
)

type (
	Placed struct {
		Order string `json:"order" annals:"order,stream"`
		N     int    `json:"n"`
	}
	Noted struct {
		Text string `json:"text"`
	}
)

var (
	schema  = annals.NewSchema([]any{Placed{}, Noted{}})
	errDown = errors.New("the broker is down")
	errOdd  = errors.New("odd")
)

func place(t *testing.T, log *annals.Log[any], order string, n int) annals.Position {
	t.Helper()
	r, err := log.Append(t.Context(), []any{Placed{order, n}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Last
}

// orders tells of placed orders: twice of each, on two topics.
func orders(p outbox.Publisher) outbox.Relay[any] {
	return outbox.Relay[any]{
		Name: "orders", Query: annals.Types("Placed"), Publisher: p,
		Messages: func(e annals.Entry[any]) ([]outbox.Message, error) {
			o, ok := e.Value.(Placed)
			switch {
			case !ok || o.N < 0:
				return nil, errOdd
			case o.N == 0:
				panic("nothing placed")
			}
			data := fmt.Appendf(nil, "%s/%d", o.Order, o.N)
			return []outbox.Message{{Topic: "placed", Key: o.Order, Data: data}, {Topic: "count", Key: o.Order, Data: data}}, nil
		},
	}
}

func newRelay(t *testing.T, log *annals.Log[any], r outbox.Relay[any]) *outbox.Running[any] {
	t.Helper()
	relay, err := outbox.New(log, r)
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

// start runs a relay until stop, which gives what it ended with.
func start(t *testing.T, r *outbox.Running[any]) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// broker keeps what was published, and fails when it is told to.
type broker struct {
	mu   sync.Mutex
	got  []outbox.Message
	fail func(outbox.Message) error
}

func (b *broker) Publish(_ context.Context, m outbox.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(m); err != nil {
			return err
		}
	}
	b.got = append(b.got, m)
	return nil
}

func (b *broker) failing(f func(outbox.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

// of are the data that were published on a topic under a key, without repetitions, in order.
func (b *broker) of(topic, key string) (data []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[annals.ID]bool{}
	for _, m := range b.got {
		if m.Topic == topic && m.Key == key && !seen[m.ID] {
			data = append(data, string(m.Data))
		}
		seen[m.ID] = true
	}
	return data
}

func TestMessagesAreMadeOfEventsAndKeepTheOrderOfTheirKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		for i := range 20 {
			place(t, log, fmt.Sprint("o", i%3), i+1)
		}
		if _, err := log.Append(t.Context(), []any{Noted{"not for others"}}); err != nil {
			t.Fatal(err)
		}
		relay := newRelay(t, log, orders(b))
		stop := start(t, relay)
		last := place(t, log, "o0", 100)
		if err := relay.Wait(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"placed", "count"} {
			if got := strings.Join(b.of(topic, "o0"), " "); got != "o0/1 o0/4 o0/7 o0/10 o0/13 o0/16 o0/19 o0/100" {
				t.Errorf("%s: got %s", topic, got)
			}
		}
		m := b.got[0]
		if m.ID.IsZero() || m.Event.Type != "Placed" || m.Event.Position == 0 || m.ID == b.got[1].ID {
			t.Errorf("got %+v", m)
		}
		if s := relay.Status(); !s.Running || s.Published != last || s.Head < last || s.Waiting != 0 || s.Failing != nil {
			t.Errorf("got %+v", s)
		}
		if err := relay.Run(t.Context()); !errors.Is(err, outbox.ErrRunning) {
			t.Errorf("got %v", err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if p, err := annals.Tracked(t.Context(), log.Store(), "outbox-orders"); err != nil || p < last {
			t.Errorf("stored is %d, %v", p, err)
		}
		n := len(b.got)
		again := newRelay(t, log, orders(b))
		stop = start(t, again)
		synctest.Wait()
		if err := stop(); !errors.Is(err, context.Canceled) || len(b.got) != n {
			t.Errorf("%v: %d messages are published again", err, len(b.got)-n)
		}
	})
}

func TestOnlyTheLaneOfAMessageThatFailsWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		b.failing(func(m outbox.Message) error {
			if m.Key == "bad" {
				return errDown
			}
			return nil
		})
		r := orders(b)
		r.Lanes = 100 // so that the two keys do not share one
		relay := newRelay(t, log, r)
		stop := start(t, relay)
		place(t, log, "bad", 1)
		place(t, log, "bad", 2)
		last := place(t, log, "good", 3)
		<-time.After(time.Hour)
		if got := b.of("placed", "good"); len(got) != 1 {
			t.Errorf("got %v", got)
		}
		if s := relay.Status(); !errors.Is(s.Failing, errDown) || s.Published != 0 || s.Waiting != 4 || time.Since(s.Since) < 59*time.Minute {
			t.Errorf("got %+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := relay.Wait(ctx, last); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		b.failing(nil)
		if err := relay.Wait(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(b.of("placed", "bad"), " "); got != "bad/1 bad/2" {
			t.Errorf("got %s", got)
		}
		if s := relay.Status(); s.Failing != nil || !s.Since.IsZero() {
			t.Errorf("got %+v", s)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Whatever fails and whenever the process ends, every message arrives, those of a key in order, and repetitions have the same id.
func TestNothingIsLostAndKeysStayInOrderThroughCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			log, b := annals.NewLog(memory.New(), schema), &broker{}
			moods := rand.New(rand.NewPCG(seed, 4))
			b.failing(func(outbox.Message) error {
				if moods.IntN(4) == 0 {
					return errDown
				}
				return nil
			})
			want := map[string][]string{}
			var last annals.Position
			for n := 1; n <= 40; {
				relay := newRelay(t, log, orders(b))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- relay.Run(ctx) }()
				for range r.IntN(10) {
					order := fmt.Sprint("o", r.IntN(4))
					last = place(t, log, order, n)
					want[order] = append(want[order], fmt.Sprint(order, "/", n))
					n++
					<-time.After(time.Duration(r.IntN(200)) * time.Millisecond)
				}
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			relay := newRelay(t, log, orders(b))
			stop := start(t, relay)
			if err := relay.Wait(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			for order, data := range want {
				for _, topic := range []string{"placed", "count"} {
					if got := b.of(topic, order); !slices.Equal(got, data) {
						t.Errorf("seed %d, %s of %s: got %v, want %v", seed, topic, order, got, data)
					}
				}
			}
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestWhatIsRefusedIsParkedAndCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		b.failing(func(m outbox.Message) error {
			if string(m.Data) == "o/2" {
				return outbox.Permanent(errOdd)
			}
			return nil
		})
		relay := newRelay(t, log, orders(b))
		stop := start(t, relay)
		place(t, log, "o", 1)
		place(t, log, "o", 2)
		if err := relay.Wait(t.Context(), place(t, log, "o", 3)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(b.of("placed", "o"), " "); got != "o/1 o/3" {
			t.Errorf("got %s", got)
		}
		if s := relay.Status(); s.Parked != 2 {
			t.Errorf("got %+v", s)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		other := newRelay(t, log, orders(b)) // of another process, say
		parked, err := other.Parked(t.Context())
		if err != nil || len(parked) != 2 || parked[0].Position != 2 || parked[0].EventType != "Placed" || !strings.Contains(parked[0].Reason, "odd") || parked[0].Since.IsZero() {
			t.Fatalf("got %+v, %v", parked, err)
		}
		if err := other.Retry(t.Context(), parked[0].ID); !errors.Is(err, errOdd) {
			t.Errorf("got %v", err)
		}
		b.failing(nil)
		if err := other.Retry(t.Context(), parked[0].ID); err != nil {
			t.Error(err)
		}
		if err := other.Retry(t.Context(), parked[0].ID); !errors.Is(err, outbox.ErrNotParked) {
			t.Errorf("got %v", err)
		}
		if err := other.Discard(t.Context(), parked[1].ID); err != nil {
			t.Error(err)
		}
		if err := other.Discard(t.Context(), parked[1].ID); !errors.Is(err, outbox.ErrNotParked) {
			t.Errorf("got %v", err)
		}
		if left, err := relay.Parked(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("got %+v, %v", left, err)
		}
		if n := len(b.of("placed", "o")) + len(b.of("count", "o")); n != 5 {
			t.Errorf("%d messages are out", n)
		}
	})
}

func TestAnEventOfWhichNoMessageCanBeMadeStopsTheRelay(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{-1: errOdd, 0: outbox.ErrPanic} {
		synctest.Test(t, func(t *testing.T) {
			log, b := annals.NewLog(memory.New(), schema), &broker{}
			place(t, log, "o", 1)
			place(t, log, "o", n)
			place(t, log, "o", 2)
			err := newRelay(t, log, orders(b)).Run(t.Context())
			if e, ok := errors.AsType[*outbox.MessageError](err); !ok || !errors.Is(err, outbox.ErrMessage) || !errors.Is(err, want) || e.Position != 2 || e.Type != "Placed" {
				t.Errorf("got %v", err)
			}
			if got := b.of("placed", "o"); len(got) > 1 {
				t.Errorf("got %v", got)
			}
		})
	}
	relay := orders(&broker{})
	relay.Messages = func(annals.Entry[any]) ([]outbox.Message, error) { return []outbox.Message{{Key: "no topic"}}, nil }
	log := annals.NewLog(memory.New(), schema)
	place(t, log, "o", 1)
	if err := newRelay(t, log, relay).Run(t.Context()); !errors.Is(err, outbox.ErrMessage) || !strings.Contains(err.Error(), "no topic") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsBeforeAnEventThatStopsTheRelayIsPublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := annals.NewLog(memory.New(), schema)
		place(t, log, "a", 1)
		place(t, log, "a", -1)
		n := 0
		slow := outbox.Func(func(ctx context.Context, _ outbox.Message) error {
			select {
			case <-time.After(time.Millisecond):
				n++
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for range 2 {
			if err := newRelay(t, log, orders(slow)).Run(t.Context()); !errors.Is(err, outbox.ErrMessage) {
				t.Errorf("got %v", err)
			}
		}
		if n != 2 {
			t.Errorf("%d messages are out, want the two of the first event, once", n)
		}
	})
}

func TestALongReasonIsParkedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		b.failing(func(outbox.Message) error { return outbox.Permanent(errors.New(strings.Repeat("ü", 16<<20))) })
		relay := newRelay(t, log, orders(b))
		stop := start(t, relay)
		if err := relay.Wait(t.Context(), place(t, log, "a", 1)); err != nil {
			t.Fatal(err)
		}
		if parked, err := relay.Parked(t.Context()); err != nil || len(parked) != 2 || len(parked[0].Reason) > 1100 {
			t.Errorf("got %d, %v", len(parked), err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestARunBeginsWithoutTheFailuresOfTheOneBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		b.failing(func(outbox.Message) error { return errDown })
		relay := newRelay(t, log, orders(b))
		stop := start(t, relay)
		last := place(t, log, "a", 1)
		synctest.Wait()
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.failing(nil)
		stop = start(t, relay)
		if err := relay.Wait(t.Context(), last); err != nil || relay.Status().Failing != nil {
			t.Errorf("got %+v, %v", relay.Status(), err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

type (
	Left  struct{ X string }
	Right struct{ X string }
	Both  struct{ X string }
)

func TestPartsThatTheQueryDoesNotWantAreLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := memory.New()
		r, err := base.Append(t.Context(), []annals.Event{{Type: "Both", Version: 1, Data: []byte(`{"X":"1"}`)}})
		if err != nil {
			t.Fatal(err)
		}
		split := annals.NewSchema([]any{Left{}, Right{}}, annals.Split("Both", 1, []any{Left{}, Right{}}, func(o Both) []any { return []any{Left(o), Right(o)} }))
		var got []string
		relay := newRelay(t, annals.NewLog(base, split), outbox.Relay[any]{
			Name: "r", Query: annals.Types("Left"), Publisher: &broker{},
			Messages: func(e annals.Entry[any]) ([]outbox.Message, error) {
				got = append(got, fmt.Sprintf("%T", e.Value))
				return nil, nil
			},
		})
		stop := start(t, relay)
		if err := relay.Wait(t.Context(), r.Last); err != nil {
			t.Error(err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) || strings.Join(got, " ") != "outbox_test.Left" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestAPublisherThatPanicsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		tries := 0
		b.failing(func(outbox.Message) error {
			if tries++; tries == 1 {
				panic(errOdd)
			}
			return nil
		})
		relay := newRelay(t, log, orders(b))
		stop := start(t, relay)
		if err := relay.Wait(t.Context(), place(t, log, "o", 1)); err != nil || len(b.got) != 2 {
			t.Errorf("got %v, %v", b.got, err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestARelayTakesNoMoreThanItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		b.failing(func(outbox.Message) error { return errDown })
		for i := range 100 {
			place(t, log, "o", i+1)
		}
		r := orders(b)
		r.Window = 10
		relay := newRelay(t, log, r)
		stop := start(t, relay)
		<-time.After(time.Minute)
		if s := relay.Status(); s.Waiting > 20 || s.Waiting < 10 {
			t.Errorf("got %+v", s)
		}
		b.failing(nil)
		if err := relay.Wait(t.Context(), 100); err != nil {
			t.Error(err)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestOneOfTwoProcessesStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := annals.NewLog(memory.New(), schema), &broker{}
		ended := make(chan error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			relay := newRelay(t, log, orders(b))
			go func() { ended <- relay.Run(ctx) }()
			<-time.After(time.Millisecond)
		}
		for i := range 10 {
			place(t, log, "o", i+1)
			<-time.After(700 * time.Millisecond)
		}
		if err := <-ended; !errors.Is(err, outbox.ErrElsewhere) {
			t.Errorf("got %v", err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if got := b.of("placed", "o"); len(got) != 10 {
			t.Errorf("got %v", got)
		}
	})
}

func TestALongSilenceIsNotReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := annals.NewLog(memory.New(), schema)
		relay := newRelay(t, log, orders(&broker{}))
		stop := start(t, relay)
		batch := make([]any, 500)
		for i := range batch {
			batch[i] = Noted{"x"}
		}
		for range 25 {
			if _, err := log.Append(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(5 * time.Second)
		if p, err := annals.Tracked(t.Context(), log.Store(), "outbox-orders"); err != nil || p < 10_000 {
			t.Errorf("stored is %d, %v", p, err)
		}
		head, err := log.Store().Head(t.Context())
		<-time.After(time.Hour)
		if later, laterErr := log.Store().Head(t.Context()); err != nil || laterErr != nil || later != head {
			t.Errorf("it goes on writing, to %d from %d", later, head)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestWhatIsWrongWithARelayIsSaidAllAtOnce(t *testing.T) {
	t.Parallel()
	log := annals.NewLog[any](struct{ annals.Store }{memory.New()}, schema)
	_, err := outbox.New(log, outbox.Relay[any]{Query: annals.Types("Unheard"), Lanes: -1})
	for _, problem := range []string{"required: Messages, Publisher", "must not be negative", "the name", "Unheard", "system events", "positions of consumers"} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s is not said: %v", problem, err)
		}
	}
	if !errors.Is(err, annals.ErrUnsupported) || !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestLocalSubscribersAreCalledByTopic(t *testing.T) {
	t.Parallel()
	var l outbox.Local
	var got []string
	l.Subscribe("a", func(_ context.Context, m outbox.Message) error { got = append(got, "1 "+m.Key); return nil })
	l.Subscribe("a", func(_ context.Context, m outbox.Message) error { got = append(got, "2 "+m.Key); return errOdd })
	if err := l.Publish(t.Context(), outbox.Message{Topic: "a", Key: "k"}); !errors.Is(err, errOdd) || strings.Join(got, ", ") != "1 k, 2 k" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := l.Publish(t.Context(), outbox.Message{Topic: "b"}); err != nil {
		t.Error(err)
	}
}
