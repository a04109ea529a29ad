package vfs_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
)

// crashes is how often a power cut is simulated to see everything that it can do.
const crashes = 300

// afterwards counts what a file holds after many power cuts.
func afterwards(t *testing.T, mem *vfs.Mem, name string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(crashes) {
		seen[content(t, mem.Crash(rand.New(rand.NewPCG(seed, 1))), name)]++
	}
	return seen
}

// edit opens a file to be changed.
func edit(t *testing.T, fs vfs.FS, name string, do func(f vfs.File) error) {
	t.Helper()
	f, err := fs.OpenReadWrite(name)
	if err == nil {
		err = errors.Join(do(f), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writing(s string, off int64) func(vfs.File) error {
	return func(f vfs.File) error {
		_, err := f.WriteAt([]byte(s), off)
		return err
	}
}

func TestWhatIsSyncedSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "synced")
	if seen := afterwards(t, mem, "f"); seen["synced"] != crashes {
		t.Errorf("it became %v", seen)
	}
	// Neither does what is written beside it, in the same sector, take it away.
	edit(t, mem, "f", writing("more", 6))
	for got := range afterwards(t, mem, "f") {
		if !strings.HasPrefix(got, "synced") {
			t.Errorf("what was synced became %q", got)
		}
	}
}

func TestWhatIsNotSyncedIsKeptLostOrPartlyThere(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	old, written := strings.Repeat("a", 2*vfs.SectorBytes), strings.Repeat("b", 2*vfs.SectorBytes)
	makeFile(t, mem, "f", old)
	edit(t, mem, "f", writing(written, 0))
	half := vfs.SectorBytes
	seen := afterwards(t, mem, "f")
	for what, want := range map[string]string{
		"kept": written, "lost": old, "its first sector": written[:half] + old[half:], "its last sector": old[:half] + written[half:],
	} {
		if seen[want] == 0 {
			t.Errorf("it was never %s", what)
		}
	}
	torn := false
	for got := range seen {
		if len(got) != len(old) || strings.Trim(got, "ab") != "" {
			t.Fatalf("a sector with synced bytes became %q", got)
		}
		torn = torn || strings.Contains(got[:half], "ba")
	}
	if !torn {
		t.Error("a sector was never torn")
	}
}

func TestASectorWithoutSyncedBytesMayBeGarbledOrZero(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "")
	written := strings.Repeat("b", vfs.SectorBytes)
	edit(t, mem, "f", writing(written, 0))
	seen := afterwards(t, mem, "f")
	garbled := false
	for got := range seen {
		garbled = garbled || strings.Trim(got, "b\x00") != ""
	}
	if !garbled || seen[""] == 0 || seen[written] == 0 || seen[strings.Repeat("\x00", vfs.SectorBytes)] == 0 {
		t.Errorf("garbled %v, lost %d, kept %d times; want each", garbled, seen[""], seen[written])
	}
}

func TestALaterWriteMaySurviveWithoutAnEarlierOne(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", strings.Repeat("a", 2*vfs.SectorBytes))
	edit(t, mem, "f", writing("1", 0))
	edit(t, mem, "f", writing("2", vfs.SectorBytes))
	found := map[string]bool{}
	for got := range afterwards(t, mem, "f") {
		found[got[:1]+got[vfs.SectorBytes:vfs.SectorBytes+1]] = true
	}
	for _, want := range []string{"aa", "1a", "a2", "12"} {
		if !found[want] {
			t.Errorf("it never became %q: %v", want, found)
		}
	}
}

func TestNamesSurviveOnlyWhenTheirDirectoryIsSynced(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	if err := errors.Join(mem.MkdirAll("d"), mem.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	makeFile(t, mem, "d/a", "a")
	f, err := mem.Create("d/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writing("b", 0)(f), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if seen := afterwards(t, mem, "d/b"); seen[""] == 0 || seen["b"] == 0 || len(seen) != 2 {
		t.Errorf("a synced file in a directory that is not became %v", seen)
	}
	if err := mem.Rename("d/b", "d/a"); err != nil {
		t.Fatal(err)
	}
	if seen := afterwards(t, mem, "d/a"); seen["a"] == 0 || seen["b"] == 0 || len(seen) != 2 {
		t.Errorf("moved over, it became %v, want what it was or what it was to be", seen)
	}
	if err := mem.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	if seen := afterwards(t, mem, "d/a"); seen["b"] != crashes {
		t.Errorf("moved over and synced, it became %v", seen)
	}
	if err := mem.Remove("d/a"); err != nil {
		t.Fatal(err)
	}
	if seen := afterwards(t, mem, "d/a"); seen[""] == 0 || seen["b"] == 0 {
		t.Errorf("removed, it became %v, want it there or not", seen)
	}
	if err := mem.MkdirAll("e/g"); err != nil {
		t.Fatal(err)
	}
	makeFile(t, mem, "e/g/h", "h")
	if seen := afterwards(t, mem, "e/g/h"); seen[""] == 0 || seen["h"] == 0 {
		t.Errorf("in a directory whose own name is not synced it became %v, want it there or not", seen)
	}
}

func TestTheEndOfAProcessTakesNothingButWhatIsNotSyncedStaysSo(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "old")
	edit(t, mem, "f", writing("new", 0))
	if _, err := mem.Lock("LOCK"); err != nil {
		t.Fatal(err)
	}
	left := mem.Kill()
	if got := content(t, left, "f"); got != "new" {
		t.Errorf("it became %q", got)
	}
	lock, err := left.Lock("LOCK")
	if err != nil {
		t.Fatalf("the lock of a process that has ended is held: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if seen := afterwards(t, left, "f"); seen["old"] == 0 || seen["new"] == 0 {
		t.Errorf("with a power cut it became %v, want both", seen)
	}
	// They do not share what is written from now on.
	edit(t, left, "f", writing("NEW", 0))
	edit(t, mem, "f", writing("...", 0))
	if got, other := content(t, left, "f"), content(t, mem, "f"); got != "NEW" || other != "..." {
		t.Errorf("the two became %q and %q", got, other)
	}
	edit(t, left, "f", func(f vfs.File) error { return f.Sync() })
	if seen := afterwards(t, left, "f"); seen["NEW"] != crashes {
		t.Errorf("synced, it became %v", seen)
	}
}

func TestAFailedSyncReadsBackUntilTheCacheIsDropped(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "old")
	fails := true
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpSync && fails {
			return vfs.Fault{Err: syscall.EIO}
		}
		return vfs.Fault{}
	})
	edit(t, fs, "f", func(f vfs.File) error {
		if err := writing("new", 0)(f); err != nil {
			return err
		}
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want EIO", err)
		}
		fails = false
		return f.Sync() // which tells nothing of what was written before
	})
	if got := content(t, fs, "f"); got != "new" {
		t.Errorf("it reads as %q, want it from the cache", got)
	}
	if seen := afterwards(t, mem, "f"); seen["old"] != crashes {
		t.Errorf("a power cut made %v of it", seen)
	}
	edit(t, fs, "f", func(f vfs.File) error { return f.DropCache() })
	if got := content(t, fs, "f"); got != "old" {
		t.Errorf("without the cache it reads as %q", got)
	}
}

func TestDroppingTheCacheKeepsWhatWaitsToBeWritten(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "old")
	edit(t, mem, "f", func(f vfs.File) error { return errors.Join(writing("new", 0)(f), f.DropCache()) })
	if got := content(t, mem, "f"); got != "new" {
		t.Errorf("it reads as %q", got)
	}
}
