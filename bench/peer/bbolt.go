package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/workload"
)

// Bbolt is go.etcd.io/bbolt: a bucket of events by position, and one of positions by stream and revision. A goroutine
// commits what waits in one transaction; the list of free pages is not synced, which is an fsync less to pay for, and
// is made anew by opening. Tags are kept, and not indexed.
func Bbolt() workload.Target { return &bbolt{} }

type bbolt struct{ _ byte }

func (*bbolt) Name() string { return "bbolt" }

var (
	eventsBucket  = []byte("events")
	streamsBucket = []byte("streams")
)

func (*bbolt) Open(_ context.Context, dir string) (workload.Store, error) {
	const mapped = 4 << 30 // no remapping while it is measured
	db, err := bolt.Open(filepath.Join(dir, "events.bolt"), 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: mapped, NoStatistics: true,
	})
	if err != nil {
		return nil, err
	}
	s := &bboltStore{db: db}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(streamsBucket)
		if err != nil {
			return err
		}
		events, err := tx.CreateBucketIfNotExists(eventsBucket)
		if err != nil {
			return err
		}
		if last, _ := events.Cursor().Last(); last != nil {
			s.last = binary.BigEndian.Uint64(last)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.committer = newCommitter(s.commit)
	return s, nil
}

type bboltStore struct {
	workload.Unsupported
	db        *bolt.DB
	committer *committer
	heads     *heads // the committer's, within a transaction
	last      uint64 // the committer's
}

func (s *bboltStore) commit(group []*request) error {
	last := s.last
	err := s.db.Update(func(tx *bolt.Tx) error {
		events, streams := tx.Bucket(eventsBucket), tx.Bucket(streamsBucket)
		events.FillPercent = 1 // positions only grow
		if s.heads == nil {
			s.heads = newHeads(nil)
		}
		s.heads.lookUp = func(stream string) (uint64, error) { return boltLength(streams.Cursor(), stream), nil }
		for _, r := range group {
			if r.err = s.heads.check(r.conds); r.err != nil {
				continue
			}
			for i, record := range r.records {
				last++
				if err := events.Put(number(last), record); err != nil {
					return err
				}
				if err := s.index(streams, r.events[i].Stream, last); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		s.heads.forget()
		return err
	}
	s.last = last
	return nil
}

func (s *bboltStore) index(streams *bolt.Bucket, stream string, position uint64) error {
	if stream == "" {
		return nil
	}
	revision, err := s.heads.next(stream)
	if err != nil {
		return err
	}
	return streams.Put(streamKey(stream, revision), number(position))
}

// boltLength is the number of a stream's events: the last key of its own tells.
func boltLength(c *bolt.Cursor, stream string) uint64 {
	prefix := streamPrefix(stream)
	key, _ := c.Seek(append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 9)...))
	if key == nil {
		key, _ = c.Last()
	} else {
		key, _ = c.Prev()
	}
	if !bytes.HasPrefix(key, prefix) {
		return 0
	}
	return binary.BigEndian.Uint64(key[len(prefix):]) + 1
}

func (s *bboltStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error {
	return s.committer.append(ctx, &request{events: events, records: encodeAll(events), conds: conds})
}

func (s *bboltStore) Read(_ context.Context, q annals.Query, visit func(*annals.Event)) error {
	it, ok := soleItem(q)
	if !ok || len(it.Tags)+len(it.Types) > 0 {
		return annals.ErrUnsupported
	}
	return s.db.View(func(tx *bolt.Tx) error {
		events := tx.Bucket(eventsBucket)
		if it.Stream == "" {
			return events.ForEach(func(_, record []byte) error { return visitRecord(record, visit) })
		}
		c, prefix := tx.Bucket(streamsBucket).Cursor(), streamPrefix(it.Stream)
		for key, position := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, position = c.Next() {
			if err := visitRecord(events.Get(position), visit); err != nil {
				return err
			}
		}
		return nil
	})
}

func visitRecord(record []byte, visit func(*annals.Event)) error {
	e, err := decode(record)
	if err == nil {
		visit(&e)
	}
	return err
}

func (s *bboltStore) Head(context.Context) (head annals.Position, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if last, _ := tx.Bucket(eventsBucket).Cursor().Last(); last != nil {
			head = annals.Position(binary.BigEndian.Uint64(last))
		}
		return nil
	})
	return head, err
}

func (s *bboltStore) Close() error {
	s.committer.close()
	return s.db.Close()
}
