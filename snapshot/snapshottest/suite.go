// Package snapshottest is the conformance suite of [annals.Snapshots].
package snapshottest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
)

// Run runs the suite. open makes an empty one, which keeps at least two snapshots of a key.
func Run(t *testing.T, open func(*testing.T) annals.Snapshots) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, annals.Snapshots){
		"what was saved is loaded":          savedIsLoaded,
		"the newest up to a position":       newestUpTo,
		"a second save takes the place":     replaced,
		"keys are apart":                    keysApart,
		"deleted is gone":                   deleted,
		"data is copied":                    copied,
		"what makes no sense is refused":    refused,
		"an ended context":                  ended,
		"many at once":                      concurrent,
		"old ones may go, the newest stays": newestStays,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func at(key string, p annals.Position, data string) annals.Snapshot {
	return annals.Snapshot{Key: key, Fingerprint: "v1", Position: p, ID: annals.ID{1, byte(p)}, Revision: annals.Revision(p - 1), Data: []byte(data)}
}

func save(t *testing.T, s annals.Snapshots, snaps ...annals.Snapshot) {
	t.Helper()
	for _, snap := range snaps {
		if err := s.Save(t.Context(), snap); err != nil {
			t.Fatal(err)
		}
	}
}

// want wants a snapshot of a key, or none.
func want(t *testing.T, s annals.Snapshots, key string, upTo annals.Position, want *annals.Snapshot) {
	t.Helper()
	got, found, err := s.Load(t.Context(), key, upTo)
	switch {
	case err != nil:
		t.Errorf("%s up to %d: %v", key, upTo, err)
	case want == nil && found:
		t.Errorf("%s up to %d: got %+v, want none", key, upTo, got)
	case want != nil && (!found || !reflect.DeepEqual(got, *want)):
		t.Errorf("%s up to %d: got %+v, %v; want %+v", key, upTo, got, found, *want)
	}
}

func savedIsLoaded(t *testing.T, s annals.Snapshots) {
	t.Helper()
	want(t, s, "k", annals.NoPosition, nil)
	for i, key := range []string{"k", "with/slash", "..", "\x00", "ключ", strings.Repeat("x", 256)} {
		snap := at(key, annals.Position(i+1), fmt.Sprintf(`{"n":%d}`, i))
		save(t, s, snap)
		want(t, s, key, annals.NoPosition, &snap)
	}
	none := annals.Snapshot{Key: "bare", Position: annals.NoPosition - 1, Revision: annals.NoRevision, Data: []byte{0xff, 0}}
	save(t, s, none)
	want(t, s, "bare", annals.NoPosition, &none)
}

func newestUpTo(t *testing.T, s annals.Snapshots) {
	t.Helper()
	five, nine := at("k", 5, "five"), at("k", 9, "nine")
	save(t, s, nine, five)
	want(t, s, "k", 4, nil)
	want(t, s, "k", 5, &five)
	want(t, s, "k", 8, &five)
	want(t, s, "k", 9, &nine)
	want(t, s, "k", annals.NoPosition, &nine)
}

func replaced(t *testing.T, s annals.Snapshots) {
	t.Helper()
	again := at("k", 5, "again")
	again.Fingerprint = "v2"
	save(t, s, at("k", 5, "first"), again)
	want(t, s, "k", annals.NoPosition, &again)
}

func keysApart(t *testing.T, s annals.Snapshots) {
	t.Helper()
	a, b := at("a", 1, "a"), at("A", 2, "A")
	save(t, s, a, b)
	want(t, s, "a", annals.NoPosition, &a)
	want(t, s, "A", annals.NoPosition, &b)
	want(t, s, "b", annals.NoPosition, nil)
}

func deleted(t *testing.T, s annals.Snapshots) {
	t.Helper()
	other := at("other", 1, "")
	other.Data = []byte("x")
	save(t, s, at("k", 1, "1"), at("k", 2, "2"), other)
	for range 2 {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		want(t, s, "k", annals.NoPosition, nil)
	}
	want(t, s, "other", annals.NoPosition, &other)
}

func copied(t *testing.T, s annals.Snapshots) {
	t.Helper()
	snap := at("k", 1, "mine")
	save(t, s, snap)
	snap.Data[0] = 'w'
	good := at("k", 1, "mine")
	want(t, s, "k", annals.NoPosition, &good)
}

func refused(t *testing.T, s annals.Snapshots) {
	t.Helper()
	for _, bad := range []annals.Snapshot{at("", 1, "x"), at(strings.Repeat("x", 257), 1, "x"), at("k", 0, "x"), at("k", annals.NoPosition, "x")} {
		if err := s.Save(t.Context(), bad); !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("%q at %d: got %v", bad.Key, bad.Position, err)
		}
	}
	want(t, s, "k", annals.NoPosition, nil)
}

func ended(t *testing.T, s annals.Snapshots) {
	t.Helper()
	save(t, s, at("k", 1, "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Load(ctx, "k", annals.NoPosition)
	for _, err := range []error{err, s.Save(ctx, at("k", 2, "y")), s.Delete(ctx, "k")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func concurrent(t *testing.T, s annals.Snapshots) {
	t.Helper()
	var all sync.WaitGroup
	for w := range annals.Position(4) {
		all.Go(func() {
			for i := range annals.Position(50) {
				p := 1 + w + 4*i
				if err := s.Save(t.Context(), at("k", p, fmt.Sprint(p))); err != nil {
					t.Error(err)
				}
				got, found, err := s.Load(t.Context(), "k", annals.NoPosition)
				if err != nil || found && string(got.Data) != fmt.Sprint(got.Position) {
					t.Errorf("got %+v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
	newest := at("k", 200, "200")
	want(t, s, "k", annals.NoPosition, &newest)
}

func newestStays(t *testing.T, s annals.Snapshots) {
	t.Helper()
	for p := range annals.Position(20) {
		save(t, s, at("k", p+1, "x"))
	}
	newest, before := at("k", 20, "x"), at("k", 19, "x")
	want(t, s, "k", annals.NoPosition, &newest)
	want(t, s, "k", 19, &before)
}
