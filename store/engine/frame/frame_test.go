package frame_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

var update = flag.Bool("update", false, "write the golden file anew: a change of format")

var (
	store = frame.StoreID{0xa1, 0xb2, 0xc3, 0xd4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	at    = time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
)

func events() []annals.Event {
	return []annals.Event{
		{ID: annals.MakeID(at, [10]byte{1}), Type: "OrderPlaced", Stream: "order-42", Version: 1, Tags: []string{"order:42", "product:tea"}, Data: []byte(`{"total":1}`), Metadata: []byte(`{"actor":"ann"}`)},
		{ID: annals.MakeID(at, [10]byte{2}), Type: "T", Version: 7},
		{ID: annals.MakeID(at, [10]byte{3}), Type: "Blob", Version: 1, ContentType: "application/octet-stream", Data: []byte{0, 1, 2}},
		{ID: annals.MakeID(at, [10]byte{4}), Type: "$sys", Version: 1, ContentType: "image/png", Data: []byte("png")},
	}
}

func revisionOf(e annals.Event) annals.Revision {
	if e.Stream == "" {
		return annals.NoRevision
	}
	return 3
}

func build(seq uint64, first annals.Position, prev [32]byte) ([]byte, frame.Header) {
	b := frame.NewBuilder(frame.Header{Store: store, Incarnation: 1, Epoch: 2, Seq: seq, FirstPosition: first, Time: at, PrevHash: prev}, nil)
	for i, e := range events() {
		record := frame.AppendBody(nil, &e, [16]byte{byte(i), 9}, frame.FlagLast)
		b.Add(record, frame.BodyHash(record), revisionOf(e))
	}
	return b.Finish()
}

func TestAFrameHoldsWhatWasPutIn(t *testing.T) {
	t.Parallel()
	f, made := build(5, 100, [32]byte{1})
	read, err := frame.Verify(f, store)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, made) || read.LastPosition() != 103 || read.Ref().Seq != 5 {
		t.Errorf("read the header %+v, made %+v", read, made)
	}
	i := 0
	for _, b := range frame.Records(f) {
		r, size, err := frame.DecodeRecord(b, store)
		if err != nil || size != len(b) {
			t.Fatal(err)
		}
		want := annals.Recorded{Event: events()[i], Position: annals.Position(100 + i), Revision: revisionOf(events()[i]), Time: at}
		if !reflect.DeepEqual(r.Recorded, want) {
			t.Errorf("record %d: got %+v, want %+v", i, r.Recorded, want)
		}
		i++
	}
	if i != len(events()) {
		t.Errorf("%d records, want %d", i, len(events()))
	}
}

func TestTheHashDependsOnEveryPartAndNotOnPlaceOfTheFile(t *testing.T) {
	t.Parallel()
	_, a := build(1, 1, [32]byte{})
	_, same := build(1, 1, [32]byte{})
	if a.Hash != same.Hash {
		t.Error("the same frame has two hashes")
	}
	for name, other := range map[string]frame.Header{
		"seq":      second(build(2, 1, [32]byte{})),
		"position": second(build(1, 2, [32]byte{})),
		"previous": second(build(1, 1, [32]byte{1})),
	} {
		if other.Hash == a.Hash {
			t.Errorf("the hash does not depend on %s", name)
		}
	}
}

func second(_ []byte, h frame.Header) frame.Header { return h }

func TestEveryFlippedBitIsDetected(t *testing.T) {
	t.Parallel()
	f, _ := build(1, 1, [32]byte{})
	for bit := range len(f) * 8 {
		f[bit/8] ^= 1 << (bit % 8)
		if _, err := frame.Verify(f, store); err == nil {
			t.Errorf("bit %d of byte %d was flipped, and the frame verifies", bit%8, bit/8)
		}
		f[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(f) {
		if _, err := frame.Verify(f[:n], store); err == nil {
			t.Errorf("cut to %d bytes, the frame verifies", n)
		}
	}
}

func TestBytesOfAnotherStoreAndZeroesDoNotVerify(t *testing.T) {
	t.Parallel()
	f, _ := build(1, 1, [32]byte{})
	if _, err := frame.Verify(f, frame.StoreID{1}); err == nil {
		t.Error("a frame of another store verifies")
	}
	if _, _, err := frame.DecodeRecord(f[frame.HeaderBytes:], frame.StoreID{1}); !errors.Is(err, frame.ErrChecksum) {
		t.Errorf("a record of another store: got %v, want ErrChecksum", err)
	}
	if _, _, err := frame.DecodeRecord(make([]byte, 4096), store); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("zeroes as a record: got %v, want ErrMalformed", err)
	}
	if _, err := frame.ParseHeader(make([]byte, 4096)); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("zeroes as a frame: got %v, want ErrMalformed", err)
	}
}

