package peer

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/workload"
)

// RaftWAL is hashicorp/raft-wal: a log without any index, so that it can append and nothing else. Each event is a log
// entry; a goroutine stores what waits at once.
func RaftWAL() workload.Target { return &raftWAL{} }

type raftWAL struct{ _ byte }

func (*raftWAL) Name() string { return "raft-wal" }

func (*raftWAL) Open(_ context.Context, dir string) (workload.Store, error) {
	meta := &metadb.BoltMetaDB{} // it is the default, but nobody else closes it
	w, err := wal.Open(dir, wal.WithLogger(hclog.NewNullLogger()), wal.WithMetaStore(meta))
	if err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	last, err := w.LastIndex()
	if err != nil {
		return nil, errors.Join(err, w.Close(), meta.Close())
	}
	s := &raftWALStore{wal: w, meta: meta, last: last}
	s.committer = newCommitter(s.commit)
	return s, nil
}

type raftWALStore struct {
	workload.Unsupported
	wal       *wal.WAL
	meta      *metadb.BoltMetaDB
	committer *committer
	last      uint64 // the committer's
}

func (s *raftWALStore) commit(group []*request) error {
	var logs []*raft.Log
	for _, r := range group {
		for _, record := range r.records {
			s.last++
			logs = append(logs, &raft.Log{Index: s.last, Data: record})
		}
	}
	return s.wal.StoreLogs(logs)
}

func (s *raftWALStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error {
	if len(conds) > 0 {
		return annals.ErrUnsupported
	}
	return s.committer.append(ctx, &request{records: encodeAll(events)})
}

func (s *raftWALStore) Head(context.Context) (annals.Position, error) {
	last, err := s.wal.LastIndex()
	return annals.Position(last), err
}

func (s *raftWALStore) Close() error {
	s.committer.close()
	return errors.Join(s.wal.Close(), s.meta.Close())
}
