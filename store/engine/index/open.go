package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dchest/siphash"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/index/run"
	"github.com/annalsdb/annals/store/engine/journal"
)

// Config is what an index is made of.
type Config struct {
	// Identity says whose log it is, and under which secret names are hashed.
	Identity journal.Identity
	// FS and Dir are where runs are kept. Without FS they are kept in memory.
	FS  vfs.FS
	Dir string
	// ReadOnly writes nothing; what is not in runs yet stays in memory.
	ReadOnly bool
	// Events reads the log for runs that have to be made anew.
	Events Events
	// EpochEvents is how many events are kept in memory before they are written to a run. By default 65,536.
	EpochEvents int
	// MemoryBytes bounds what runs keep in memory of their filters and fences; beyond it they are read from files each time.
	// By default 512 MiB, of which about 2 to 5 are used for a million events.
	MemoryBytes int64
	// CacheBytes bounds the blocks of runs that are kept. By default 64 MiB.
	CacheBytes int64
	// Foreground does within [Index.Advance] what otherwise goes on in the background, so that the order of file operations can be
	// repeated, for simulation.
	Foreground bool
	// Logger is told of what an operator should know. Required.
	Logger *slog.Logger

	// inMemory is the largest run that is kept in memory when it cannot be written, or while it is made, in events.
	inMemory uint64
	blind    uint64 // of the hasher
}

// owner is what runs say of whose they are: the store, under the seed that its terms are hashed with. A store whose seed was lost has
// another one, under which a run of before would find nothing.
func (c *Config) owner() [16]byte {
	h := NewHasher(c.Identity.HashSeed)
	low, high := siphash.Hash128(h.k0, h.k1, c.Identity.Store[:])
	return [16]byte(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, low), high))
}

// Events reads the events at positions from the first to the last, each with its keys and its time in nanoseconds. Keys are
// lent until the next are asked for.
type Events = func(ctx context.Context, first, last uint64) iter.Seq2[Dated, error]

// Dated are the keys of an event, and its time in nanoseconds since 1970.
type Dated struct {
	Keys *Keys
	Time int64
}

const (
	defaultEpochEvents = 64 << 10
	defaultMemoryBytes = 512 << 20
	defaultCacheBytes  = 64 << 20
	defaultInMemory    = 1 << 20
)

// Tail is the frame up to which a piece of the index goes, and its last position.
type Tail struct {
	Position uint64
	Seq      uint64
	Hash     [32]byte
	Epoch    uint64
	Time     time.Time
}