// reseal gives a record with changed bytes a right checksum, as a program with other ideas of the format would.
func reseal(change func(record []byte)) []byte {
	e := events()[0]
	record := frame.AppendBody(nil, &e, [16]byte{}, 0)
	change(record)
	frame.Seal(record, 1, 3, at, store)
	return record
}

func TestRecordsThatNobodyWritesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"an unknown kind":             {func(r []byte) { r[64] = 7 }, frame.ErrUnknownKind},
		"a kind that may be skipped":  {func(r []byte) { r[64] = 200 }, frame.ErrSkippable},
		"unknown flags":               {func(r []byte) { r[65] = 0xfc }, frame.ErrMalformed},
		"an unknown content type":     {func(r []byte) { r[66] = 7 }, frame.ErrMalformed},
		"a content type without name": {func(r []byte) { r[66] = 255 }, frame.ErrMalformed},
		"a stream cut off":            {func(r []byte) { r[70] = 0 }, frame.ErrMalformed},
		"a tag too many":              {func(r []byte) { r[67]++ }, frame.ErrMalformed},
		"a huge length":               {func(r []byte) { r[83] = 0xff }, frame.ErrMalformed},
		"tags out of order":           {func(r []byte) { copy(r[88+11+8+2:], "zrder") }, frame.ErrMalformed},
	} {
		for how, decode := range map[string]func([]byte) error{
			"shared": func(b []byte) error { _, _, err := frame.DecodeRecord(b, store); return err },
			"owned":  func(b []byte) error { _, _, err := frame.NewDecoder(store, true).Decode(b); return err },
		} {
			if err := decode(reseal(c.change)); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: got %v, want %v", name, how, err, c.want)
			}
		}
	}
	r, _, err := frame.DecodeRecord(reseal(func(r []byte) { r[86] = 0 }), store)
	if err != nil || r.Version != 1 {
		t.Errorf("version 0 reads as 1: got %d, %v", r.Version, err)
	}
}

// Where an int has 32 bits the lengths of fields are negative, and their sum may be anything.
func TestLengthsWhoseSumOverflowsAreRefused(t *testing.T) {
	t.Parallel()
	lengths := func(r []byte, typ, stream uint16, tags, meta, data uint32) {
		le := binary.LittleEndian
		le.PutUint16(r[68:], typ)
		le.PutUint16(r[70:], stream)
		for i, n := range []uint32{tags, meta, data} {
			le.PutUint32(r[72+4*i:], n)
		}
	}
	e := events()[0]
	room := uint32(len(frame.AppendBody(nil, &e, [16]byte{}, 0)) - frame.RecordHeaderBytes)
	for name, change := range map[string]func([]byte){
		"tags of -8 bytes":          func(r []byte) { lengths(r, 8, 8, 1<<32-8, 0, room-8) },
		"metadata of -8 bytes":      func(r []byte) { lengths(r, 8, 8, 0, 1<<32-8, room-8) },
		"data of -8 bytes":          func(r []byte) { lengths(r, 8, 8, 0, room-8, 1<<32-8) },
		"a sum of 2^32":             func(r []byte) { lengths(r, 0, 0, 1<<31, 1<<31-8, 8+room) },
		"a sum of 2^32, tags first": func(r []byte) { lengths(r, 8, 0, 1<<32-16, 8, room) },
		"the largest of all":        func(r []byte) { lengths(r, 1<<16-1, 1<<16-1, 1<<32-1, 1<<32-1, 1<<32-1) },
	} {
		b := reseal(change)
		if _, _, err := frame.DecodeRecord(b, store); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
		for _, many := range []bool{false, true} {
			if _, _, err := frame.NewDecoder(store, many).Decode(b); !errors.Is(err, frame.ErrMalformed) {
				t.Errorf("%s, many %v: got %v, want ErrMalformed", name, many, err)
			}
		}
	}
}

// sumsOf makes the sums of a frame right for what is in it.
func sumsOf(f []byte) []byte {
	le, castagnoli := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	crc := uint32(0)
	for _, r := range frame.Records(f) {
		frame.Seal(r, annals.Position(le.Uint64(r[8:])), annals.Revision(le.Uint64(r[16:])), at, store)
		crc = crc32.Update(crc, castagnoli, r[4:8])
	}
	if f[11] != 0 {
		crc = crc32.Checksum(f[frame.HeaderBytes:], castagnoli)
	}
	le.PutUint32(f[152:], crc)
	le.PutUint32(f[156:], crc32.Checksum(f[:156], castagnoli))
	return f
}

