package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// openFiles are the descriptors that this process has of files in a directory, and the names of those.
func openFiles(t *testing.T, dir string) map[int]string {
	t.Helper()
	const all = "/proc/self/fd"
	entries, err := os.ReadDir(all)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, e := range entries {
		name, err := os.Readlink(filepath.Join(all, e.Name()))
		if err != nil || !strings.HasPrefix(name, dir+"/") {
			continue // closed meanwhile, or another's
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		found[fd] = name
	}
	return found
}

// A process that starts another has for a moment two of all descriptors: the child's are closed when it executes its
// program. A store that was closed in that moment is free.
func TestAClosedStoreIsFreeThoughAChildHasItsFilesStill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	put(t, s, annals.Event{Type: "A"})
	for fd := range openFiles(t, dir) {
		child, err := syscall.Dup(fd) // what fork does to each
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(child)
	}
	closed(t, s)
	again, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatalf("opened again: %v", err)
	}
	closed(t, again)
}

func TestAStoreIsReopenedWhileTheProcessStartsOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 2 {
		starting.Go(func() {
			for ctx.Err() == nil {
				// It need not exist: to look for it there is a child.
				_ = exec.CommandContext(ctx, filepath.Join(dir, "none")).Run()
			}
		})
	}
	for range 25 {
		s, err := disk.Open(t.Context(), dir)
		if err != nil {
			t.Errorf("a store that was closed: %v", err)
			break
		}
		closed(t, s)
	}
	stop()
	starting.Wait()
}

// Whoever is in the store when it is closed: no file stays open, and, since a bubble waits for what was started in it, no
// goroutine.
func TestNothingOfAClosedStoreIsLeft(t *testing.T) {
	t.Parallel()
	for round := range 4 {
		synctest.Test(t, func(t *testing.T) { closeInUse(t, 5+15*round) })
	}
}

// closeInUse closes a store after so many appends, amid more.
func closeInUse(t *testing.T, appends int) {
	t.Helper()
	dir := t.TempDir()
	s, err := disk.Open(t.Context(), dir, disk.SegmentBytes(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	ended := func(what string, err error) bool {
		if err != nil && !errors.Is(err, annals.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
		return err != nil
	}
	appended := make(chan struct{}, 1000)
	var using sync.WaitGroup
	for w := range 4 {
		using.Go(func() {
			for n := 0; ; n++ {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%3)*time.Microsecond)
				_, err := s.Append(ctx, []annals.Event{{Type: "A", Stream: fmt.Sprint("s-", w), Data: make([]byte, 3000)}})
				cancel()
				if errors.Is(err, annals.ErrClosed) {
					return
				}
				if err == nil {
					appended <- struct{}{}
				}
			}
		})
		using.Go(func() {
			for _, err := range s.Subscribe(t.Context(), annals.All(), 0) {
				ended("a subscription", err)
			}
		})
		using.Go(func() {
			for limit := 1; ; limit++ {
				for _, err := range s.Read(t.Context(), annals.All(), annals.Backwards(), annals.Limit(limit)) {
					if ended("a read", err) {
						return
					}
					if limit%2 == 0 {
						break // in the middle
					}
				}
			}
		})
	}
	for range appends {
		<-appended
	}
	for range 2 {
		using.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	using.Wait()
	if left := openFiles(t, dir); len(left) > 0 {
		t.Errorf("files that are still open: %v", left)
	}
	if _, err := s.Head(t.Context()); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("the head of a closed store: %v", err)
	}
}
