package run_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

func TestAGroupIsDecodedAsItWasAndTakesLittle(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for _, c := range []struct {
		name  string
		gap   func() uint32
		bytes int // at most, for 128 positions
	}{
		{"each", func() uint32 { return 0 }, 1},
		{"every second", func() uint32 { return 1 }, 17},
		{"every 100th", func() uint32 { return 99 }, 1 + 16*7},
		{"half of them", func() uint32 { return uint32(rnd.ExpFloat64()) }, 70},
		{"far apart", func() uint32 { return rnd.Uint32N(1 << 23) }, 1 + 16*23},
		{"bursts", func() uint32 {
			if rnd.IntN(40) == 0 {
				return rnd.Uint32N(1 << 20)
			}
			return rnd.Uint32N(100)
		}, 160},
	} {
		for n := 1; n <= 128; n++ {
			for _, before := range []uint32{run.None, 0, 1 << 20} {
				group := make([]uint32, n)
				last := before
				for i := range group {
					last += c.gap() + 1
					group[i] = last
				}
				b := run.AppendGroup(nil, before, group)
				if len(b) > c.bytes {
					t.Fatalf("%s: %d positions take %d bytes, want at most %d", c.name, n, len(b), c.bytes)
				}
				decoded := make([]uint32, n)
				padded := append(slices.Clone(b), 1, 2, 3, 4, 5, 6, 7, 8)
				if size := run.DecodeGroup(decoded, padded, len(b), before); size != len(b) || !slices.Equal(decoded, group) {
					t.Fatalf("%s: %v became %v; %d bytes of %d", c.name, group, decoded, size, len(b))
				}
				for end := range len(b) {
					if size := run.DecodeGroup(decoded, padded, end, before); size != 0 {
						t.Fatalf("%s: the first %d bytes of %d were decoded", c.name, end, len(b))
					}
				}
			}
		}
	}
}

func TestFencesAreFoundWhereverTheyAre(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for n := range 200 {
		var fences []uint64
		for range n {
			fences = append(fences, rnd.Uint64()>>rnd.IntN(64))
		}
		slices.Sort(fences)
		fences = slices.Compact(fences)
		look := func(term uint64) {
			i, found := slices.BinarySearch(fences, term)
			if !found {
				i--
			}
			if got := run.PlaceOf(fences, term); got != i {
				t.Fatalf("%d among %v: %d, want %d", term, fences, got, i)
			}
		}
		look(0)
		look(1<<64 - 1)
		for _, f := range fences {
			look(f - 1)
			look(f)
			look(f + 1)
			look(rnd.Uint64())
		}
	}
}
