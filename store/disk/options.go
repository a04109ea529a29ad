package disk

import (
	"log/slog"
	"time"

	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/segment"
)

// Option adjusts a store.
type Option func(*options)

type options struct {
	segments segment.Options
	engine   engine.Config
}

// Logger is told what an operator should know. Without it nobody is.
func Logger(l *slog.Logger) Option {
	return func(o *options) { o.segments.Logger, o.engine.Logger = l, l }
}

// SegmentBytes is the size up to which the files of the log grow. By default 64 MiB.
func SegmentBytes(n int64) Option { return func(o *options) { o.segments.SegmentBytes = n } }

// Clock is where the time of events comes from, instead of the wall clock. It is called concurrently. A clock that goes
// back is held at the last time it gave.
func Clock(now func() time.Time) Option { return func(o *options) { o.engine.Clock = now } }

// FilesMax is how many files of the log are kept open to be read. By default 64. Files of the index are open besides: at
// most some thirty, whatever the store's size.
func FilesMax(n int) Option { return func(o *options) { o.segments.FilesMax = n } }

// TableBytes bounds the memory for where records lie in files. By default 64 MiB, of which 4 bytes are used for an event
// that was read lately.
func TableBytes(n int64) Option { return func(o *options) { o.segments.TableBytesMax = n } }

// IndexBytes bounds the memory for filters and fences of the index, and for its blocks that are used often. By default 512
// and 64 MiB; a million events take 2 to 5 MiB of the first. With less, more is read from files.
func IndexBytes(filters, blocks int64) Option {
	return func(o *options) { o.engine.Index.MemoryBytes, o.engine.Index.CacheBytes = filters, blocks }
}

// Queue bounds what waits to be written, in appends and in bytes; once that much waits, appends are
// [annals.ErrOverloaded]. By default 4,096 and 64 MiB.
func Queue(appends, bytes int) Option {
	return func(o *options) { o.engine.QueueAppends, o.engine.QueueBytes = appends, bytes }
}

// LiveBytes bounds what is kept for subscriptions, all of them together. By default 8 MiB, and up to four times that while
// many are slow. Whoever is slower reads the log again.
func LiveBytes(n int) Option { return func(o *options) { o.engine.LiveBytes = n } }
