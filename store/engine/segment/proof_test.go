package segment_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
)

// enveloped is the size of an envelope and a frame's header: from there on a torn frame says that the one before was
// durable.
const enveloped = 32 + frame.HeaderBytes

// rotten is where a frame rots, counted from its envelope, and whether its own envelope survives that. The envelope's sum
// covers that of the frame's header.
var rotten = map[int]bool{0: false, 9: false, 20: false, 31: false, 32: true, 100: true, 187: true, 189: false, 192: true, 300: true}

// written is the end of the last frame in a segment, given the places where they begin.
func written(b []byte) int {
	offs := envelopes(b)
	h, _ := frame.ParseHeader(b[offs[len(offs)-1]+32:])
	return offs[len(offs)-1] + enveloped + int(h.Size)
}

func TestARottenFrameBeforeATornOneIsReportedAndNotCut(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 6)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	before, last, end := offs[len(offs)-2], offs[len(offs)-1], written(b)
	first := s.pos - 3 // of the frame that rots, which has two
	for rot, own := range rotten {
		for _, kept := range []int{8, 32, 96, enveloped - 8, enveloped, enveloped + 8, 400, end - last - 8} {
			if !own && kept < enveloped {
				continue // nothing is left that tells it from a torn frame
			}
			fs := base.Kill()
			put(t, fs, name, make([]byte, end-last-kept), last+kept)
			put(t, fs, name, []byte{^b[before+rot]}, before+rot)
			want := file(t, fs, name)
			for range 2 {
				got, err := examine(fs, options(2), s.acked)
				if err != nil || !got.stopped || got.served != len(s.acked)-2 || got.recovery.CutBytes > 0 {
					t.Fatalf("byte %d is rotten, %d bytes of the next frame are there: %+v, %v", rot, kept, got, err)
				}
				loss := got.recovery.Damage[0]
				if loss.File != filepath.Base(name) || loss.Offset != int64(before) {
					t.Fatalf("byte %d is rotten, %d bytes of the next frame are there: %v, want offset %d", rot, kept, loss, before)
				}
				known := kept >= enveloped || rot >= enveloped // what precedes it, and how many events are lost
				if known && (loss.First != first || loss.Last != first+1) {
					t.Fatalf("byte %d is rotten, %d bytes of the next frame are there: %v, want positions %d and %d", rot, kept, loss, first, first+1)
				}
				if !bytes.Equal(file(t, fs, name), want) {
					t.Fatalf("byte %d is rotten, %d bytes of the next frame are there: the file was changed", rot, kept)
				}
			}
		}
	}
}

// moved is a store that was killed when its log went on in the next segment, whose first frame is written and acknowledged, and
// the name of the segment before, which is not known to be full.
func moved(t *testing.T) (left *vfs.Mem, s *script, before, next string) {
	t.Helper()
	mem := vfs.NewMem()
	s = started(t, vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind != vfs.OpSync || !strings.HasSuffix(o.Name, ".seg") || left != nil {
			return vfs.Fault{}
		}
		list := segmentsOf(t, mem)
		i := slices.Index(list, filepath.Base(o.Name))
		if i > 0 && len(envelopes(file(t, mem, o.Name))) == 1 {
			before, next = filepath.Join(storeDir, list[i-1]), o.Name
			left = mem.Kill()
		}
		return vfs.Fault{}
	}), options(1))
	for left == nil {
		s.mustAppend(t, 2, 600)
	}
	return left, s, before, next
}

func TestALossBeforeTheNextSegmentIsProvenByWhatIsInItAndFoundWhereItIs(t *testing.T) {
	t.Parallel()
	base, s, before, next := moved(t)
	if got, err := examine(base.Kill(), options(2), s.acked); err != nil || got.served != len(s.acked) || len(got.recovery.Damage) > 0 {
		t.Fatalf("undamaged: %+v, %v", got, err)
	}
	b, after := file(t, base, before), file(t, base, next)
	offs, end := envelopes(b), written(after)
	last := offs[len(offs)-1]
	for rot, own := range rotten {
		for _, kept := range []int{8, 31, 100, enveloped, enveloped + 8, 600, end - 4096} {
			whole := kept == end-4096
			fs := base.Kill()
			put(t, fs, next, make([]byte, end-4096-kept), 4096+kept)
			put(t, fs, before, []byte{^b[last+rot]}, last+rot)
			got, err := examine(fs, options(2), s.acked)
			served := len(s.acked) - 2
			if whole {
				served++
			}
			if err != nil || !got.stopped || got.served != served || got.recovery.CutBytes > 0 {
				t.Fatalf("byte %d is rotten (own envelope %v), %d bytes are in the next segment: %+v, %v", rot, own, kept, got, err)
			}
			loss := got.recovery.Damage[0]
			if loss.File != filepath.Base(before) || loss.Offset != int64(last) {
				t.Fatalf("byte %d is rotten, %d bytes are in the next segment: %v, want offset %d of %s", rot, kept, loss, last, before)
			}
			if first := s.pos - 3; kept >= enveloped && (loss.First != first || loss.Last != first+1) {
				t.Fatalf("byte %d is rotten, %d bytes are in the next segment: %v, want positions %d and %d", rot, kept, loss, first, first+1)
			}
		}
	}
}

