package toolkit

import (
	"strconv"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

var schema = annals.NewSchema([]Event{Deposited{}})

// BenchmarkExecute decides and appends on a store in memory, on accounts of at most ten events. Must: 300,000 commands a
// second on one core, 12 allocations each.
func BenchmarkExecute(b *testing.B) {
	for _, codec := range []struct {
		name string
		annals.Codec
	}{{"json", annals.JSON()}, {"free", free{}}} {
		b.Run(codec.name, func(b *testing.B) {
			log := annals.NewLog(memory.New(), annals.NewSchema([]Event{Deposited{}}, annals.Encoding(codec.Codec)))
			ctx := b.Context()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := decider.Execute(ctx, log, Deposit{Account: strconv.Itoa(i / 10), Cents: 5}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkExecuteNew is BenchmarkExecute on accounts without events: what a decision costs apart from reading its past.
func BenchmarkExecuteNew(b *testing.B) {
	log := annals.NewLog(memory.New(), schema)
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := decider.Execute(ctx, log, Deposit{Account: strconv.Itoa(i), Cents: 5}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}

// BenchmarkLoad folds an account of 1,000 events, beside a bare loop of the codec over the same bytes. Must: 0.85 of the
// loop with JSON, 1.5 million events a second with a codec that costs nothing.
func BenchmarkLoad(b *testing.B) {
	const events = 1000
	for _, codec := range []struct {
		name string
		annals.Codec
	}{{"json", annals.JSON()}, {"free", free{}}} {
		log := annals.NewLog(memory.New(), annals.NewSchema([]Event{Deposited{}}, annals.Encoding(codec.Codec)))
		var data [][]byte
		for range events {
			if _, err := log.Append(b.Context(), []Event{Deposited{"1", 5}}); err != nil {
				b.Fatal(err)
			}
		}
		for e, err := range log.Store().Read(b.Context(), annals.All()) {
			if err != nil {
				b.Fatal(err)
			}
			data = append(data, e.Data)
		}
		b.Run(codec.name+"/loop", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var a Account
				for _, d := range data {
					e := new(Deposited)
					if err := codec.Decode(d, e); err != nil {
						b.Fatal(err)
					}
					a = a.Evolve(*e)
				}
				if a.Count != events {
					b.Fatal(a)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
		b.Run(codec.name+"/load", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l, err := decider.Load(b.Context(), log, Account{ID: "1"})
				if err != nil || l.State.Count != events {
					b.Fatal(l.State, err)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
