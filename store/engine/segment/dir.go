package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

// Options adjust a Dir. Random must be given, unless ReadOnly is.
type Options struct {
	// SegmentBytes is the size up to which segments grow. The first ones are smaller; one that has to hold a larger frame is
	// larger. 0 is 64 MiB.
	SegmentBytes int64
	// Random makes ids, salts and seeds.
	Random io.Reader
	// Logger is told what is found and done. nil is silence.
	Logger *slog.Logger
	// ReadOnly opens without the lock and without writing anything, beside a writer if need be. The log ends where it was durable
	// when it was opened.
	ReadOnly bool
	// FilesMax is how many files of segments to which nothing is written are kept open. 0 is 64. Those that are being read right
	// now stay open beyond that.
	FilesMax int
	// TableBytesMax bounds the memory of the tables of sealed segments, which tell where their records are and can be loaded
	// again: 4 bytes for an event and 16 for a frame. 0 is 64 MiB. One table is kept however large it is.
	TableBytesMax int64
	// Foreground does within CompareAppend and Open what otherwise goes on in the background: preparing the next segment,
	// sealing full ones; and nothing is read ahead beside the reader. It makes the order of file operations repeatable, for simulation.
	Foreground bool
}

// What holds if the options do not say.
const (
	DefaultSegmentBytes  = 64 << 20
	DefaultFilesMax      = 64
	DefaultTableBytesMax = 64 << 20
)

const (
	segmentBytesMin = 2 * headerBytes
	// segmentBytesMax is what offsets of 32 bits, in steps of 8 bytes, reach.
	segmentBytesMax = 16 << 30
	// firstSegmentBytes is the size of the first segment, so that a small store is small. Each that follows has
	// growth times as much.
	firstSegmentBytes = 1 << 20
	growth            = 4
)

func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes += -o.SegmentBytes & (headerBytes - 1)
	if o.SegmentBytes < segmentBytesMin || o.SegmentBytes > segmentBytesMax {
		return o, fmt.Errorf("segment: segments of %d bytes: want %d to %d", o.SegmentBytes, segmentBytesMin, int64(segmentBytesMax))
	}
	if o.Random == nil && !o.ReadOnly {
		return o, errors.New("segment: no source of randomness")
	}
	if o.FilesMax < 0 || o.TableBytesMax < 0 {
		return o, fmt.Errorf("segment: %d files and %d bytes of tables: want none less than 0", o.FilesMax, o.TableBytesMax)
	}
	o.FilesMax = cmp.Or(o.FilesMax, DefaultFilesMax)
	o.TableBytesMax = cmp.Or(o.TableBytesMax, DefaultTableBytesMax)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Dir is an open directory. It is a journal, and where single events are read from. It is safe for concurrent use; appends
// wait for each other.
type Dir struct {
	fs       vfs.FS
	dir      string
	o        Options
	log      *slog.Logger
	identity journal.Identity
	epoch    uint64
	lock     io.Closer
	recovery Recovery
	doubts   []*annals.DataLossError // of the end of the log
	tables   tableCache
	files    fileCache
	// shut says that files are closed, and none is to be opened.
	shut atomic.Bool

	// commit is held by the one append, or by Close.
	commit sync.Mutex
	buf    []byte
	// pending is a log that was recovered, but could not be taken over because the disk was full. The first append tries
	// again.
	pending  *recovery
	closeErr error
	// upkeep is held by whoever changes which files there are. It is taken after commit and before mu.
	upkeep     sync.Mutex
	hurried    atomic.Int32  // how many want upkeep
	hurry      chan struct{} // with room for one: somebody does
	manifestNo uint64        // the highest number that is taken
	manifest   uint64        // the newest that verifies
	background sync.WaitGroup
	// replacing is held by whoever replaces a segment. It is taken before upkeep.
	replacing sync.Mutex

	mu       sync.RWMutex
	segments []*segment // those that have frames, ascending, and the active one, which is last
	next     *segment
	head     tip
	stopped  error
	closed   bool
	working  bool // the background is
	failed   bool // what it did last
	// retryAt is where the active segment has to have come before a next one is tried again, after that failed.
	retryAt int64
	changed chan struct{}
}

var (
	_ journal.Journal = (*Dir)(nil)
	_ journal.Records = (*Dir)(nil)
)