func timeAt(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// Open makes the index of a log from the runs that there are. Whoever opens it says with [Index.Trust] which of them are of the log
// as it is, and adds the frames that follow them. Files that do not verify are left out. Nothing keeps an index from being
// opened: the log has all that it would say.
func Open(ctx context.Context, c Config) *Index {
	c.EpochEvents = cmp.Or(max(c.EpochEvents, 0), defaultEpochEvents)
	c.MemoryBytes = cmp.Or(max(c.MemoryBytes, 0), defaultMemoryBytes)
	c.CacheBytes = cmp.Or(max(c.CacheBytes, 0), defaultCacheBytes)
	c.inMemory = cmp.Or(c.inMemory, defaultInMemory)
	x := &Index{
		hasher: NewHasher(c.Identity.HashSeed), config: c,
		options: run.ReadOptions{Budget: run.NewBudget(c.MemoryBytes), Cache: run.NewCache(c.CacheBytes)},
	}
	x.hasher.blind = c.blind
	x.files = files{fs: c.FS, dir: c.Dir, c: &x.config}
	x.builder.init(ctx, x)
	var runs []*piece
	if c.FS != nil {
		var err error
		if runs, err = x.openRuns(); err != nil {
			c.Logger.WarnContext(ctx, "the index cannot be read, and is made anew from the log", "directory", c.Dir, "error", err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.startLocked(runs)
	return x
}

// startLocked begins with these runs, and nothing after them.
func (x *Index) startLocked(runs []*piece) {
	last := uint64(0)
	x.frame = 0
	if n := len(runs); n > 0 {
		last, x.frame = runs[n-1].last, runs[n-1].meta.LastSeq
	}
	x.changeLocked(runs, []*epoch{newEpoch(last + 1)})
	x.head.Store(last)
}

// openRuns opens runs that lie side by side, from the first position on, the largest ones that there are. Beside a writer files may
// vanish, since there are larger ones in their place: then it looks again.
func (x *Index) openRuns() (runs []*piece, err error) {
	for i := range listingsMost {
		names, err := x.files.names()
		if err != nil {
			return nil, err
		}
		var vanished bool
		if runs, vanished = x.openNamed(names); !vanished || !x.config.ReadOnly {
			return runs, nil
		}
		if i < listingsMost-1 {
			for _, p := range runs {
				_ = p.file.Close() // it was only read
			}
		}
	}
	return runs, nil
}

// listingsMost is how often a directory is looked at in which files vanish.
const listingsMost = 4

// span is the positions that a file covers.
type span struct {
	first, last uint64
	name        string
}

func spans(names []string) []span {
	var all []span
	for _, name := range names {
		if first, last, ok := parseRunName(name); ok {
			all = append(all, span{first, last, name})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last)) })
	return all
}

// openNamed opens runs that have these names, and removes what nobody needs. It tells whether one of them was not there.
func (x *Index) openNamed(names []string) (runs []*piece, vanished bool) {
	used := map[string]bool{}
	next := uint64(1)
	for _, s := range spans(names) {
		if s.first != next {
			continue
		}
		p, err := x.openFile(s.name, s.first, s.last)
		if err != nil {
			vanished = vanished || errors.Is(err, fs.ErrNotExist)
			x.config.Logger.Warn("a part of the index is left out", "file", s.name, "error", err)
			continue
		}
		runs, used[s.name], next = append(runs, p), true, s.last+1
	}
	if x.config.ReadOnly {
		return runs, vanished
	}
	for _, name := range names {
		if !used[name] && (strings.HasSuffix(name, runSuffix) || strings.HasSuffix(name, partSuffix)) {
			x.files.remove(name)
		}
	}
	return runs, vanished
}

var errOtherLog = errors.New("it is of another log, or of other positions than its name says")

// openFile opens a run.
func (x *Index) openFile(name string, first, last uint64) (*piece, error) {
	file, err := x.files.fs.Open(x.files.join(name))
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err == nil {
		var p *piece
		if p, err = x.openRun(file, size); err == nil {
			if p.first == first && p.last == last {
				p.file, p.name = file, name
				return p, nil
			}
			err = errOtherLog
		}
	}
	return nil, errors.Join(err, file.Close())
}

// openRun makes a piece of a run.
func (x *Index) openRun(f io.ReaderAt, size int64) (*piece, error) {
	r, err := run.Open(f, size, x.options)
	if err != nil {
		return nil, err
	}
	m := r.Meta()
	if m.Store != x.config.owner() || m.Incarnation != x.config.Identity.Incarnation {
		return nil, errOtherLog
	}
	return &piece{x: x, first: m.First, last: m.Last, meta: m, ids: boundsOf(&m), reader: r}, nil
}

// Trust leaves runs out, from the first one on whose last frame the log does not have, and tells where the others end; there may be
// none. It is for whoever has opened the index, before anything is added. From then on runs are mended and merged.
func (x *Index) Trust(has func(Tail) (bool, error)) (last Tail, some bool, err error) {
	runs := x.set.runs // nobody changes them yet
	for i, p := range runs {
		known, err := has(p.tail())
		if err != nil {
			return Tail{}, false, err
		}
		if !known {
			x.drop(runs[i:])
			break
		}
		last, some = p.tail(), true
	}
	x.builder.kick(&x.builder.mend)
	return last, some, nil
}

// drop leaves the last runs out.
func (x *Index) drop(runs []*piece) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range runs {
		x.config.Logger.Warn("a part of the index does not belong to the log and is left out", "file", p.name)
		p.gone.Store(!x.config.ReadOnly)
	}
	x.startLocked(slices.Clone(x.set.runs[:len(x.set.runs)-len(runs)]))
}
