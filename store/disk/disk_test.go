package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/storetest"
)

func open(t *testing.T) annals.Store {
	t.Helper()
	return openDir(t, t.TempDir())
}

func openDir(t *testing.T, dir string) annals.Store {
	t.Helper()
	return start(t, dir)
}

func start(t *testing.T, dir string, opts ...disk.Option) *disk.Store {
	t.Helper()
	s, err := disk.Open(t.Context(), dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s) })
	return s
}

func closed(t *testing.T, s *disk.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, s annals.Store, es ...annals.Event) annals.Receipt {
	t.Helper()
	r, err := s.Append(t.Context(), es)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, s annals.Store, q annals.Query, opts ...annals.ReadOption) ([]annals.Recorded, error) {
	t.Helper()
	var got []annals.Recorded
	for e, err := range s.Read(t.Context(), q, opts...) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

func TestTheStoreKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}

func TestTheStoreOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	storetest.RunPersistent(t, openDir)
}

func TestRandomOperationsGetTheAnswersOfTheReferenceStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storetest.Model(t, open, seed)
		})
	}
}

func TestTheLogGrowsOverManyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	opts := []disk.Option{disk.SegmentBytes(64 << 10), disk.Clock(func() time.Time { return now })}
	s := start(t, dir, opts...)
	for i := range 300 {
		put(t, s, annals.Event{Type: "A", Stream: fmt.Sprint("s-", i%7), Data: bytes.Repeat([]byte{byte(i)}, 2000)})
	}
	want, err := read(t, s, annals.All())
	if err != nil || len(want) != 300 || !want[0].Time.Equal(now) {
		t.Fatalf("read %d events, %v", len(want), err)
	}
	closed(t, s)
	s = start(t, dir, opts...)
	if !s.Recovery().Clean {
		t.Errorf("the store was closed, and its recovery says %+v", s.Recovery())
	}
	got, err := read(t, s, annals.All())
	if err != nil || len(got) != 300 {
		t.Fatalf("read %d events after opening again, %v", len(got), err)
	}
	for i := range got {
		if got[i].ID != want[i].ID || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("position %d changed", got[i].Position)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*.seg")); err != nil || len(files) < 5 {
		t.Errorf("the log lies in %v, %v; want many files", files, err)
	}
	if st := s.Stats(); st.Head != 300 || st.ReadOnly != nil {
		t.Errorf("the stats are %+v", st)
	}
}

func TestADirectoryHasOneWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	_, err := disk.Open(t.Context(), dir)
	if !errors.Is(err, disk.ErrLocked) || !strings.Contains(fmt.Sprint(err), fmt.Sprint(os.Getpid())) {
		t.Errorf("opened twice in one process: got %v, want ErrLocked and the process", err)
	}
	closed(t, s)
	start(t, dir)
}

func TestAReaderBesideTheWriterSeesWhatWasDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	put(t, s, annals.Event{Type: "A"})
	r, err := disk.OpenReadOnly(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, r)
	put(t, s, annals.Event{Type: "B"})
	if got, err := read(t, r, annals.All()); err != nil || len(got) != 1 {
		t.Errorf("read %v, %v; want what there was when it was opened", got, err)
	}
	if _, err := r.Append(t.Context(), []annals.Event{{Type: "C"}}); !errors.Is(err, annals.ErrReadOnly) {
		t.Errorf("an append: got %v, want ErrReadOnly", err)
	}
}

func TestAReaderBesideAWriterThatRollsFilesOpensEverythingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, disk.SegmentBytes(64<<10))
	// So many appends of 8 KB are for each time that the log is opened: two or three files, or it would be opened ever anew
	// by one who never comes to its end.
	const each = 20
	allowed := make(chan struct{}, each)
	var acked atomic.Uint64
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range allowed {
				r, err := s.Append(t.Context(), []annals.Event{{Type: "A", Data: make([]byte, 8000)}})
				if err != nil {
					t.Error(err)
					continue
				}
				for now := acked.Load(); now < uint64(r.Last) && !acked.CompareAndSwap(now, uint64(r.Last)); {
					now = acked.Load()
				}
			}
		})
	}
	for range 15 {
		for range each {
			allowed <- struct{}{}
		}
		before := acked.Load()
		r, err := disk.OpenReadOnly(t.Context(), dir)
		if err != nil {
			t.Errorf("beside the writer, after %d events: %v", before, err)
			break
		}
		if got, err := read(t, r, annals.All()); err != nil || uint64(len(got)) < before {
			t.Errorf("read %d events, %v; %d had been acknowledged before", len(got), err, before)
		}
		closed(t, r)
	}
	close(allowed)
	writing.Wait()
	if files, err := filepath.Glob(filepath.Join(dir, "*.seg")); err != nil || len(files) < 10 {
		t.Errorf("the log lies in %v, %v; want the writer to have rolled", files, err)
	}
}

func TestADirectoryOfOtherFilesIsNoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "novel.txt"), []byte("It was a dark and stormy night"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(t.Context(), dir); !errors.Is(err, disk.ErrNotAStore) {
		t.Errorf("got %v, want ErrNotAStore", err)
	}
	if _, err := disk.OpenReadOnly(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that does not exist was opened to be read")
	}
}

func TestTheLoggerIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	put(t, s, annals.Event{Type: "A", Data: []byte("needle")})
	closed(t, s)
	flip(t, dir, "needle")
	var b bytes.Buffer
	damaged := start(t, dir, disk.Logger(slog.New(slog.NewTextHandler(&b, nil))))
	closed(t, damaged)
	if !strings.Contains(b.String(), "lost") {
		t.Errorf("the logger was told %q", b.String())
	}
}

func TestCeilingsLeaveEveryAnswerAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, disk.SegmentBytes(64<<10), disk.FilesMax(1), disk.TableBytes(1), disk.IndexBytes(1, 1), disk.LiveBytes(1), disk.Queue(1, 1))
	for i := range 200 {
		put(t, s, annals.Event{Type: "A", Stream: fmt.Sprint("s-", i%7), Data: bytes.Repeat([]byte("x"), 2000)})
	}
	closed(t, s)
	s = start(t, dir, disk.FilesMax(1), disk.TableBytes(1), disk.IndexBytes(1, 1))
	for i := range 7 {
		if got, err := read(t, s, annals.Stream(fmt.Sprint("s-", i))); err != nil || len(got) != 28+max(0, min(1, 4-i)) {
			t.Errorf("stream %d has %d events, %v", i, len(got), err)
		}
	}
	if st := s.Stats(); st.Index.Runs == 0 || st.Index.Bytes == 0 || st.Index.Damaged != 0 || st.Index.InMemory != 0 || st.Index.Resident > 1 {
		t.Errorf("the stats say %+v", st.Index)
	}
	last := int64(-1)
	r, err := s.Verify(t.Context(), disk.Progress(func(done, total int64) {
		if done < last || done > total {
			t.Errorf("%d of %d bytes after %d", done, total, last)
		}
		last = done
	}))
	if err != nil || len(r.Damage)+len(r.Index) > 0 || r.Events != 200 || last <= 0 {
		t.Errorf("verified %+v, %v, with progress up to %d", r, err, last)
	}
}