// Recovery is what opening found.
type Recovery struct {
	// Clean says that the log was closed, and nothing had to be found out.
	Clean bool
	// CutBytes is the size of a torn tail, which was never acknowledged, and was cut off. It is kept in
	// QuarantineFile, relative to the directory.
	CutBytes       int64
	QuarantineFile string
	// Frames is the number of the last frame, Positions the last position.
	Frames    uint64
	Positions annals.Position
	// ManifestRebuilt says that the newest manifest was damaged, missing, or older than the segments, and was made
	// anew from them.
	ManifestRebuilt bool
	// Damage is what does not verify. What only reading each frame shows is not in it: see [Dir.Verify].
	Damage []*annals.DataLossError
}

// Identity says whose log it is.
func (d *Dir) Identity() journal.Identity { return d.identity }

// Recovered says what opening found.
func (d *Dir) Recovered() Recovery {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := d.recovery
	r.Damage = slices.Clone(r.Damage)
	return r
}

// Head implements [journal.Journal].
func (d *Dir) Head(ctx context.Context) (frame.Ref, uint64, error) {
	if err := ended(ctx); err != nil {
		return frame.Ref{}, 0, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return frame.Ref{}, 0, annals.ErrClosed
	}
	return d.head.ref(), d.epoch, nil
}

// Limits implements [journal.Journal].
func (d *Dir) Limits() journal.Limits { return journal.Limits{FrameBytes: frame.BytesMax} }

// Close marks the log as closed and gives the directory free. Reads and followers end with [annals.ErrClosed]. A log
// whose writing has stopped is not marked. To close again does nothing, and gives the same answer.
func (d *Dir) Close() error {
	d.commit.Lock()
	defer d.commit.Unlock()
	if !d.beginClose() {
		return d.closeErr
	}
	d.background.Wait()
	d.upkeep.Lock()
	defer d.upkeep.Unlock()
	var err error
	if !d.o.ReadOnly && d.pending == nil && d.stoppedBy() == nil {
		if err = d.sealFull(); err != nil {
			d.log.Warn("sealing failed; it is done when the log is opened", "error", err)
		}
		err = nil
		if d.stoppedBy() == nil {
			err = d.writeManifest(d.snapshot(true))
		}
	}
	d.closeErr = errors.Join(err, d.release())
	return d.closeErr
}

func (d *Dir) beginClose() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.closed = true
	close(d.changed)
	d.changed = make(chan struct{})
	return true
}

// release closes files and gives up the lock.
func (d *Dir) release() error {
	d.shut.Store(true)
	var errs []error
	for _, s := range d.all() {
		s.mu.Lock()
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
		s.mu.Unlock()
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// all are the segments, the next one included.
func (d *Dir) all() []*segment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := slices.Clone(d.segments)
	if d.next != nil {
		all = append(all, d.next)
	}
	return all
}

// stop ends writing for good.
func (d *Dir) stop(cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped == nil {
		d.stopped = cause
		d.log.Error("writing has stopped until the log is opened again", "error", cause)
	}
}

// Stopped is why no frames are taken until the log is opened again; nil if they are.
func (d *Dir) Stopped() error { return d.stoppedBy() }

func (d *Dir) stoppedBy() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.stopped
}

// state is what a reader needs to know at once.
func (d *Dir) state() (head tip, changed <-chan struct{}, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return tip{}, nil, annals.ErrClosed
	}
	return d.head, d.changed, nil
}

// withPosition gives the segment with the record at p, which stays until it is let go. The caller holds mu, and knows that
// there is one.
func (d *Dir) withPosition(p annals.Position) *segment {
	low, high := 0, len(d.segments)
	for high-low > 1 {
		if mid := (low + high) / 2; d.segments[mid].firstPos > p {
			high = mid
		} else {
			low = mid
		}
	}
	d.segments[low].readers.Add(1)
	return d.segments[low]
}

// withFrame gives the segment with this frame, which stays until it is let go.
func (d *Dir) withFrame(seq uint64) *segment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i := sort.Search(len(d.segments), func(i int) bool { return d.segments[i].firstSeq > seq })
	s := d.segments[max(i, 1)-1]
	s.readers.Add(1)
	return s
}

// ended is nil while ctx runs; then an error that matches both the context's error and its cause.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
