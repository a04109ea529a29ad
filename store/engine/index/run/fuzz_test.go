package run_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

// bases are small runs of several shapes.
func bases(tb testing.TB) (files [][]byte) {
	tb.Helper()
	empty := &index{meta: meta(1, 1)}
	single := &index{meta: meta(1, 9), lists: []list{{List: run.List{Term: 1 << 60, Filter: true}, positions: []uint32{3}}}}
	for _, x := range []*index{empty, single, tiny()} {
		files = append(files, x.build(tb, false), x.build(tb, true))
	}
	return files
}

// FuzzRun gives a reader any bytes: those of a run with other values at some places, or none of a run at all. It may answer
// anything, or that they are damaged; it must not panic, go on for ever, go backwards, or take memory that the file does not
// account for.
func FuzzRun(f *testing.F) {
	files := bases(f)
	for i := range files {
		f.Add(byte(i), []byte{})
		f.Add(byte(i), []byte{0xfa, 0x0f, 0, 255, 0xf9, 0x0f, 0, 1}) // count and detail of the first block
	}
	f.Add(byte(len(files)), []byte("ANNLRUN1"))
	f.Fuzz(func(t *testing.T, base byte, edits []byte) {
		file := edits
		if i := int(base) % (len(files) + 1); i < len(files) {
			file = slices.Clone(files[i])
			for ; len(edits) >= 4; edits = edits[4:] {
				at := int(edits[0]) | int(edits[1])<<8 | int(edits[2])<<16
				file[at%len(file)] = edits[3]
			}
		}
		run.Reseal(file, true) // else nothing that is changed is ever looked at
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		askEverything(t, file)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("%d bytes of memory for a file of %d", grown, len(file))
		}
	})
}

// What a fuzzer needs long to find is tried at once: a wrong value where trees, sizes and places are.
func TestWrongValuesWithRightChecksumsDoNoHarm(t *testing.T) {
	t.Parallel()
	files := bases(t)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for n := range 1 + 2000/flipStride {
		file := slices.Clone(files[rnd.IntN(len(files))])
		for range 1 + rnd.IntN(4) {
			at := rnd.IntN(len(file))
			if rnd.IntN(2) == 0 { // blocks say what is in them at the beginning and at the end
				at += [...]int{rnd.IntN(40), rnd.IntN(240), blockBytes - 8 + rnd.IntN(8)}[rnd.IntN(3)] - at%blockBytes
			}
			if rnd.IntN(2) == 0 {
				file[at] = byte(rnd.Uint32())
			} else {
				file[at] ^= 1 << rnd.IntN(8)
			}
		}
		run.Reseal(file, true)
		if askEverything(t, file); t.Failed() {
			t.Fatalf("seed %d, %d", seed, n)
		}
	}
}

func askEverything(t *testing.T, file []byte) {
	t.Helper()
	verifies := func(err error) {
		if err != nil && !errors.Is(err, run.ErrDamaged) && !errors.Is(err, run.ErrNewerFormat) && !errors.Is(err, run.ErrMisuse) {
			t.Errorf("got %v", err)
		}
	}
	r, err := run.Open(bytes.NewReader(file), int64(len(file)), run.ReadOptions{})
	verifies(err)
	if err != nil {
		return
	}
	sound := r.Check(t.Context())
	verifies(sound)
	terms := []uint64{0, 1, 1 << 60, math.MaxUint64}
	for e, err := range r.Terms() {
		verifies(err)
		terms = append(terms, e.Term)
	}
	for i, term := range terms {
		if i > 400 {
			break
		}
		_, err := r.MayHave(term)
		verifies(err)
		e, found, err := r.Find(term)
		verifies(err)
		if !found || err != nil {
			continue
		}
		for index := uint32(0); index < e.Count; index += 1 + e.Count/8 {
			at, err := r.At(e, index)
			verifies(err)
			_, err = r.Rank(e, at)
			verifies(err)
		}
		for _, backwards := range []bool{false, true} {
			c := r.Cursor(e, 0, math.MaxUint64, backwards)
			last := uint64(0)
			for n := range uint64(500) {
				key := c.Seek(last)
				if key < last {
					t.Fatalf("seek %d gave %d", last, key)
				}
				if key == run.Done {
					break
				}
				last = key + 1 + n%7*n
			}
			verifies(c.Err())
		}
	}
	_, _, err = r.Until(0)
	verifies(err)
	m := r.Meta()
	_, _, err = r.Until(m.FirstTime + (m.LastTime-m.FirstTime)/2)
	verifies(err)
	var out bytes.Buffer
	_, err = run.Merge(t.Context(), &out, r)
	verifies(err)
	if sound == nil && err != nil {
		t.Errorf("a file that passes the check cannot be copied: %v", err)
	}
}

// FuzzGroup compares a group with what is decoded again, and lets no bytes decode to what does not ascend.
func FuzzGroup(f *testing.F) {
	f.Add([]byte{}, uint32(5), uint8(1))
	f.Add([]byte{31, 255, 255, 255, 255}, run.None, uint8(2))
	f.Add([]byte{32, 2, 1, 128}, uint32(0), uint8(2))
	f.Add([]byte{33, 0, 1, 128, 1}, uint32(9), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, before uint32, n uint8) {
		group := make([]uint32, n%128+1)
		padded := append(slices.Clone(b), make([]byte, 8)...)
		size := run.DecodeGroup(group, padded, len(b), before)
		if size < 0 || size > len(b) {
			t.Fatalf("%d bytes of %d", size, len(b))
		}
		if size == 0 {
			return
		}
		previous := int64(before)
		if before == run.None {
			previous = -1
		}
		for _, p := range group {
			if int64(p) <= previous {
				t.Fatalf("%v above %d does not ascend", group, before)
			}
			previous = int64(p)
		}
		if group[len(group)-1] >= run.EventsMax {
			return // not written
		}
		again := run.AppendGroup(nil, before, group)
		if len(again) > size {
			t.Errorf("%v took %d bytes, and %d when encoded again", group, size, len(again))
		}
		decoded := make([]uint32, len(group))
		if run.DecodeGroup(decoded, append(slices.Clone(again), make([]byte, 8)...), len(again), before) != len(again) ||
			!slices.Equal(decoded, group) {
			t.Errorf("%v became %v", group, decoded)
		}
	})
}
