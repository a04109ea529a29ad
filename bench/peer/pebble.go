package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/workload"
)

// Pebble is cockroachdb/pebble: events by position, and positions by stream and revision. Appends take their positions
// and go into its log under a lock, in order, and wait for the sync outside it, so that Pebble's own group commit
// serves all. Tags are kept, and not indexed.
func Pebble() workload.Target { return &pebbleTarget{} }

type pebbleTarget struct{ _ byte }

func (*pebbleTarget) Name() string { return "pebble" }

// The first byte of keys.
const (
	eventKeys  = 'e'
	streamKeys = 's'
)

func (*pebbleTarget) Open(_ context.Context, dir string) (workload.Store, error) {
	const cacheBytes, tableBytes = 64 << 20, 64 << 20
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		Cache: cache, MemTableSize: tableBytes, MemTableStopWritesThreshold: 4, FormatMajorVersion: pebble.FormatNewest, Logger: silent{},
	})
	if err != nil {
		return nil, err
	}
	s := &pebbleStore{db: db}
	s.heads = newHeads(s.length)
	last, err := s.lastBelow([]byte{eventKeys}, []byte{eventKeys + 1})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if last != nil {
		s.last = binary.BigEndian.Uint64(last[1:])
	}
	s.synced.Store(s.last)
	return s, nil
}

// silent is a logger: what Pebble tells of its work is not what is measured. It does not end the process.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebble: "+format, args...))
}

type pebbleStore struct {
	workload.Unsupported
	db *pebble.DB

	mu    sync.Mutex // held while a batch goes into the log, and not over its sync
	heads *heads
	last  uint64

	synced atomic.Uint64 // the largest position that was synced; what lies before it was too
}

func (s *pebbleStore) Append(_ context.Context, events []annals.Event, conds ...annals.Condition) error {
	records := encodeAll(events)
	b := s.db.NewBatch()
	defer b.Close() // it only gives memory back
	last, err := s.enqueue(b, events, records, conds)
	if err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return err
	}
	for old := s.synced.Load(); old < last && !s.synced.CompareAndSwap(old, last); old = s.synced.Load() {
	}
	return nil
}

func (s *pebbleStore) enqueue(b *pebble.Batch, events []annals.Event, records [][]byte, conds []annals.Condition) (last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.heads.check(conds); err != nil {
		return 0, err
	}
	for i, record := range records {
		s.last++
		if err := b.Set(append([]byte{eventKeys}, number(s.last)...), record, nil); err != nil {
			return 0, err
		}
		stream := events[i].Stream
		if stream == "" {
			continue
		}
		revision, err := s.heads.next(stream)
		if err != nil {
			return 0, err
		}
		if err := b.Set(append([]byte{streamKeys}, streamKey(stream, revision)...), number(s.last), nil); err != nil {
			return 0, err
		}
	}
	return s.last, s.db.ApplyNoSyncWait(b, pebble.Sync)
}

func (s *pebbleStore) length(stream string) (uint64, error) {
	prefix := append([]byte{streamKeys}, streamPrefix(stream)...)
	key, err := s.lastBelow(prefix, after(prefix))
	if err != nil || key == nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(key[len(prefix):]) + 1, nil
}

// after is the first key that does not begin with prefix, which ends with 0 or a letter.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// lastBelow is the last key in a range, nil if it is empty.
func (s *pebbleStore) lastBelow(from, to []byte) ([]byte, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	var key []byte
	if it.Last() {
		key = append(key, it.Key()...)
	}
	return key, it.Close()
}

func (s *pebbleStore) Read(_ context.Context, q annals.Query, visit func(*annals.Event)) error {
	item, ok := soleItem(q)
	if !ok || len(item.Tags)+len(item.Types) > 0 {
		return annals.ErrUnsupported
	}
	if item.Stream == "" {
		return s.each([]byte{eventKeys}, func(record []byte) error { return visitRecord(record, visit) })
	}
	return s.each(append([]byte{streamKeys}, streamPrefix(item.Stream)...), func(position []byte) error {
		record, closer, err := s.db.Get(append([]byte{eventKeys}, position...))
		if err != nil {
			return err
		}
		return errors.Join(visitRecord(record, visit), closer.Close())
	})
}

// each visits the values of the keys that begin with prefix.
func (s *pebbleStore) each(prefix []byte, visit func(value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for it.First(); it.Valid() && err == nil; it.Next() {
		err = visit(it.Value())
	}
	return errors.Join(err, it.Close())
}

func (s *pebbleStore) Head(context.Context) (annals.Position, error) {
	return annals.Position(s.synced.Load()), nil
}

func (s *pebbleStore) Close() error { return s.db.Close() }
