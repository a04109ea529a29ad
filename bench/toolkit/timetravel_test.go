package toolkit

import (
	"runtime"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/timetravel"
)

// history is a log on disk with so many events, of one account.
func history(b *testing.B, events int) *annals.Log[Event] {
	b.Helper()
	store, err := disk.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	log := annals.NewLog(store, schema)
	batch := make([]Event, 500)
	for i := range batch {
		batch[i] = Deposited{"1", 1}
	}
	for range events / len(batch) {
		if _, err := log.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	return log
}

// BenchmarkWhatIf makes a branch of a store with 100,000 events, and loads a state of all of them in it. Must: a second, 200 MB.
func BenchmarkWhatIf(b *testing.B) {
	const events = 100_000
	log := history(b, events)
	other, err := log.Encode(b.Context(), []Event{Deposited{"1", 1000}})
	if err != nil {
		b.Fatal(err)
	}
	another, err := log.Encode(b.Context(), []Event{Deposited{"1", 1000}})
	if err != nil {
		b.Fatal(err)
	}
	var most uint64
	for b.Loop() {
		branch, err := timetravel.WhatIf(b.Context(), log.Store(),
			timetravel.Replace(events/2, other...), timetravel.Drop(events/3), timetravel.Move(events/4, events-1), timetravel.Insert(7, another...))
		if err != nil {
			b.Fatal(err)
		}
		l, err := decider.Load(b.Context(), log.On(branch), Account{ID: "1"})
		if err != nil || l.State.Count != events {
			b.Fatal(l.State, err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	b.ReportMetric(float64(most)/(1<<20), "MiB")
}

// BenchmarkWhy asks for the event behind a field of a state of 10,000 events. Must: 100 ms.
func BenchmarkWhy(b *testing.B) {
	const events = 10_000
	log := history(b, events)
	for b.Loop() {
		r, err := timetravel.Why(b.Context(), log, Account{ID: "1"}, "Cents")
		if err != nil || r.Event.Position != events {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkBisect finds an event among a million. Must: 25 folds.
func BenchmarkBisect(b *testing.B) {
	const events = 1_000_000
	log := history(b, events)
	var folds int
	for b.Loop() {
		broken, err := timetravel.Bisect(b.Context(), log, Account{ID: "1"}, func(a Account) bool { return a.Cents < 654_321 })
		if err != nil || broken.Event.Position != 654_321 {
			b.Fatal(broken, err)
		}
		folds = broken.Folds
	}
	b.ReportMetric(float64(folds), "folds")
}
