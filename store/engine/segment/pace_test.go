package segment_test

import (
	"errors"
	"testing"
	"time"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

// atLeisure makes the next segment in the background, at the pace of appends.
func atLeisure(seed uint64) segment.Options {
	return segment.Options{SegmentBytes: 4 << 20, Random: seeded(seed)}
}

// pacing is a store whose next segment is half made, and waits for appends that do not come.
func pacing(t *testing.T, fs vfs.FS) *script {
	t.Helper()
	s := started(t, fs, atLeisure(1))
	for range 6 {
		s.mustAppend(t, 1, 100<<10)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		all := segmentsOf(t, fs)
		if len(all) > 1 {
			if i, err := fs.Stat(storeDir + "/" + all[1]); err == nil && i.Size >= 1<<20 && i.Size < 4<<20 {
				return s
			}
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("no segment is being made: %v", all)
		}
	}
}

func TestASegmentThatIsBeingMadeAtLeisureKeepsNobody(t *testing.T) {
	t.Parallel()
	t.Run("from closing, and leaves no file", func(t *testing.T) {
		t.Parallel()
		fs := vfs.NewMem()
		s := pacing(t, fs)
		closing(t, s.d)
		if left := segmentsOf(t, fs); len(left) != 1 {
			t.Errorf("the segments %v are left", left)
		}
		if r := open(t, fs, atLeisure(2)).Recovered(); !r.Clean || len(r.Damage) > 0 {
			t.Errorf("recovered %+v", r)
		}
	})
	t.Run("from appending what needs a larger one", func(t *testing.T) {
		t.Parallel()
		fs := vfs.NewMem()
		s := pacing(t, fs)
		s.mustAppend(t, 1, 8<<20)
		s.mustAppend(t, 1, 1<<20)
		closing(t, s.d)
		if err := holds(open(t, fs, atLeisure(2)), s.acked); err != nil {
			t.Error(err)
		}
	})
	t.Run("from closing a log that has stopped", func(t *testing.T) {
		t.Parallel()
		bad := make(chan struct{})
		fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) vfs.Fault {
			select {
			case <-bad:
				if o.Kind == vfs.OpSync {
					return vfs.Fault{Err: errors.New("no sync")}
				}
			default:
			}
			return vfs.Fault{}
		})
		s := pacing(t, fs)
		close(bad)
		if err := s.append(1, 100); !errors.Is(err, journal.ErrStopped) {
			t.Fatal(err)
		}
		if err := s.d.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("from writing again after a kill that took the manifests too", func(t *testing.T) {
		t.Parallel()
		fs := vfs.NewMem()
		s := pacing(t, fs)
		killed := fs.Kill()
		closing(t, s.d)
		for _, m := range manifestsOf(t, killed) {
			if err := killed.Remove(storeDir + "/" + m); err != nil {
				t.Fatal(err)
			}
		}
		d := open(t, killed, atLeisure(2))
		if err := d.Stopped(); err != nil {
			t.Errorf("it takes no frames: %v", err)
		}
		if err := holds(d, s.acked); err != nil {
			t.Error(err)
		}
	})
}
