package live_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
)

// BenchmarkPublish tells of frames of 100 events, of which one matches for somebody, beside others for whom nothing does. The
// time is that until it was told, and so of looking at all of the frame.
func BenchmarkPublish(b *testing.B) {
	for _, others := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) { benchmarkPublish(b, others) })
	}
}

func benchmarkPublish(b *testing.B, others int) {
	b.Helper()
	const size = 100
	h := newHistory(usual)
	defer h.hub.Close()
	for i := range others {
		s := h.hub.Subscribe(annals.Stream(fmt.Sprint("cart-", i)).Or(annals.Tags(fmt.Sprint("order:", i)).Types("Measured")))
		defer s.Leave()
		s.Join()
	}
	r := h.reader(annals.Types("Last"), 0)
	defer r.sub.Leave()
	r.join()
	events := make([]annals.Event, size)
	for i := range events {
		events[i] = annals.Event{Type: "Measured", Stream: fmt.Sprint("s-", i), Tags: []string{"x:1", "y:2"}, Data: make([]byte, 256)}
	}
	events[size-1].Type = "Last"
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		header, f := h.commit(events)
		b.StartTimer()
		told := r.told
		h.hub.Publish(header, f)
		for r.told == told {
			r.step(ctx)
		}
		r.got = r.got[:0]
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
}
