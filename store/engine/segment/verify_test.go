package segment_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/segment"
)

func TestVerifyOnAllProcessorsFindsWhatItFindsOnOne(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	s := assorted(t, base, options(1))
	closing(t, s.d)
	list := segmentsOf(t, base)
	rng := rand.New(rand.NewPCG(5, 5))
	damaged := 0
	for i := range 40 {
		fs := base.Kill()
		for range rng.IntN(4) {
			name := storeDir + "/" + list[rng.IntN(len(list))]
			b := file(t, fs, name)
			at := rng.IntN(len(b))
			put(t, fs, name, []byte{b[at] ^ 1}, at)
		}
		reports := []segment.Report{}
		for _, foreground := range []bool{true, false} {
			o := reading()
			o.Foreground = foreground
			d := open(t, fs, o)
			r, err := d.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			reports = append(reports, r)
			closing(t, d)
		}
		one, all := reports[0], reports[1]
		same := slices.EqualFunc(one.Damage, all.Damage, func(a, b *annals.DataLossError) bool { return *a == *b })
		if !same || one.Segments != all.Segments || one.Frames != all.Frames || one.Events != all.Events {
			t.Errorf("damage %d: on one %+v, on all %+v", i, one, all)
		}
		damaged += min(1, len(reports[0].Damage))
	}
	if damaged < 20 {
		t.Errorf("%d logs were damaged", damaged)
	}
}

func TestVerifyTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	for _, foreground := range []bool{true, false} {
		mem := vfs.NewMem()
		s := assorted(t, mem, options(1))
		closing(t, s.d)
		o := reading()
		o.Foreground = foreground
		d := open(t, mem, o)
		var told, totals []int64
		if _, err := d.Verify(t.Context(), segment.Progress(func(done, total int64) {
			told, totals = append(told, done), append(totals, total)
		})); err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, name := range segmentsOf(t, mem) {
			size += int64(len(file(t, mem, storeDir+"/"+name)))
		}
		last := len(told) - 1
		if len(told) < 8 || len(told) > 110 || !slices.IsSorted(told) || told[last] != totals[0] || totals[last] != totals[0] || told[last-1] < totals[0]*9/10 {
			t.Errorf("it told %v of %v", told, totals)
		}
		if totals[0] < size/2 || totals[0] > 2*size {
			t.Errorf("it told of %d bytes, the segments have %d", totals[0], size)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := assorted(t, mem, options(1))
	closing(t, s.d)
	for _, foreground := range []bool{true, false} {
		o := reading()
		o.Foreground = foreground
		d := open(t, mem, o)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		r, err := d.Verify(ctx, segment.Progress(func(done, total int64) {
			if done > total/4 {
				cancel(why)
			}
		}))
		cancel(nil)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || len(r.Damage) > 0 {
			t.Errorf("it ended with %v and %+v", err, r)
		}
		closing(t, d)
		if _, err := d.Verify(t.Context()); !errors.Is(err, annals.ErrClosed) {
			t.Errorf("closed, it ended with %v", err)
		}
	}
}
