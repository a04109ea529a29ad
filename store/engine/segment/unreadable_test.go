package segment_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

// sector is how much a device fails to read at once.
const sector = 4096

// badSector is a decision: the sector of a file that holds this byte cannot be read. What precedes it in a read can.
func badSector(name string, at int) func(vfs.Op) vfs.Fault {
	path, from := filepath.Join(storeDir, name), int64(at-at%sector)
	return func(o vfs.Op) vfs.Fault {
		if o.Kind != vfs.OpRead || o.Name != path || o.Offset >= from+sector || o.Offset+int64(o.Bytes) <= from {
			return vfs.Fault{}
		}
		return vfs.Fault{Err: syscall.EIO, Read: int(max(0, from-o.Offset))}
	}
}

// inSector is which of the frames of a segment lie in the sector that holds this byte, at least in part.
func inSector(b []byte, at int) (frames []frame.Header) {
	from := at - at%sector
	for _, off := range envelopes(b) {
		h, _ := frame.ParseHeader(b[off+32:])
		if off < from+sector && off+32+frame.HeaderBytes+int(h.Size) > from {
			frames = append(frames, h)
		}
	}
	return frames
}

// served counts the frames that are, all of which have to be those that were acknowledged.
func served(t *testing.T, d *segment.Dir, acked []frame.Ref) (n int) {
	t.Helper()
	for f, err := range d.Frames(t.Context(), 1, false) {
		if errors.Is(err, annals.ErrDataLoss) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.Verify(f, d.Identity().Store)
		if err != nil || h.Seq > uint64(len(acked)) || h.Ref() != acked[h.Seq-1] {
			t.Errorf("frame %d is not the one that was written: %v", h.Seq, err)
		}
		n++
	}
	return n
}

func TestOneUnreadableSectorIsReportedAndTheRestIsServed(t *testing.T) {
	t.Parallel()
	base, acked := filled(t, 120)
	sealed := segmentsOf(t, base)[1]
	b := file(t, base, filepath.Join(storeDir, sealed))
	footer := bytes.Index(b, []byte("ANNLFTR1"))
	manifests := manifestsOf(t, base)
	newest := manifests[len(manifests)-1]
	for what, c := range map[string]struct {
		name string
		at   int
		lost []frame.Header
	}{
		"the header of a sealed segment":  {sealed, 100, nil},
		"the body of a sealed segment":    {sealed, 2*sector + 77, inSector(b, 2*sector+77)},
		"the footer of a sealed segment":  {sealed, footer + 20, inSector(b, footer+20)},
		"the trailer of a sealed segment": {sealed, len(b) - 10, inSector(b, len(b)-10)},
		"the newest manifest":             {newest, 10, nil},
	} {
		for how, o := range bothWays() {
			fs := base.Kill()
			d := open(t, vfs.NewFaulty(fs, badSector(c.name, c.at)), o)
			if got := served(t, d, acked); got != len(acked)-len(c.lost) {
				t.Errorf("%s, opened %s: %d frames of %d are served, want all but %d", what, how, got, len(acked), len(c.lost))
			}
			report, err := d.Verify(t.Context())
			if err != nil || len(report.Damage) == 0 || d.Recovered().CutBytes > 0 {
				t.Errorf("%s, opened %s: verified %+v, %v, recovered %+v, want damage", what, how, report, err, d.Recovered())
			}
			closing(t, d)
			// What the device takes back is there again, and nothing was made of its absence.
			if got, err := examine(fs, options(3), acked); err != nil || got.served != len(acked) || len(got.recovery.Damage) > 0 {
				t.Errorf("%s, which can be read again, after it was opened %s: %+v, %v", what, how, got, err)
			}
		}
	}
}

