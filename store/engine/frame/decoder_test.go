package frame_test

import (
	"reflect"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

func TestADecoderAgreesWithDecodeRecordAndSharesNoMemory(t *testing.T) {
	t.Parallel()
	f, _ := build(1, 1, [32]byte{})
	for _, many := range []bool{false, true} {
		d := frame.NewDecoder(store, many)
		for range 3000 {
			for _, b := range frame.Records(f) {
				want, wantSize, err := frame.DecodeRecord(b, store)
				if err != nil {
					t.Fatal(err)
				}
				lent := append([]byte(nil), b...)
				got, size, err := d.Decode(lent)
				clear(lent)
				if err != nil || size != wantSize || !reflect.DeepEqual(got, want) {
					t.Fatalf("got %+v, %d, %v, want %+v, %d", got, size, err, want, wantSize)
				}
			}
		}
	}
}

// decoders are all kinds.
func decoders() map[string]*frame.Decoder {
	return map[string]*frame.Decoder{
		"of one": frame.NewDecoder(store, false), "of many": frame.NewDecoder(store, true),
		"that lends": frame.NewLender(store),
	}
}

// It is not run beside others, whose allocations would count.
func TestDecodersGiveWhatTheBytesSay(t *testing.T) {
	f, _ := build(1, 1, [32]byte{})
	for _, b := range frame.Records(f) {
		want, _, err := frame.DecodeRecord(b, store)
		if err != nil {
			t.Fatal(err)
		}
		for name, d := range decoders() {
			got, _, err := d.Decode(b)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("one %s: got %+v, %v, want %+v", name, got, err, want)
			}
			if len(got.Data) > 0 && cap(got.Data) != len(got.Data) || cap(got.Metadata) != len(got.Metadata) || cap(got.Tags) != len(got.Tags) {
				t.Errorf("one %s: there is room behind what a record has", name)
			}
			if n := testing.AllocsPerRun(100, func() { _, _ = d.DecodeInto(&got, b) }); name == "that lends" && n > 1 {
				t.Errorf("one %s allocates %.1f times", name, n)
			}
		}
	}
}

func TestADecoderOfManyRecordsHardlyAllocates(t *testing.T) {
	f, _ := build(1, 1, [32]byte{})
	d := frame.NewDecoder(store, true)
	n := testing.AllocsPerRun(1000, func() {
		for _, b := range frame.Records(f) {
			if _, _, err := d.Decode(b); err != nil {
				t.Fatal(err)
			}
		}
	})
	// Four events, one of which has a content type of its own; the rest is a share of a chunk.
	if n > 2 {
		t.Errorf("%.1f allocations for four records", n)
	}
}

func FuzzDecoderAgreesWithDecodeRecord(f *testing.F) {
	whole, _ := build(1, 1, [32]byte{})
	for _, b := range frame.Records(whole) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if size, err := frame.RecordSize(b); err == nil {
			// A checksum that matches lets the mutations in.
			b = append([]byte(nil), b[:size]...)
			r := frame.Record{}
			frame.Seal(b, r.Position, r.Revision, at, store)
		}
		want, wantSize, wantErr := frame.DecodeRecord(b, store)
		var names annals.Event
		if p, err := frame.Peek(&names, b); wantErr == nil && (err != nil || p != want.Position || !sameNames(names, want.Event)) {
			t.Errorf("peeked %+v at %d, %v; want %+v", names, p, err, want)
		}
		for name, d := range decoders() {
			var got frame.Record
			for _, earlier := range frame.Records(whole) { // nothing of it may be left
				if _, err := d.DecodeInto(&got, earlier); err != nil {
					t.Fatal(err)
				}
			}
			size, err := d.DecodeInto(&got, b)
			if (err == nil) != (wantErr == nil) || size != wantSize || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %d, %v, want %+v, %d, %v", name, got, size, err, want, wantSize, wantErr)
			}
		}
	})
}
