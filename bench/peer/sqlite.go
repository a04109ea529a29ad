package peer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/workload"
)

// SQLite is modernc.org/sqlite, without cgo, in WAL mode with synchronous=FULL: a table of events by position with
// indexes on stream and revision, and on type, and a table of tags. A goroutine commits what waits in one transaction.
func SQLite() workload.Target { return &sqlite{} }

type sqlite struct{ _ byte }

func (*sqlite) Name() string { return "sqlite" }

const sqliteSchema = `
CREATE TABLE IF NOT EXISTS events (
	position INTEGER PRIMARY KEY, stream TEXT, revision INTEGER, type TEXT NOT NULL, record BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON events (stream, revision) WHERE stream IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_type ON events (type);
CREATE TABLE IF NOT EXISTS tags (
	tag TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tag, position)
) WITHOUT ROWID;`

// Statements of the writer.
const (
	sqliteInsert = `INSERT INTO events (position, stream, revision, type, record) VALUES (?, ?, ?, ?, ?)`
	sqliteTag    = `INSERT INTO tags (tag, position) VALUES (?, ?)`
	sqliteLength = `SELECT COALESCE(MAX(revision) + 1, 0) FROM events WHERE stream = ?`
)

func (*sqlite) Open(ctx context.Context, dir string) (workload.Store, error) {
	// A large cache and rare checkpoints; the defaults of both are for phones.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "events.sqlite")+"?"+strings.Join([]string{
		"_pragma=busy_timeout(10000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=cache_size(-65536)",
		"_pragma=wal_autocheckpoint(8192)",
	}, "&"))
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(64) // their caches stay
	s := &sqliteStore{db: db, statements: map[string]*sql.Stmt{}}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.committer = newCommitter(s.commit)
	return s, nil
}

type sqliteStore struct {
	workload.Unsupported
	db        *sql.DB
	committer *committer

	// The committer's.
	writer     *sql.Conn
	statements map[string]*sql.Stmt
	heads      *heads
	last       uint64
}

func (s *sqliteStore) begin(ctx context.Context) (err error) {
	if s.writer, err = s.db.Conn(ctx); err != nil {
		return err
	}
	if _, err := s.writer.ExecContext(ctx, sqliteSchema); err != nil {
		return err
	}
	s.heads = newHeads(func(stream string) (n uint64, err error) {
		lookUp, err := s.prepared(context.Background(), sqliteLength)
		if err != nil {
			return 0, err
		}
		err = lookUp.QueryRowContext(context.Background(), stream).Scan(&n)
		return n, err
	})
	head, err := s.Head(ctx)
	s.last = uint64(head)
	return err
}

// prepared is a statement of the writer's connection, made once.
func (s *sqliteStore) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if known := s.statements[text]; known != nil {
		return known, nil
	}
	made, err := s.writer.PrepareContext(ctx, text)
	if err == nil {
		s.statements[text] = made
	}
	return made, err
}

func (s *sqliteStore) exec(ctx context.Context, text string, args ...any) error {
	stmt, err := s.prepared(ctx, text)
	if err == nil {
		_, err = stmt.ExecContext(ctx, args...)
	}
	return err
}

// commit is not cut off by whoever waits.
func (s *sqliteStore) commit(group []*request) error {
	ctx := context.Background()
	if err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	last, err := s.insert(ctx, group)
	if err == nil {
		err = s.exec(ctx, "COMMIT")
	}
	if err != nil {
		s.heads.forget()
		return errors.Join(err, s.exec(ctx, "ROLLBACK"))
	}
	s.last = last
	return nil
}

func (s *sqliteStore) insert(ctx context.Context, group []*request) (last uint64, err error) {
	last = s.last
	for _, r := range group {
		switch r.err = s.check(ctx, r.conds); {
		case errors.Is(r.err, annals.ErrConflict):
			continue
		case r.err != nil:
			return 0, r.err
		}
		for i, record := range r.records {
			last++
			if err := s.insertOne(ctx, last, &r.events[i], record); err != nil {
				return 0, err
			}
		}
	}
	return last, nil
}

