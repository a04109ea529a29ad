package frame_test

import (
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// wide is a frame of so many events: 256 bytes of data, a stream, one to three tags.
func wide(events int) ([]byte, frame.Header) {
	b := frame.NewBuilder(frame.Header{Store: store, Incarnation: 1, Epoch: 1, Seq: 1, FirstPosition: 1, Time: at}, nil)
	for i := range events {
		e := annals.Event{ID: annals.MakeID(at, [10]byte{byte(i), byte(i >> 8)}), Type: "OrderPlaced", Stream: fmt.Sprint("order-", i%50), Version: 1}
		for j := range 1 + i%3 {
			e.Tags = append(e.Tags, fmt.Sprintf("%c:%d", 'a'+j, i%70))
		}
		e.Data = make([]byte, 256)
		for j := range e.Data {
			e.Data[j] = byte(i*j + i)
		}
		r := frame.AppendBody(nil, &e, [16]byte{1}, frame.FlagLast)
		b.Add(r, frame.BodyHash(r), annals.Revision(i/50))
	}
	return b.Finish()
}

// BenchmarkDecode decodes the records of a frame that is in memory.
func BenchmarkDecode(b *testing.B) {
	f, _ := wide(1000)
	for name, d := range map[string]*frame.Decoder{
		"owned": frame.NewDecoder(store, true), "lent": frame.NewLender(store),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(f)))
			var r frame.Record
			n := 0
			for b.Loop() {
				for at := frame.HeaderBytes; at < len(f); n++ {
					size, err := d.DecodeInto(&r, f[at:])
					if err != nil {
						b.Fatal(err)
					}
					at += size
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkVerify verifies a frame that is in memory.
func BenchmarkVerify(b *testing.B) {
	for _, events := range []int{1, 1000} {
		f, _ := wide(events)
		for name, verify := range map[string]func([]byte, frame.StoreID) (frame.Header, error){"whole": frame.Verify, "sums": frame.VerifySums} {
			b.Run(fmt.Sprintf("%s/events=%d", name, events), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(f)))
				for b.Loop() {
					if _, err := verify(f, store); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
