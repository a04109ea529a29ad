package faultlane_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/faultlane"
)

var syncFaults = count("syncfaults", 3, 1, "how often to let the sync of a frame fail for real")

// The device is a file in memory that has no room for what is to be written: the write is taken, and its sync fails, as on a
// disk that breaks.
func TestAfterASyncThatFailedForRealNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	needRoot(t, "mkfs.ext4", "losetup")
	rng := rand.New(rand.NewPCG(*seedFlag, 5))
	faults, acked := 0, 0
	for range *syncFaults {
		memory := newMemoryVolume(t, volumeDir(t), 48<<20)
		v := newVolume(t, memory.root, "ext4", "", 64<<20)
		v.onePage(t)
		dir := filepath.Join(v.root, "store")
		l := faultlane.NewLedger()
		s := openStore(t, dir)
		ledgerOf(t, l, &faultlane.Writers{Store: s, Count: 4, Most: 30 + rng.IntN(60)}, "")
		before := l.Acked()

		unix.Sync()
		dig(t, v.image)
		ballast := memory.fill(t)
		if n := ledgerOf(t, l, &faultlane.Writers{Store: s, Life: 1, Count: 4, Most: 5000}, annals.ErrReadOnly.Error()); n == 0 {
			t.Fatalf("the device is broken, and of %d acknowledged events %d are later", l.Acked(), l.Acked()-before)
		}
		faults++
		for range 5 {
			if _, err := s.Append(t.Context(), []annals.Event{{Type: "A"}}); !errors.Is(err, annals.ErrReadOnly) {
				t.Fatalf("after a sync that failed an append was answered %v, want ErrReadOnly", err)
			}
		}
		look(t, s, l, rng)
		if err := s.Close(); err != nil {
			t.Errorf("closing after a sync that failed: %v", err)
		}

		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		v.remount(t)
		s = openStore(t, dir)
		verify(t, s, l, rng)
		ledgerOf(t, l, &faultlane.Writers{Store: s, Life: 2, Count: 4, Most: 20}, "")
		verify(t, s, l, rng)
		closeStore(t, s)
		acked += l.Acked()
		if err := v.unmount(); err != nil {
			t.Fatal(err)
		}
	}
	report(t, "failed sync", "faults=%d acked=%d acks_after_fault=0 restart_ok=true lost=0", faults, acked)
}

// dig gives back the room of all blocks of a file that are zero. It reads as before, and has to be given room again to be
// written to.
func dig(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var b, zero [4096]byte
	for off := int64(0); off < info.Size(); off += int64(len(b)) {
		if _, err := f.ReadAt(b[:], off); err != nil {
			t.Fatal(err)
		}
		if b != zero {
			continue
		}
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
}