func (s *sqliteStore) insertOne(ctx context.Context, position uint64, e *annals.Event, record []byte) error {
	var stream, revision any
	if e.Stream != "" {
		next, err := s.heads.next(e.Stream)
		if err != nil {
			return err
		}
		stream, revision = e.Stream, int64(next)
	}
	if err := s.exec(ctx, sqliteInsert, int64(position), stream, revision, e.Type, record); err != nil {
		return err
	}
	for _, t := range e.Tags {
		if err := s.exec(ctx, sqliteTag, t, int64(position)); err != nil {
			return err
		}
	}
	return nil
}

// check evaluates conditions within the transaction, so that they see the appends of the same group that came before.
func (s *sqliteStore) check(ctx context.Context, conds []annals.Condition) error {
	for _, c := range conds {
		if c.Kind() != annals.KindNoneSince {
			if err := s.heads.check([]annals.Condition{c}); err != nil {
				return err
			}
			continue
		}
		text, args, err := sqliteWhere(c.Query())
		if err != nil {
			return err
		}
		position := "e.position"
		if strings.HasPrefix(text, "FROM tags") {
			position = "t0.position" // the index of tags begins where it should
		}
		stmt, err := s.prepared(ctx, "SELECT EXISTS (SELECT 1 "+text+" AND "+position+" > ?)")
		if err != nil {
			return err
		}
		var found bool
		if err := stmt.QueryRowContext(ctx, append(args, int64(c.After()))...).Scan(&found); err != nil {
			return err
		}
		if found {
			return annals.ErrConflict
		}
	}
	return nil
}

// sqliteWhere is a query from FROM on, with a condition, whose events are e.
func sqliteWhere(q annals.Query) (text string, args []any, err error) {
	it, ok := soleItem(q)
	if !ok {
		return "", nil, annals.ErrUnsupported
	}
	from, where := "events e", []string{"1"}
	for i, t := range it.Tags {
		if i == 0 {
			from = "tags t0"
			where = []string{"t0.tag = ?"}
		} else {
			from += fmt.Sprintf(" CROSS JOIN tags t%d", i)
			where = append(where, fmt.Sprintf("t%d.tag = ? AND t%d.position = t0.position", i, i))
		}
		args = append(args, t)
	}
	if len(it.Tags) > 0 {
		from += " CROSS JOIN events e" // which keeps the planner from going through all events
		where = append(where, "e.position = t0.position")
	}
	if it.Stream != "" {
		where, args = append(where, "e.stream = ?"), append(args, it.Stream)
	}
	if len(it.Types) > 0 {
		where = append(where, "e.type IN (?"+strings.Repeat(", ?", len(it.Types)-1)+")")
		for _, t := range it.Types {
			args = append(args, t)
		}
	}
	return "FROM " + from + " WHERE " + strings.Join(where, " AND "), args, nil
}

func (s *sqliteStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error {
	return s.committer.append(ctx, &request{events: events, records: encodeAll(events), conds: conds})
}

func (s *sqliteStore) Read(ctx context.Context, q annals.Query, visit func(*annals.Event)) (err error) {
	it, _ := soleItem(q)
	text, args, err := sqliteWhere(q)
	if err != nil {
		return err
	}
	order := " ORDER BY e.position"
	switch {
	case it.Stream != "":
		order = " ORDER BY e.revision" // the same, and the index has it
	case len(it.Tags) > 0:
		order = " ORDER BY t0.position"
	}
	rows, err := s.db.QueryContext(ctx, "SELECT e.record "+text+order, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var record sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&record); err != nil {
			return err
		}
		if err := visitRecord(record, visit); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *sqliteStore) Head(ctx context.Context) (annals.Position, error) {
	var last int64
	err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(position), 0) FROM events").Scan(&last)
	return annals.Position(last), err
}

func (s *sqliteStore) Close() error {
	if s.committer != nil {
		s.committer.close()
	}
	var err error
	for _, stmt := range s.statements {
		err = errors.Join(err, stmt.Close())
	}
	if s.writer != nil {
		err = errors.Join(err, s.writer.Close())
	}
	return errors.Join(err, s.db.Close())
}
