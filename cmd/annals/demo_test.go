package main

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/disk"
)

var everything = annals.All().WithSystem()

func contextWithStop(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return ctx, stop
}

// told is the history that a new store is given.
func told(t *testing.T) []string {
	t.Helper()
	data := t.TempDir()
	closed(t, opened(t, data))
	return eventsIn(t, data)
}

// cutOff begins the history in data and ends after n commands, as a kill does.
func cutOff(t *testing.T, data string, n int) {
	t.Helper()
	s, err := disk.Open(t.Context(), filepath.Join(data, storeName))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key, err := loadKey(filepath.Join(data, keyName), true)
	if err != nil {
		t.Fatal(err)
	}
	d := demo{dir: data, log: orders.NewLog(s, key)}
	if err := d.note(demoBegun); err != nil {
		t.Fatal(err)
	}
	bus := cqrs.New(d.log, cqrs.Correlation())
	for i, step := range history()[:n] {
		if err := step(t.Context(), bus, decider.IdempotencyKey(keyOf(i))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADemoThatWasCutOffIsToldToItsEndAndOnce(t *testing.T) {
	t.Parallel()
	want := told(t)
	if len(want) < 30 {
		t.Fatalf("the demo has %d events", len(want))
	}
	for n := range len(history()) + 1 {
		data := t.TempDir()
		cutOff(t, data, n)
		for range 2 {
			d := opened(t, data)
			if !d.demo {
				t.Errorf("cut off after %d commands: the demo is not known to be there", n)
			}
			closed(t, d)
		}
		if got := eventsIn(t, data); !reflect.DeepEqual(got, want) {
			t.Fatalf("cut off after %d commands: got %v", n, got)
		}
	}
}

func TestADemoThatDoesNotFitAnyMoreDoesNotKeepDevFromStarting(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	cutOff(t, data, 1)
	s, err := disk.Open(t.Context(), filepath.Join(data, storeName))
	if err != nil {
		t.Fatal(err)
	}
	key, err := loadKey(filepath.Join(data, keyName), false)
	if err != nil {
		t.Fatal(err)
	}
	bob := annals.Principal{ID: "customer-2", Roles: []string{orders.RoleCustomer}}
	if err := by(bob, orders.RegisterCustomer{Customer: "customer-2", Name: "Bill", Email: "bill@example.com"})(t.Context(), cqrs.New(orders.NewLog(s, key))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		closed(t, opened(t, data))
	}
	if got := eventsIn(t, data); len(got) != 2 {
		t.Errorf("the store has %v", got)
	}
}

func TestTwoNewStoresHaveTheSameHistory(t *testing.T) {
	t.Parallel()
	if a, b := told(t), told(t); !reflect.DeepEqual(a, b) {
		t.Errorf("%v and %v", a, b)
	}
}
