package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// A scan lends names for as long as one event: retention must not go on comparing with one that has become another.
func TestWhatRetentionHidesIsHiddenFromScansToo(t *testing.T) {
	t.Parallel()
	s := startSegments(t, vfs.NewMem())
	rng := rand.New(rand.NewPCG(1, 2))
	kept := 0
	for range 600 {
		var events []annals.Event
		for range 5 {
			n := rng.IntN(2)
			e := one("A", fmt.Sprint("s-", n))[0]
			e.Data = make([]byte, 200)
			events = append(events, e)
			kept += n
		}
		if _, err := s.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := annals.TombstoneStream(t.Context(), s, "s-0"); err != nil {
		t.Fatal(err)
	}
	seen, hidden := 0, 0
	for e, err := range s.Scan(t.Context(), annals.All()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Stream == "s-0":
			hidden++
		default:
			seen++
		}
	}
	if hidden > 0 || seen != kept {
		t.Errorf("%d events of the stream that has ended, and %d of the %d others", hidden, seen, kept)
	}
}
