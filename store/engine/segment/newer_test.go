package segment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

// foreign is the frame that follows, changed as a program with other ideas of the format might write it: all its sums are
// right. The first function changes the records of two events, the second the header.
func (s *script) foreign(t *testing.T, body func(records []byte) []byte, header func(h []byte)) []byte {
	t.Helper()
	f, h, err := s.build(2, 50)
	if err != nil {
		t.Fatal(err)
	}
	f = append(f[:frame.HeaderBytes:frame.HeaderBytes], body(bytes.Clone(f[frame.HeaderBytes:]))...)
	header(f)
	le, castagnoli := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	crc, records, root := uint32(0), uint32(0), sha256.New()
	for _, r := range frame.Records(f) {
		p, revision := annals.Position(le.Uint64(r[8:])), annals.Revision(le.Uint64(r[16:]))
		frame.Seal(r, p, revision, h.Time, h.Store)
		crc = crc32.Update(crc, castagnoli, r[4:8])
		hash := frame.BodyHash(r)
		root.Write(hash[:])
		root.Write(r[16:24])
		records++
	}
	if f[11] != 0 || f[12] != 0 {
		crc = crc32.Checksum(f[frame.HeaderBytes:], castagnoli)
	}
	root.Sum(f[120:120])
	le.PutUint32(f[68:], records)
	le.PutUint32(f[80:], uint32(len(f)-frame.HeaderBytes))
	le.PutUint32(f[84:], uint32(len(f)-frame.HeaderBytes))
	le.PutUint32(f[152:], crc)
	le.PutUint32(f[156:], crc32.Checksum(f[:156], castagnoli))
	return f
}

func unchanged(records []byte) []byte { return records }

func TestWhatANewerProgramWroteIsRefusedByNameAndNeverCut(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		body   func([]byte) []byte
		header func([]byte)
	}{
		"a record of an unknown kind":    {func(r []byte) []byte { r[64] = 16; return r }, func([]byte) {}},
		"a record with unknown flags":    {func(r []byte) []byte { r[65] = 0xf0; return r }, func([]byte) {}},
		"a frame of an unknown kind":     {unchanged, func(h []byte) { h[10] = 2 }},
		"a frame with an unknown codec":  {func([]byte) []byte { return []byte("compressed, in 32 bytes.........") }, func(h []byte) { h[11] = 1 }},
		"a frame with unknown flags":     {unchanged, func(h []byte) { h[36] = 1 }},
		"a frame with reserved bytes":    {unchanged, func(h []byte) { h[13] = 1 }},
		"a frame with a longer header":   {unchanged, func(h []byte) { h[8] = 200 }},
		"a frame with an unknown cipher": {func([]byte) []byte { return []byte("encrypted, in 32 bytes..........") }, func(h []byte) { h[12] = 1 }},
	} {
		for _, closed := range []bool{false, true} {
			mem := vfs.NewMem()
			s := started(t, mem, options(1))
			for range 3 {
				s.mustAppend(t, 1, 100)
			}
			f := s.foreign(t, c.body, c.header)
			if _, err := frame.Verify(f, s.d.Identity().Store); err == nil {
				t.Fatalf("%s: this program understands it", what)
			}
			if closed {
				closing(t, s.d)
			}
			left := mem.Kill()
			name := active(t, left)
			b := file(t, left, name)
			end := len(bytes.TrimRight(b, "\x00"))
			end += -end & 7
			put(t, left, name, segment.Envelop(b, f, s.head.Seq+1, end), end)
			want := file(t, left, name)
			for how, o := range bothWays() {
				if _, err := segment.Open(t.Context(), left, storeDir, o); !errors.Is(err, segment.ErrNewerFormat) {
					t.Errorf("%s, opened %s, closed %v: got %v, want ErrNewerFormat", what, how, closed, err)
				}
				if !bytes.Equal(file(t, left, name), want) {
					t.Errorf("%s, opened %s, closed %v: the file was changed", what, how, closed)
				}
			}
		}
	}
}

// Acknowledged by a newer program, and rotten since: what follows proves that it was there, understood or not.
func TestWhatANewerProgramWroteProvesThatTheFrameBeforeWasDurable(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 3 {
		s.mustAppend(t, 1, 100)
	}
	f := s.foreign(t, unchanged, func(h []byte) { h[10] = 2 })
	left := mem.Kill()
	name := active(t, left)
	b := file(t, left, name)
	end := len(bytes.TrimRight(b, "\x00"))
	end += -end & 7
	put(t, left, name, segment.Envelop(b, f, s.head.Seq+1, end), end)
	for _, rot := range []int{7, 20, 100, 200} { // in the envelope, the header, a record
		fs := left.Kill()
		off := envelopes(b)[2]
		put(t, fs, name, []byte{^b[off+rot]}, off+rot)
		want := file(t, fs, name)
		d, err := segment.Open(t.Context(), fs, storeDir, options(2))
		switch {
		case err != nil && !errors.Is(err, segment.ErrNewerFormat):
			t.Errorf("byte %d: got %v, want ErrNewerFormat, or damage", rot, err)
		case err == nil:
			if r := d.Recovered(); len(r.Damage) == 0 || r.CutBytes > 0 {
				t.Errorf("byte %d: recovered %+v, want damage", rot, r)
			}
			closing(t, d)
		}
		if !bytes.Equal(file(t, fs, name), want) {
			t.Errorf("byte %d: the file was changed", rot)
		}
	}
}

func TestRecordsThatMayBeSkippedHaveNoPosition(t *testing.T) {
	t.Parallel()
	for before := range 3 { // how many events precede it
		mem := vfs.NewMem()
		s := started(t, mem, options(1))
		s.mustAppend(t, 1, 10)
		f := s.foreign(t, func(records []byte) []byte {
			size := len(records) / 2
			skippable := bytes.Clone(records[:size])
			skippable[64] = 200
			return bytes.Join([][]byte{records[:before*size], skippable, records[before*size:]}, nil)
		}, func([]byte) {})
		h, err := frame.Verify(f, s.d.Identity().Store)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.d.CompareAppend(t.Context(), s.head, f); err != nil {
			t.Fatal(err)
		}
		s.head, s.pos = h.Ref(), h.LastPosition()
		s.acked = append(s.acked, s.head)
		check := func(d *segment.Dir) {
			t.Helper()
			for p := annals.Position(1); p <= s.pos; p++ {
				r, err := d.Record(t.Context(), p)
				if err != nil || r.Position != p || r.ID != eventAt(p, 0).ID {
					t.Fatalf("behind %d events: record %d is %v, %v", before, p, r.Position, err)
				}
			}
			next := annals.Position(1)
			for r, err := range d.Scan(t.Context(), 0, s.pos) {
				if err != nil || r.Position != next {
					t.Fatalf("behind %d events: a scan yields %d, %v, want %d", before, r.Position, err, next)
				}
				next++
			}
			if report, err := d.Verify(t.Context()); err != nil || len(report.Damage) > 0 || report.Events != uint64(s.pos) {
				t.Errorf("behind %d events: verified %+v, %v", before, report, err)
			}
		}
		check(s.d)
		check(open(t, mem.Kill(), options(2)))
		for range 40 {
			s.mustAppend(t, 1, 600) // its segment is sealed
		}
		check(s.d)
		closing(t, s.d)
		check(open(t, mem, options(3)))
	}
}
