package vfs_test

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
)

// everything does each operation once, and lists those that failed.
func everything(fs vfs.FS) (failed []error) {
	note := func(err error) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	note(fs.MkdirAll("d"))
	lock, err := fs.Lock("d/LOCK")
	note(err)
	if err == nil {
		note(lock.Close())
	}
	f, err := fs.Create("d/f")
	note(err)
	if err == nil {
		_, err = f.WriteAt([]byte("abc"), 1)
		note(err)
		note(f.Truncate(3))
		note(f.Sync())
		note(f.DropCache())
		_, err = f.ReadAt(make([]byte, 2), 0)
		note(err)
		note(f.Close())
	}
	_, err = fs.List("d")
	note(err)
	_, err = fs.Stat("d/f")
	note(err)
	f, err = fs.OpenReadWrite("d/f")
	note(err)
	if err == nil {
		note(f.Close())
	}
	note(fs.Rename("d/f", "d/g"))
	note(fs.SyncDir("d"))
	note(fs.Remove("d/g"))
	return failed
}

// kinds is what everything does, in order.
var kinds = []vfs.Kind{
	vfs.OpMkdir, vfs.OpLock, vfs.OpCreate, vfs.OpWrite, vfs.OpTruncate, vfs.OpSync, vfs.OpDrop, vfs.OpRead, vfs.OpList, vfs.OpStat,
	vfs.OpOpen, vfs.OpRename, vfs.OpSyncDir, vfs.OpRemove,
}

func TestEveryOperationIsCountedAndCanFail(t *testing.T) {
	t.Parallel()
	fs := vfs.NewFaulty(vfs.NewMem(), func(vfs.Op) vfs.Fault { return vfs.Fault{} })
	fs.Record()
	if failed := everything(fs); len(failed) > 0 {
		t.Fatal(failed)
	}
	var got []vfs.Kind
	for i, o := range fs.Trace() {
		got = append(got, o.Kind)
		if o.N != i+1 {
			t.Errorf("operation %d has the number %d", i+1, o.N)
		}
	}
	if !slices.Equal(got, kinds) || fs.Count() != len(kinds) {
		t.Errorf("%d operations: %q, want %q", fs.Count(), got, kinds)
	}
	if o := fs.Trace()[3]; o.Name != "d/f" || o.Offset != 1 || o.Bytes != 3 {
		t.Errorf("the write is %+v", o)
	}
	if o := fs.Trace()[4]; o.Offset != 3 {
		t.Errorf("the truncation is %+v", o)
	}
	for n := range kinds {
		failed := everything(vfs.NewFaulty(vfs.NewMem(), vfs.NthFails(n+1, vfs.Fault{Err: syscall.EIO})))
		if len(failed) == 0 || !errors.Is(failed[0], syscall.EIO) {
			t.Errorf("operation %d, %s: got %v, want it to fail first", n+1, kinds[n], failed)
		}
	}
}

func TestAFaultLetsAPartThrough(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "......")
	fault := vfs.Fault{}
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpOpen {
			return vfs.Fault{}
		}
		return fault
	})
	f, err := fs.OpenReadWrite("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fault = vfs.Fault{Err: syscall.EIO, Written: 2}
	if n, err := f.WriteAt([]byte("abcd"), 1); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("writing: %d, %v, want two bytes and EIO", n, err)
	}
	fault.Written = 9
	if n, err := f.WriteAt([]byte("ef"), 4); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("writing: %d, %v, want two bytes and EIO", n, err)
	}
	if got := content(t, mem, "f"); got != ".ab.ef" {
		t.Errorf("it became %q", got)
	}
	b := make([]byte, 4)
	fault = vfs.Fault{Err: syscall.EIO, Read: 3}
	if n, err := f.ReadAt(b, 1); n != 3 || !errors.Is(err, syscall.EIO) || string(b) != "ab.\x00" {
		t.Errorf("reading: %d, %q, %v, want three bytes and EIO", n, b, err)
	}
	fault.Read = 0
	if n, err := f.ReadAt(b, 1); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("reading: %d, %v, want EIO", n, err)
	}
	fault.Kept = true
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("syncing: %v, want EIO", err)
	}
	if seen := afterwards(t, mem, "f"); seen[".ab.ef"] != crashes {
		t.Errorf("a sync that was kept, although it failed: %v", seen)
	}
}

func TestOpenFilesAreCounted(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "")
	fs := vfs.NewFaulty(mem, vfs.NthFails(3, vfs.Fault{Err: syscall.EMFILE}))
	a, err1 := fs.Open("f")
	b, err2 := fs.OpenReadWrite("f")
	if _, err := fs.Open("f"); err1 != nil || err2 != nil || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("opening: %v, %v, %v", err1, err2, err)
	}
	if err := b.Close(); err != nil || b.Close() == nil {
		t.Errorf("closing: %v, and again", err)
	}
	if now, most := fs.OpenFiles(); now != 1 || most != 2 {
		t.Errorf("%d files are open, there were %d, want 1 and 2", now, most)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if now, _ := fs.OpenFiles(); now != 0 {
		t.Errorf("%d files are open", now)
	}
}

func TestAFaultyFileSystemIsUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	makeFile(t, mem, "f", "abc")
	fs := vfs.NewFaulty(mem, func(vfs.Op) vfs.Fault { return vfs.Fault{} })
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				f, err := fs.OpenReadWrite("f")
				if err != nil {
					t.Error(err)
					return
				}
				_, err1 := f.ReadAt(make([]byte, 3), 0)
				_, err2 := f.WriteAt([]byte("x"), 3)
				if err := errors.Join(err1, err2, f.Sync(), f.DropCache(), f.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if now, _ := fs.OpenFiles(); now != 0 || fs.Count() != 4*50*5 {
		t.Errorf("%d files are open after %d operations, want none, and %d", now, fs.Count(), 4*50*5)
	}
}
