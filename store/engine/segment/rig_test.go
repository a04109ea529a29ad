package segment_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

var update = flag.Bool("update", false, "write the golden files anew: a change of format")

const (
	storeDir = "data/store"
	small    = 16 << 10
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)

// random is a source that a seed determines.
type random struct{ *rand.Rand }

func seeded(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 17))} }

func (r random) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

func options(seed uint64) segment.Options {
	return segment.Options{SegmentBytes: small, Random: seeded(seed), Foreground: true}
}

// reading is options that write nothing.
func reading() segment.Options {
	return segment.Options{SegmentBytes: small, ReadOnly: true, Foreground: true}
}

// bothWays is how a store can be opened.
func bothWays() map[string]segment.Options {
	return map[string]segment.Options{"to write": options(2), "to read": reading()}
}

// open opens the store and closes it in the end.
func open(t *testing.T, fs vfs.FS, o segment.Options) *segment.Dir {
	t.Helper()
	d, err := segment.Open(t.Context(), fs, storeDir, o)
	if err != nil {
		t.Fatalf("opening failed: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// script writes frames whose content follows from their number, and remembers the hashes of those that were durable.
type script struct {
	d    *segment.Dir
	head frame.Ref
	pos  annals.Position
	// acked are the frames that were acknowledged, or that were served after an opening.
	acked []frame.Ref
}

func write(d *segment.Dir) (*script, error) {
	s := &script{d: d, pos: d.Recovered().Positions}
	for f, err := range d.Frames(context.Background(), 1, false) {
		if err != nil {
			return s, err
		}
		h, err := frame.Verify(f, d.Identity().Store)
		if err != nil {
			return s, err
		}
		s.acked = append(s.acked, h.Ref())
	}
	head, _, err := d.Head(context.Background())
	s.head = head
	return s, err
}

// build makes the frame that follows.
func (s *script) build(events, size int) ([]byte, frame.Header, error) {
	_, epoch, err := s.d.Head(context.Background())
	if err != nil {
		return nil, frame.Header{}, err
	}
	id := s.d.Identity()
	seq := s.head.Seq + 1
	b := frame.NewBuilder(frame.Header{
		Store: id.Store, Incarnation: id.Incarnation, Epoch: epoch, Seq: seq, FirstPosition: s.pos + 1,
		Time: at.Add(time.Duration(seq)), PrevHash: s.head.Hash,
	}, nil)
	for i := range events {
		p := s.pos + annals.Position(i) + 1
		e := eventAt(p, size)
		r := frame.AppendBody(nil, &e, [16]byte{byte(seq), byte(epoch)}, 0)
		b.Add(r, frame.BodyHash(r), annals.Revision(p-1))
	}
	f, h := b.Finish()
	return f, h, nil
}

// eventAt is the event at a position.
func eventAt(p annals.Position, size int) annals.Event {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(uint64(p)*31 + uint64(i)*7)
	}
	return annals.Event{
		ID: annals.MakeID(at, [10]byte{byte(p), byte(p >> 8)}), Type: "Happened", Stream: "thing-1",
		Tags: []string{fmt.Sprintf("n:%d", p), "thing:1"}, Version: 1, Data: data,
	}
}

func (s *script) append(events, size int) error {
	f, h, err := s.build(events, size)
	if err != nil {
		return err
	}
	if err := s.d.CompareAppend(context.Background(), s.head, f); err != nil {
		return err
	}
	s.head, s.pos = h.Ref(), h.LastPosition()
	s.acked = append(s.acked, s.head)
	return nil
}

func (s *script) mustAppend(t *testing.T, events, size int) {
	t.Helper()
	if err := s.append(events, size); err != nil {
		t.Fatalf("appending after frame %d failed: %v", s.head.Seq, err)
	}
}

func closing(t *testing.T, d *segment.Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func started(t *testing.T, fs vfs.FS, o segment.Options) *script {
	t.Helper()
	s, err := write(open(t, fs, o))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a closed store of so many frames, and their hashes.
func filled(t *testing.T, frames int) (*vfs.Mem, []frame.Ref) {
	t.Helper()
	fs := vfs.NewMem()
	s := started(t, fs, options(1))
	for i := range frames {
		s.mustAppend(t, 1+i%3, 100+i*37%500)
	}
	if err := s.d.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, s.acked
}

// holds checks that the frames of d begin with those, that each record is what was written, and that there is no more
// than one frame that nobody was told of.
func holds(d *segment.Dir, acked []frame.Ref) error {
	i := 0
	position := annals.Position(0)
	for f, err := range d.Frames(context.Background(), 1, false) {
		if err != nil {
			return fmt.Errorf("after frame %d: %w", i, err)
		}
		h, err := frame.Verify(f, d.Identity().Store)
		if err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
		if i < len(acked) && h.Ref() != acked[i] {
			return fmt.Errorf("frame %d is not the one that was acknowledged", i+1)
		}
		i++
		for _, b := range frame.Records(f) {
			position++
			if err := holdsRecord(d, position, b); err != nil {
				return err
			}
		}
	}
	if i < len(acked) {
		return fmt.Errorf("%d frames of %d that were acknowledged", i, len(acked))
	}
	if got := d.Recovered().Positions; got > position {
		return fmt.Errorf("position %d is said to be recovered, the last one is %d", got, position)
	}
	return nil
}

func holdsRecord(d *segment.Dir, p annals.Position, b []byte) error {
	want, _, err := frame.DecodeRecord(b, d.Identity().Store)
	if err != nil {
		return err
	}
	got, err := d.Record(context.Background(), p)
	if err != nil {
		return fmt.Errorf("record %d: %w", p, err)
	}
	if got.Position != p || !got.SameContent(want.Event) || string(got.Data) != string(eventAt(p, len(got.Data)).Data) {
		return fmt.Errorf("record %d is another than was written", p)
	}
	return nil
}

// file is the content of a file.
func file(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return b
}

// change opens a file to be damaged, durably.
func change(t *testing.T, fs vfs.FS, name string, do func(f vfs.File) error) {
	t.Helper()
	f, err := fs.OpenReadWrite(name)
	if err == nil {
		err = errors.Join(do(f), f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	list, err := fs.List(storeDir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// segmentsOf names the files of the segments.
func segmentsOf(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, fs), func(n string) bool { return !strings.HasSuffix(n, ".seg") })
}

// manifestsOf names the manifests.
func manifestsOf(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, fs), func(n string) bool {
		return !strings.HasPrefix(n, "MANIFEST-") || strings.HasSuffix(n, ".tmp")
	})
}

// put writes bytes at an offset of a file, durably.
func put(t *testing.T, fs vfs.FS, name string, b []byte, off int) {
	t.Helper()
	change(t, fs, name, func(f vfs.File) error {
		_, err := f.WriteAt(b, int64(off))
		return err
	})
}

// envelopes finds where the frames of a segment begin.
func envelopes(b []byte) []int {
	var offs []int
	for off := 4096; off+32 <= len(b) && string(b[off:off+8]) == "ANNLENV1"; {
		offs = append(offs, off)
		off += 32 + int(binary.LittleEndian.Uint32(b[off+8:]))
	}
	return offs
}