// Its envelope says that nothing was durable after the frame before it, so what else is there never was a frame.
func TestATornFrameInTheNextSegmentProvesNothingOfWhatIsBeforeIt(t *testing.T) {
	t.Parallel()
	base, s, before, next := moved(t)
	acked := s.acked[:len(s.acked)-1]
	end := written(file(t, base, next))
	for _, kept := range []int{enveloped, enveloped + 8, end - 4096 - 8} {
		fs := base.Kill()
		put(t, fs, next, make([]byte, end-4096-kept), 4096+kept)
		put(t, fs, before, []byte("rubbish"), written(file(t, fs, before)))
		got, err := examine(fs, options(2), acked)
		if err != nil || got.stopped || got.served != len(acked) || len(got.recovery.Damage) > 0 || got.recovery.CutBytes < int64(kept) {
			t.Errorf("%d bytes of the frame are there: %+v, %v, want it cut", kept, got, err)
		}
	}
}

func asLoss(t *testing.T, err error) *annals.DataLossError {
	t.Helper()
	loss, ok := errors.AsType[*annals.DataLossError](err)
	if !ok {
		t.Fatalf("got %v, want a loss of data", err)
	}
	return loss
}

func TestTheFramesOfAMissingSegmentAreLostWithTheirPositions(t *testing.T) {
	t.Parallel()
	base, acked := filled(t, 120)
	missing := segmentsOf(t, base)[1]
	offs := envelopes(file(t, base, filepath.Join(storeDir, missing)))
	b := file(t, base, filepath.Join(storeDir, missing))
	h, err := frame.ParseHeader(b[offs[0]+32:])
	if err != nil {
		t.Fatal(err)
	}
	end, err := frame.ParseHeader(b[offs[len(offs)-1]+32:])
	if err != nil {
		t.Fatal(err)
	}
	for how, o := range bothWays() {
		fs := base.Kill()
		if err := fs.Remove(filepath.Join(storeDir, missing)); err != nil {
			t.Fatal(err)
		}
		d := open(t, fs, o)
		var losses []error
		frames := 0
		for _, err := range d.Frames(t.Context(), 1, false) {
			if err != nil {
				losses = append(losses, err)
			} else {
				frames++
			}
		}
		if frames != len(acked)-len(offs) || len(losses) != 1 {
			t.Fatalf("opened %s: %d frames, %v, want all %d but %d", how, frames, losses, len(acked), len(offs))
		}
		for _, err := range []error{losses[0], d.Recovered().Damage[0]} {
			loss := asLoss(t, err)
			if loss.File != missing || loss.First != h.FirstPosition || loss.Last != end.LastPosition() {
				t.Errorf("opened %s: got %v, want positions %d to %d of %s", how, err, h.FirstPosition, end.LastPosition(), missing)
			}
		}
		_, err := d.Record(t.Context(), h.FirstPosition)
		if loss := asLoss(t, err); loss.First != h.FirstPosition {
			t.Errorf("opened %s: got %v, want the loss of position %d", how, err, h.FirstPosition)
		}
	}
}

// Bytes prove that an acknowledged frame is rotten, but not which positions it had.
func TestAReaderReportsARottenEndAsAWriterDoes(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 6)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	before, last := offs[len(offs)-2], offs[len(offs)-1]
	put(t, base, name, make([]byte, len(b)-last-8), last+8)
	put(t, base, name, []byte{^b[before+100]}, before+100) // the header of the frame, not its envelope
	for how, o := range bothWays() {
		d := open(t, base.Kill(), o)
		if r := d.Recovered(); len(r.Damage) == 0 {
			t.Errorf("opened %s: recovered %+v of %d frames, want damage", how, r, len(s.acked)-1)
		}
	}
}
