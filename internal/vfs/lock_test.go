package vfs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
)

// lockVariable makes the test program a process that takes the lock on the file that it names, says so, and holds it until
// its input ends, or it is killed.
const lockVariable = "VFS_TEST_LOCK"

func TestMain(m *testing.M) {
	name := os.Getenv(lockVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	os.Exit(holding(name))
}

// holding is the other process.
func holding(name string) (status int) {
	lock, err := vfs.OS{}.Lock(name)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, "locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := lock.Close(); err != nil {
		return 1
	}
	return 0
}

// holder is another process that was asked to take the lock.
type holder struct {
	*exec.Cmd
	stdin io.WriteCloser
	said  string
}

func anotherProcess(t *testing.T, name string) *holder {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{Cmd: exec.CommandContext(t.Context(), program)}
	h.Env = append(os.Environ(), lockVariable+"="+name)
	h.stdin, err = h.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	h.said, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	h.said = strings.TrimSpace(h.said)
	return h
}

func TestALockIsHeldUntilItIsClosed(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		path := filepath.Join(s.dir, "LOCK")
		for range 3 {
			lock, err := s.fs.Lock(path)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			locked, ok := errors.AsType[*vfs.LockedError](second(s.fs.Lock(path)))
			if !ok || !errors.Is(locked, vfs.ErrLocked) || locked.PID != os.Getpid() || locked.Name != path {
				t.Errorf("%s: got %+v, want a LockedError that names %s and process %d", name, locked, path, os.Getpid())
			}
			other, err := s.fs.Lock(filepath.Join(s.dir, "OTHER"))
			if err != nil {
				t.Fatalf("%s: another lock: %v", name, err)
			}
			if err := errors.Join(other.Close(), lock.Close()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if i, err := s.fs.Stat(path); err != nil || i.Dir {
			t.Errorf("%s: the file of the lock: %+v, %v", name, i, err)
		}
	}
}

func second(_ io.Closer, err error) error { return err }

// That a lock is closed twice does not give up the one that somebody else has taken in between.
func TestClosingALockTwiceTakesItFromNobody(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		path := filepath.Join(s.dir, "LOCK")
		first, err := s.fs.Lock(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := first.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		lock, err := s.fs.Lock(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = first.Close() // it may say that it is closed
		if err := second(s.fs.Lock(path)); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("%s: got %v, want ErrLocked", name, err)
		}
		if err := lock.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneOfManyGetsTheLock(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		path := filepath.Join(s.dir, "LOCK")
		var group sync.WaitGroup
		got := make(chan io.Closer, 8)
		for range cap(got) {
			group.Go(func() {
				lock, err := s.fs.Lock(path)
				if err == nil {
					got <- lock
				} else if !errors.Is(err, vfs.ErrLocked) {
					t.Errorf("%s: got %v, want ErrLocked", name, err)
				}
			})
		}
		group.Wait()
		if len(got) != 1 {
			t.Errorf("%s: %d hold the lock", name, len(got))
		}
		if err := (<-got).Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockHoldsAgainstOtherProcessesAndEndsWithItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "LOCK")
	for _, killed := range []bool{false, true} {
		holder := anotherProcess(t, path)
		if holder.said != "locked" {
			t.Fatalf("the other process says: %s", holder.said)
		}
		locked, ok := errors.AsType[*vfs.LockedError](second(vfs.OS{}.Lock(path)))
		if !ok || locked.PID != holder.Process.Pid {
			t.Errorf("got %+v, want it locked by process %d", locked, holder.Process.Pid)
		}
		if killed {
			if err := holder.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		_ = holder.stdin.Close()
		if err := holder.Wait(); (err != nil) != killed {
			t.Errorf("killed %v, the other process ended with %v", killed, err)
		}
		lock, err := vfs.OS{}.Lock(path)
		if err != nil {
			t.Fatalf("killed %v: %v", killed, err)
		}
		refused := anotherProcess(t, path)
		if want := fmt.Sprintf("locked by process %d", os.Getpid()); !strings.Contains(refused.said, want) {
			t.Errorf("the other process says %q, want %q", refused.said, want)
		}
		_ = refused.stdin.Close()
		if err := refused.Wait(); err == nil {
			t.Error("the other process got the lock")
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	}
}
