package toolkit

import (
	"strconv"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
)

// Moving and Moved have two fields that are personal, MovingOpenly and MovedOpenly two that are not.
type (
	Moved struct {
		Account string                   `json:"account" annals:"account,stream"`
		Street  privacy.Personal[string] `json:"street"`
		City    privacy.Personal[string] `json:"city"`
	}
	MovedOpenly struct {
		Account string `json:"account" annals:"account,stream"`
		Street  string `json:"street"`
		City    string `json:"city"`
	}
	Moving       struct{ Account string }
	MovingOpenly struct{ Account string }
)

func (Moved) isEvent()       {}
func (MovedOpenly) isEvent() {}

func (c Moving) Initial() Account       { return Account{ID: c.Account} }
func (c MovingOpenly) Initial() Account { return Account{ID: c.Account} }

func (c Moving) Decide(Account) ([]Event, error) {
	subject := "account-" + c.Account
	return []Event{Moved{c.Account, privacy.Of(subject, "Long Street 42"), privacy.Of(subject, "Ulm")}}, nil
}

func (c MovingOpenly) Decide(Account) ([]Event, error) {
	return []Event{MovedOpenly{c.Account, "Long Street 42", "Ulm"}}, nil
}

var moving = annals.NewSchema([]Event{Moved{}, MovedOpenly{}})

// BenchmarkPrivacy decides and appends, on accounts of at most ten events, with two personal fields and with two that are open. Must:
// 15 % more.
func BenchmarkPrivacy(b *testing.B) {
	store := func(b *testing.B, name string) annals.Store {
		b.Helper()
		var base annals.Store = memory.New()
		if name == "disk" {
			s, err := disk.Open(b.Context(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			base = s
		}
		s, err := privacy.Protect(b.Context(), base, privacy.NewMemory())
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	for _, name := range []string{"memory", "disk"} {
		b.Run(name+"/open", func(b *testing.B) {
			log := annals.NewLog(store(b, name), moving)
			for i := 0; b.Loop(); i++ {
				if _, err := decider.Execute(b.Context(), log, MovingOpenly{strconv.Itoa(i / 10)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/personal", func(b *testing.B) {
			log := annals.NewLog(store(b, name), moving)
			for i := 0; b.Loop(); i++ {
				if _, err := decider.Execute(b.Context(), log, Moving{strconv.Itoa(i / 10)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkErase erases a subject with 10,000 events on disk, and makes it anew. Must: 50 ms.
func BenchmarkErase(b *testing.B) {
	base, err := disk.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer base.Close()
	master, err := privacy.NewMaster(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	keys, err := privacy.CreateKeys(b.Context(), b.TempDir(), master)
	if err != nil {
		b.Fatal(err)
	}
	s, err := privacy.Protect(b.Context(), base, keys)
	if err != nil {
		b.Fatal(err)
	}
	log := annals.NewLog(annals.Store(s), moving)
	events, err := Moving{"1"}.Decide(Account{})
	if err != nil {
		b.Fatal(err)
	}
	for range 10_000 {
		if _, err := log.Append(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Erase(b.Context(), "account-1", "asked", nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, err := log.Append(b.Context(), events); err != nil { // a key to erase the next time
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
