package segment_test

import (
	"bytes"
	"errors"
	"flag"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

var (
	flipBytesFlag = flag.Int("flipbytes", flipBytes, "of how large a log to flip every bit")
	opensFlag     = flag.Int("opens", flipOpens, "how many flipped bits to open the whole store with")
)

// part is some bytes that are verified together.
type part struct {
	b []byte
	// verifies is what a read of them comes to.
	verifies func(b []byte) bool
}

// TestNoFlippedBitIsServed flips each bit of a log in turn and reads what it is in as a read of an event does: the
// envelope, the header of the frame, or the record alone. None may verify.
func TestNoFlippedBitIsServed(t *testing.T) {
	t.Parallel()
	log, acked := logOf(t, *flipBytesFlag)
	var parts []part
	left := *flipBytesFlag
	for _, name := range segmentsOf(t, log) {
		parts = append(parts, partsOf(t, file(t, log, filepath.Join(storeDir, name)), &left)...)
	}
	var flips, silent atomic.Int64
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(parts); i += workers {
				p := parts[i]
				for bit := range len(p.b) * 8 {
					p.b[bit/8] ^= 1 << (bit % 8)
					if p.verifies(p.b) {
						silent.Add(1)
					}
					p.b[bit/8] ^= 1 << (bit % 8)
				}
				flips.Add(int64(len(p.b) * 8))
			}
		})
	}
	wg.Wait()
	if silent.Load() > 0 {
		t.Errorf("%d of %d flipped bits go unnoticed", silent.Load(), flips.Load())
	}
	opened := openFlipped(t, log, acked)
	t.Logf("lane flips: flips=%d detected=%d silent=%d opens=%d wrong=0", flips.Load(), flips.Load()-silent.Load(), silent.Load(), opened)
}

// logOf is a closed store with at least so many bytes of frames.
func logOf(t *testing.T, size int) (*vfs.Mem, []frame.Ref) {
	t.Helper()
	fs := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 1 << 20
	s := started(t, fs, o)
	for n := 0; n < size; {
		const events, bytes = 6, 250
		s.mustAppend(t, events, bytes)
		n += events * bytes
	}
	closing(t, s.d)
	return fs, s.acked
}

// partsOf cuts the frames of a segment into what is verified alone, until nothing is left to take.
func partsOf(t *testing.T, b []byte, left *int) []part {
	t.Helper()
	var parts []part
	salt := [16]byte(b[56:72])
	for _, off := range envelopes(b) {
		if *left <= 0 {
			break
		}
		begin := off + 32
		h, err := frame.ParseHeader(b[begin:])
		if err != nil {
			t.Fatal(err)
		}
		f := b[begin : begin+frame.HeaderBytes+int(h.Size)]
		// The envelope's sum covers that of the frame's header, and is checked with the frame behind it.
		with := bytes.Clone(b[off : begin+len(f)])
		parts = append(parts,
			part{with[:32], func([]byte) bool { return segment.EnvelopeVerifies(with, salt, int64(off)) }},
			part{f[:frame.HeaderBytes], func(b []byte) bool {
				got, err := frame.ParseHeader(b)
				return err == nil && got == h
			}},
		)
		for _, r := range frame.Records(f) {
			parts = append(parts, part{r, func(b []byte) bool {
				_, _, err := frame.DecodeRecord(b, h.Store)
				return err == nil
			}})
		}
		*left -= len(with)
	}
	return parts
}

// openFlipped opens the store with some of its bits flipped, one at a time, and compares what it serves.
func openFlipped(t *testing.T, clean *vfs.Mem, acked []frame.Ref) int {
	t.Helper()
	name := filepath.Join(storeDir, segmentsOf(t, clean)[0])
	b := file(t, clean, name)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(*opensFlag); i = next.Add(1) {
				bit := seeded(uint64(i)).IntN(len(b) * 8)
				fs := clean.Kill()
				f, err := fs.OpenReadWrite(name)
				if err == nil {
					_, err = f.WriteAt([]byte{b[bit/8] ^ 1<<(bit%8)}, int64(bit/8))
					err = errors.Join(err, f.Sync(), f.Close())
				}
				if err == nil {
					o := options(3)
					o.SegmentBytes, o.ReadOnly = 1<<20, i%8 != 0
					_, err = examine(fs, o, acked)
				}
				if err != nil {
					t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
				}
			}
		})
	}
	wg.Wait()
	return *opensFlag
}
