package segment_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/journal"
)

// limited is a disk with room for so many bytes of files.
func limited(mem *vfs.Mem, room *int64) *vfs.Faulty {
	return vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind != vfs.OpWrite {
			return vfs.Fault{}
		}
		i, err := mem.Stat(o.Name)
		if more := o.Offset + int64(o.Bytes) - i.Size; err == nil && (more <= 0 || used(mem)+more <= *room) {
			return vfs.Fault{}
		}
		return vfs.Fault{Err: vfs.ErrNoSpace}
	})
}

// used is the size of all files of a store.
func used(mem *vfs.Mem) (bytes int64) {
	for _, dir := range []string{storeDir, storeDir + "/quarantine"} {
		list, _ := mem.List(dir) // without quarantine nothing is in it
		for _, name := range list {
			if i, err := mem.Stat(filepath.Join(dir, name)); err == nil {
				bytes += i.Size
			}
		}
	}
	return bytes
}

func TestATornFrameThatTheReserveHasNoRoomForDoesNotKeepAFullDiskFromBeingOpened(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 4 << 20
	const torn = 1400 << 10 // more than the reserve
	dead := false
	s := started(t, vfs.NewFaulty(mem, func(op vfs.Op) vfs.Fault {
		switch {
		case dead:
			return vfs.Fault{Err: errDead}
		case op.Kind == vfs.OpWrite && op.Bytes > torn:
			dead = true
			return vfs.Fault{Err: errDead, Written: torn}
		}
		return vfs.Fault{}
	}), o)
	s.mustAppend(t, 2, 350<<10)
	if err := s.append(1, torn); !errors.Is(err, journal.ErrAmbiguous) {
		t.Fatalf("got %v, want ErrAmbiguous", err)
	}
	left := mem.Kill()
	name := active(t, left)
	tail := file(t, left, name)[4096 : 4096+torn]
	room := used(left)
	disk := limited(left, &room)
	o.Random = seeded(2)
	for range 2 { // to open it again changes nothing
		r := started(t, disk, o)
		if err := holds(r.d, s.acked); err != nil || len(r.acked) != len(s.acked) {
			t.Errorf("without space: %d frames, %v", len(r.acked), err)
		}
		for range 2 {
			if err := r.append(1, 100); !errors.Is(err, journal.ErrFull) {
				t.Errorf("without space: got %v, want ErrFull", err)
			}
		}
		closing(t, r.d)
		if got := file(t, left, name)[4096 : 4096+torn]; !bytes.Equal(got, tail) {
			t.Error("what was torn was cut, and is nowhere else")
		}
	}
	r := started(t, disk, o)
	room += 8 << 20
	r.mustAppend(t, 1, 100)
	got := r.d.Recovered()
	if got.CutBytes != torn || len(got.Damage) > 0 {
		t.Errorf("recovered %+v, want %d bytes cut", got, torn)
	}
	if kept := file(t, left, filepath.Join(storeDir, got.QuarantineFile)); !bytes.Equal(kept, tail) {
		t.Error("what was cut is not in quarantine")
	}
	for range 3 {
		r.mustAppend(t, 1, 100)
	}
	closing(t, r.d)
	d := open(t, disk, o)
	if r2 := d.Recovered(); !r2.Clean || r2.Frames != r.head.Seq {
		t.Errorf("recovered %+v, want it clean, with %d frames", r2, r.head.Seq)
	}
	if err := holds(d, r.acked); err != nil {
		t.Error(err)
	}
}

func TestADiskThatIsAlmostFullIsNotFilledAgainAtEachAppend(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 256 << 10
	low, tries := true, 0
	s := started(t, vfs.NewFaulty(mem, func(op vfs.Op) vfs.Fault {
		if next := strings.HasSuffix(op.Name, "00000002-001.seg"); low && next && op.Kind == vfs.OpCreate {
			tries++
		} else if low && next && op.Kind == vfs.OpWrite && op.Offset > 0 {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	}), o)
	var err error
	for err == nil {
		err = s.append(1, 1000)
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if appends := len(s.acked); tries > 8 || tries < 2 || appends < 150 {
		t.Errorf("in %d appends a next segment was tried %d times, want 2 to 8", appends, tries)
	}
	low = false
	for range 300 {
		s.mustAppend(t, 1, 1000)
	}
	if err := holds(s.d, s.acked); err != nil {
		t.Error(err)
	}
}

func TestWhatWasCutOnAFullDiskIsCutOnce(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 4 << 20
	const torn = 1<<20 - 64 // the reserve has room for it, and then none for a manifest
	dead := false
	s := started(t, vfs.NewFaulty(mem, func(op vfs.Op) vfs.Fault {
		switch {
		case dead:
			return vfs.Fault{Err: errDead}
		case op.Kind == vfs.OpWrite && op.Bytes > torn:
			dead = true
			return vfs.Fault{Err: errDead, Written: torn}
		}
		return vfs.Fault{}
	}), o)
	s.mustAppend(t, 2, 350<<10)
	if err := s.append(1, torn); !errors.Is(err, journal.ErrAmbiguous) {
		t.Fatal(err)
	}
	left := mem.Kill()
	room := used(left)
	o.Random = seeded(2)
	r := started(t, limited(left, &room), o)
	if err := r.append(1, 100); !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	room += 16 << 20
	r.mustAppend(t, 1, 100)
	list, err := left.List(storeDir + "/quarantine")
	if got := r.d.Recovered().CutBytes; got != torn || len(list) != 1 || err != nil {
		t.Errorf("%d bytes were cut into %q, %v, want %d in one file", got, list, err, torn)
	}
}
