package privacy_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

// The event of a timer lies in the books of a process until it is due, and may be due after the erasure.
func TestTheEventOfATimerIsErasedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := memory.New()
		s := protect(t, base, privacy.NewMemory())
		bus := cqrs.New(annals.NewLog[any](s, schema))
		p, err := process.New(bus, process.Manager[Customer, any]{
			Name: "welcome", By: "customer", Query: annals.Types("Registered"),
			Initial: func(key string) Customer { return Customer{ID: key} },
			React: func(_ Customer, e annals.Entry[any], do *process.Effects[any]) {
				if v, ok := e.Value.(Registered); ok {
					do.Schedule("move", e.Time.Add(time.Hour), Moved{v.Customer, privacy.Of("customer-1", Address{"MARKER-street", "MARKER-ulm"})})
				}
			},
		}, process.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- p.Run(t.Context()) }()
		record(t, bus.Log(), ann()[0])
		synctest.Wait()
		timers, err := p.Timers(t.Context())
		if err != nil || len(timers) != 1 {
			t.Fatal(timers, err)
		}
		text := below(t, base)
		for i := range 3 { // base64 says the same in three ways
			hidden := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + "MARKER-street"))[4:16]
			if strings.Contains(text, hidden) {
				t.Errorf("a timer holds the value in base64")
			}
		}
		if strings.Contains(text, "MARKER") {
			t.Errorf("a timer holds the value: %s", text)
		}
		if _, err := s.Erase(t.Context(), "customer-1", "asked", nil); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Hour)
		synctest.Wait()
		moved := 0
		for e, err := range bus.Log().Read(t.Context(), annals.Types("Moved")) {
			if err != nil {
				t.Fatal(err)
			}
			moved++
			if v, ok := e.Value.(Moved); !ok || !v.To.Erased() {
				t.Errorf("after the erasure a timer brought back %+v", e.Value)
			}
		}
		if moved != 1 {
			t.Errorf("the timer fired %d times", moved)
		}
	})
}
