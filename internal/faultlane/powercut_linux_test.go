package faultlane_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/faultlane"
	"github.com/annalsdb/annals/internal/mutants"
	"github.com/annalsdb/annals/store/disk"
)

var (
	cuts   = count("cuts", 15, 4, "how often to cut the power, over each mount")
	mounts = flag.String("mounts", "ext4", "over which file systems to cut the power: ext4, ext4:commit=1, ext4:data=writeback, xfs, with commas between")
)

func TestWhatWasAcknowledgedOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	needRoot(t, "mkfs.ext4", "losetup")
	var totals cutTotals
	for mount := range strings.SplitSeq(*mounts, ",") {
		kind, option, _ := strings.Cut(mount, ":")
		if kind == "xfs" {
			needRoot(t, "mkfs.xfs")
		}
		got := cutPower(t, os.Args[0], kind, option, *cuts, true)
		if got.lost > 0 || got.problem != nil {
			t.Errorf("over %s: %d acknowledged events were lost: %v", mount, got.lost, got.problem)
		}
		totals.acked += got.acked
		totals.cuts += got.cuts
	}
	// The control is the same store, but for the sync of a frame. If nothing is lost then, the test proves nothing.
	control := cutPower(t, mutant(t, "M1"), "ext4", "", 4, false)
	if control.lost == 0 {
		t.Errorf("a store that does not sync lost none of %d acknowledged events in %d power cuts", control.acked, control.cuts)
	}
	report(t, "power cut", "cuts=%d mounts=%s acked=%d lost=0 control_lost=%d of %d", totals.cuts, *mounts, totals.acked, control.lost, control.acked)
}

// mutant is this program with a promise broken.
func mutant(t *testing.T, name string) string {
	t.Helper()
	program, err := mutants.BuildTest(t.Context(), t.TempDir(), name, "./internal/faultlane")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

type cutTotals struct {
	cuts, acked, lost int
	// problem is what else is wrong.
	problem error
}

// cutPower has a process write, kills it, and cuts the power, which must be in this order: what a living process was told in between
// would be told by a machine that is off. At a loss it stops, or goes on with another store.
func cutPower(t *testing.T, binary, kind, option string, cuts int, stop bool) (total cutTotals) {
	t.Helper()
	rng := rand.New(rand.NewPCG(*seedFlag, 2))
	size := int64(128 << 20)
	if kind == "xfs" {
		size = 400 << 20 // it wants no less than 300
	}
	v := newVolume(t, volumeDir(t), kind, option, size)
	for total.cuts < cuts {
		dir := filepath.Join(v.root, fmt.Sprint("store-", total.cuts))
		l := faultlane.NewLedger()
		for life := 0; life < livesPerStore && total.cuts < cuts; life++ {
			c := startChild(t, binary, "write", dir, life)
			killSomeTime(t, c, l, rng)
			v.cut(t)
			v.remount(t)
			total.cuts++
			if !exists(dir) && l.Acked() == 0 {
				continue // it was killed before the store was there
			}
			lost, err := compare(t, dir, l, rng)
			if err == nil {
				continue
			}
			total.lost += lost
			total.problem = err
			if stop {
				total.acked += l.Acked()
				return total
			}
			break
		}
		total.acked += l.Acked()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.unmount(); err != nil {
		t.Error(err)
	}
	return total
}

// compare compares what the power cut left with what was acknowledged, and counts what is not there.
func compare(t *testing.T, dir string, l *faultlane.Ledger, rng *rand.Rand) (lost int, err error) {
	t.Helper()
	acked := l.Acked()
	s, err := disk.Open(t.Context(), dir, disk.SegmentBytes(segmentBytes))
	if err != nil {
		return acked, err
	}
	defer closeStore(t, s)
	if damage := s.Recovery().Damage; len(damage) > 0 {
		return max(1, acked-int(s.Recovery().Positions)), damage[0]
	}
	o := faultlane.Oracle{Ledger: l, Random: rng, Queries: 6, Resend: 20}
	f, err := o.Check(t.Context(), s)
	if err == nil {
		err = f.Err()
	}
	return f.Lost, err
}