func TestWhatCannotBeReadAtTheEndOfTheLogIsNeverCut(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 27)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	for at := 0; at <= offs[len(offs)-1]; at += sector {
		fs := base.Kill()
		disk := vfs.NewFaulty(fs, badSector(filepath.Base(name), at))
		if _, err := segment.Open(t.Context(), disk, storeDir, options(2)); !errors.Is(err, syscall.EIO) {
			t.Errorf("opened to write, without the sector at %d: got %v, want the I/O error", at, err)
		}
		d := open(t, disk, reading())
		if got, lost := served(t, d, s.acked), len(inSector(b, at)); got != len(s.acked)-lost {
			t.Errorf("opened to read, without the sector at %d, which has %d frames: %d of %d are served", at, lost, got, len(s.acked))
		}
		closing(t, d)
		if !bytes.Equal(file(t, fs, name), b) {
			t.Errorf("without the sector at %d the file was changed", at)
		}
		if got, err := examine(fs, options(2), s.acked); err != nil || got.stopped || got.served != len(s.acked) {
			t.Errorf("when the sector at %d can be read again: %+v, %v", at, got, err)
		}
	}
}

// Much is read ahead; that a part of it cannot be read says nothing of the part that is wanted.
func TestABadSectorTakesOnlyTheFramesThatAreInIt(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 1 << 20
	s := started(t, mem, o)
	for range 200 {
		s.mustAppend(t, 1, 600)
	}
	closing(t, s.d)
	name := segmentsOf(t, mem)[0]
	b := file(t, mem, filepath.Join(storeDir, name))
	at := envelopes(b)[120]
	broken, bad := false, badSector(name, at)
	d := open(t, vfs.NewFaulty(mem, func(op vfs.Op) vfs.Fault {
		if !broken {
			return vfs.Fault{}
		}
		return bad(op)
	}), reading())
	broken = true
	lost := inSector(b, at)
	first, last := lost[0].FirstPosition, lost[len(lost)-1].LastPosition()
	served := 0
	for _, err := range d.Frames(t.Context(), 1, false) {
		loss, ok := errors.AsType[*annals.DataLossError](err)
		switch {
		case err == nil:
			served++
		case !ok || loss.First != first || loss.Last != last:
			t.Errorf("got %v, want the loss of positions %d to %d", err, first, last)
		}
	}
	if served != len(s.acked)-len(lost) {
		t.Errorf("%d frames are served, want all %d but %d", served, len(s.acked), len(lost))
	}
	for _, part := range [][2]annals.Position{{0, first - 1}, {last, s.pos}} {
		next := part[0] + 1
		for r, err := range d.Scan(t.Context(), part[0], part[1]) {
			if err != nil || r.Position != next {
				t.Fatalf("scanning beside the sector: position %d, %v, want %d", r.Position, err, next)
			}
			next++
		}
		if next != part[1]+1 {
			t.Errorf("scanning after %d ended before %d, want %d", part[0], next, part[1]+1)
		}
	}
}

// What is read ahead of a record may not be readable, and is not wanted.
func TestARecordBeforeABadSectorIsServed(t *testing.T) {
	t.Parallel()
	mem, _ := filled(t, 120)
	name := segmentsOf(t, mem)[1]
	b := file(t, mem, filepath.Join(storeDir, name))
	d := open(t, vfs.NewFaulty(mem, badSector(name, 8192)), reading())
	for _, off := range envelopes(b) {
		h, _ := frame.ParseHeader(b[off+32:])
		if off+32+frame.HeaderBytes+int(h.Size) > 8192 {
			break
		}
		for p := h.FirstPosition; p <= h.LastPosition(); p++ {
			if _, err := d.Record(t.Context(), p); err != nil {
				t.Errorf("record %d: %v", p, err)
			}
		}
	}
}

func TestAReaderReportsThatTheEndCannotBeRead(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 27)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	disk := vfs.NewFaulty(base, badSector(filepath.Base(name), offs[len(offs)-1]))
	d := open(t, disk, reading())
	report, err := d.Verify(t.Context())
	if n := served(t, d, s.acked); err != nil || n == len(s.acked) || len(d.Recovered().Damage)+len(report.Damage) == 0 {
		t.Errorf("%d frames of %d are served; recovered %+v, verified %+v, %v: want damage", n, len(s.acked), d.Recovered(), report, err)
	}
}