func TestSumsMatchForWhatIsNotUnderstoodAndForNothingThatIsDamaged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f []byte){
		"a frame that is understood":  func([]byte) {},
		"an unknown kind of frame":    func(f []byte) { f[10] = 9 },
		"an unknown codec":            func(f []byte) { f[11] = 1; copy(f[frame.HeaderBytes:], "packed") },
		"unknown flags of a frame":    func(f []byte) { f[36] = 1 },
		"an unknown kind of record":   func(f []byte) { f[frame.HeaderBytes+64] = 7 },
		"a kind that may be skipped":  func(f []byte) { f[frame.HeaderBytes+64] = 200 },
		"unknown flags of a record":   func(f []byte) { f[frame.HeaderBytes+65] = 0xf0 },
		"a number that is no frame's": func(f []byte) { clear(f[48:56]) },
	} {
		f, _ := build(1, 1, [32]byte{})
		change(f)
		sumsOf(f)
		if !frame.SumsMatch(f, store) {
			t.Errorf("%s: the sums do not match", name)
		}
		for i := range f {
			f[i] ^= 0x10
			if frame.SumsMatch(f, store) {
				t.Errorf("%s: the sums match although byte %d was changed", name, i)
			}
			f[i] ^= 0x10
		}
		for n := range len(f) {
			if frame.SumsMatch(f[:n], store) {
				t.Errorf("%s: the sums match although it ends at byte %d", name, n)
			}
		}
	}
	f, _ := build(1, 1, [32]byte{})
	if frame.SumsMatch(f, frame.StoreID{1}) {
		t.Error("the sums match those of another store")
	}
}

func TestTheHashStaysWhenAFrameIsPackedOtherwise(t *testing.T) {
	t.Parallel()
	f, h := build(1, 1, [32]byte{})
	canonical := append([]byte{}, f[:152]...)
	canonical[11], canonical[12] = 0, 0
	clear(canonical[84:88])
	if sha256.Sum256(canonical) != h.Hash {
		t.Error("the hash depends on codec, cipher or stored size")
	}
}

func TestAHeaderMayBeginTheNextFrame(t *testing.T) {
	t.Parallel()
	_, h := build(1, 1, [32]byte{})
	h.FirstPosition, h.Seq, h.PrevHash = h.LastPosition()+1, 2, h.Hash
	b := frame.NewBuilder(h, nil)
	e := events()[1]
	record := frame.AppendBody(nil, &e, [16]byte{}, 0)
	b.Add(record, frame.BodyHash(record), annals.NoRevision)
	f, _ := b.Finish()
	if read, err := frame.Verify(f, store); err != nil || read.EventCount != 1 || read.FirstPosition != 5 {
		t.Errorf("got %+v, %v", read, err)
	}
}

// The golden file is the alarm: if it changes, data on somebody's disk cannot be read any more.
func TestTheFormatHasNotChanged(t *testing.T) {
	t.Parallel()
	f, _ := build(1, 1, [32]byte{})
	golden := filepath.Join("testdata", "frame.hex")
	got := hex.Dump(f)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
		t.Errorf("the bytes of a frame changed; got\n%s\nwant\n%s", got, want)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	whole, _ := build(1, 1, [32]byte{})
	for _, b := range frame.Records(whole) {
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size, err := frame.DecodeRecord(b, store)
		if err != nil {
			return
		}
		again := frame.AppendBody(nil, &r.Event, r.Blind, r.Flags)
		frame.Seal(again, r.Position, r.Revision, r.Time, store)
		if string(again) != string(b[:size]) && len(r.ContentType) == 0 {
			t.Errorf("decoded and encoded again, %x became %x", b[:size], again)
		}
	})
}

// Whatever verifies is what a builder makes of its records again, and the quick check refuses no more and no less of it, but for the
// hashes of the bodies.
func FuzzVerify(f *testing.F) {
	whole, _ := build(1, 1, [32]byte{})
	f.Add(whole, uint16(70), byte(1), true)
	f.Add(whole, uint16(len(whole)-3), byte(8), true)
	f.Add(whole, uint16(0), byte(0), false)
	f.Add(whole[:frame.HeaderBytes], uint16(11), byte(1), true)
	f.Fuzz(func(t *testing.T, b []byte, at uint16, with byte, reseal bool) {
		b = append([]byte(nil), b...)
		if int(at) < len(b) {
			b[at] ^= with
		}
		if reseal && len(b) >= frame.HeaderBytes {
			binary.LittleEndian.PutUint32(b[156:], crc32.Checksum(b[:156], crc32.MakeTable(crc32.Castagnoli)))
		}
		h, err := frame.Verify(b, store)
		quick, quickErr := frame.VerifySums(b, store)
		if err == nil && (quickErr != nil || quick != h) {
			t.Errorf("verified, but its sums are not: %v", quickErr)
		}
		if quickErr == nil && err != nil && !errors.Is(err, frame.ErrChecksum) {
			t.Errorf("its sums are verified, but not the whole: %v", err)
		}
		if err != nil {
			return
		}
		if !frame.SumsMatch(b, store) || frame.HeaderBytes+int(h.Size) != len(b) {
			t.Error("it verifies, and its sums do not match")
		}
		n := uint32(0)
		for _, r := range frame.Records(b) {
			if frame.IsEvent(r) {
				n++
			}
		}
		if n != h.EventCount {
			t.Errorf("it verifies, and has %d events instead of %d", n, h.EventCount)
		}
	})
}
