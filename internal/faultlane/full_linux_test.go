package faultlane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/faultlane"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/disk"
)

var cycles = count("cycles", 8, 3, "how often to fill a disk and to free it")

func TestAFullDiskIsReadAndGoesOnWhenThereIsSpace(t *testing.T) {
	t.Parallel()
	needRoot(t)
	rng := rand.New(rand.NewPCG(*seedFlag, 3))
	dir := volumeDir(t)
	const small = 8 << 20
	v := newMemoryVolume(t, dir, small)
	store := filepath.Join(v.root, "store")
	l := faultlane.NewLedger()
	s := openStore(t, store)
	life, reopened, grown := 0, 0, 0
	for range *cycles {
		ballast := v.fill(t)
		untilFull(t, s, l, life)
		look(t, s, l, rng) // reads and subscriptions go on
		if rng.IntN(2) == 0 {
			// A full disk can be opened, also when closing had no room to write that it closed.
			if err := s.Close(); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
				t.Fatal(err)
			}
			s = openStore(t, store)
			reopened++
			look(t, s, l, rng)
			life++
			untilFull(t, s, l, life) // closing may have given room back
		}
		if rng.IntN(2) == 0 { // the disk grows under the open store, or files of others go away
			v.resize(t, 2*small)
			grown++
		} else if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		life++
		before := l.Acked()
		ledgerOf(t, l, &faultlane.Writers{Store: s, Life: life, Count: 4, Most: 30}, "")
		if l.Acked() == before {
			t.Fatal("there is space again, and nothing was taken")
		}
		life++
		verify(t, s, l, rng)
		if exists(ballast) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
		if l.Acked() > 6000 { // so that the store never fills the disk itself
			closeStore(t, s)
			if err := os.RemoveAll(store); err != nil {
				t.Fatal(err)
			}
			l = faultlane.NewLedger()
			s = openStore(t, store)
		}
		v.resize(t, small)
	}
	closeStore(t, s)
	report(t, "full disk", "cycles=%d rejected=true read_ok=true resumed_without_restart=true grown=%d start_on_full=%d lost=0", *cycles, grown, reopened)
}

// untilFull writes until all writers are told that the disk is full.
func untilFull(t *testing.T, s annals.Store, l *faultlane.Ledger, life int) {
	t.Helper()
	if n := ledgerOf(t, l, &faultlane.Writers{Store: s, Life: life, Count: 4}, annals.ErrFull.Error()); n != 4 {
		t.Fatalf("%d of 4 writers were told that the disk is full", n)
	}
}

// look is verify without sending anything again: the store takes nothing now.
func look(t *testing.T, s annals.Store, l *faultlane.Ledger, rng *rand.Rand) {
	t.Helper()
	o := faultlane.Oracle{Ledger: l, Random: rng, Queries: 4}
	f, err := o.Check(t.Context(), s)
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fewBytes makes more files than a store keeps open.
const fewBytes = 16 << 10

func init() { children["starve"] = starve }

// starve opens a store of many files, takes the process's file handles away, appends and reads, gives them back, and wants
// everything to work then without a restart.
func starve(ctx context.Context, dir string, life int) error {
	s, err := disk.Open(ctx, dir, disk.SegmentBytes(fewBytes))
	if err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	poor := limit
	poor.Cur = 3 // below what is open already, so that nothing more can be
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &poor); err != nil {
		return err
	}
	w := faultlane.Writers{Store: s, Life: life, Count: 4, Most: 100, Ledger: os.Stdout}
	if err := w.Run(ctx); err != nil {
		return fmt.Errorf("without file handles: %w", err)
	}
	if err := readAll(ctx, s); !errors.Is(err, unix.EMFILE) && !errors.Is(err, annals.ErrDataLoss) {
		return fmt.Errorf("a read of files that cannot be opened was answered %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if err := readAll(ctx, s); err != nil {
		return fmt.Errorf("with file handles again, a read: %w", err)
	}
	w.Life++
	if err := w.Run(ctx); err != nil {
		return fmt.Errorf("with file handles again: %w", err)
	}
	return s.Close()
}

func readAll(ctx context.Context, s annals.Store) error {
	for _, err := range s.Read(ctx, annals.All()) {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestWithoutFileHandlesNothingIsLostAndAllGoesOnLater(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seedFlag, 4))
	dir := filepath.Join(t.TempDir(), "store")
	l := faultlane.NewLedger()
	s, err := disk.Open(t.Context(), dir, disk.SegmentBytes(fewBytes))
	if err != nil {
		t.Fatal(err)
	}
	ledgerOf(t, l, &faultlane.Writers{Store: s, Count: 4, Most: 500}, "")
	closeStore(t, s)
	c := startChild(t, os.Args[0], "starve", dir, 1)
	refused := 0
	for c.out.Scan() {
		refused += enter(t, l, c.out.Text(), unix.EMFILE.Error())
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if refused == 0 {
		t.Error("without file handles everything was taken")
	}
	s = openStore(t, dir)
	f := verify(t, s, l, rng)
	closeStore(t, s)
	report(t, "file handles", "events=%d acked=%d rejected=%d lost=0 resumed_without_restart=true", f.Events, l.Acked(), refused)
}
