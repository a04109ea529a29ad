package sqliteviews

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/annalsdb/annals/projection"
)

const (
	// applicationID marks files of this package: "annl".
	applicationID = 0x616e6e6c
	// formatVersion is kept in user_version.
	formatVersion = 2
)

// Views is [projection.Views] in a SQLite file. Make one with [Open]. It may be used concurrently.
type Views struct {
	progress projection.Progress
	path     string
	// writer has one connection, which is used by who has the turn.
	writer  *sql.DB
	readers *sql.DB

	turn chan struct{} // holds a token while there is a transaction, or one is being begun
	// leftUntil is until when the lock is left to other processes. It is used by who has the turn.
	leftUntil time.Time
	// underWay is the transaction; nil if there is none. It is written by who has the turn, under use, and by Close.
	underWay *transaction

	closing    chan struct{} // closed once Close was called
	closeOnce  sync.Once
	closeErr   error        // written once, by Close
	statements sync.RWMutex // held for reading while a statement is under way; Close takes it, and so waits for all

	mu     sync.Mutex
	tables map[string]*table // by name@version; guarded by mu
}

// Open opens the file at path, and makes it, readable by its owner only, if there is none. The directory must exist. A
// file of somebody else is left as it is, and is [ErrForeignFile].
//
// The file is in WAL mode with synchronous=NORMAL: a crash of the process loses nothing, and a crash of the machine may
// lose the transactions committed last, whole and in order. Since each holds rows and checkpoint together, the runner
// applies those events again; only their order of appearance on disk is relaxed, never the checkpoint's truth.
func Open(ctx context.Context, path string) (*Views, error) {
	for start := time.Now(); ; {
		v := &Views{path: path, turn: make(chan struct{}, 1), closing: make(chan struct{}), tables: map[string]*table{}}
		err := named(v.open(ctx))
		if err == nil {
			return v, nil
		}
		again := errors.Is(err, ErrLocked) && time.Since(start) < busyMax && v.sleep(ctx, lockedPoll) == nil
		if err = errors.Join(err, v.Close()); !again {
			return nil, fmt.Errorf("sqliteviews: open %s: %w", path, err)
		}
	}
}

func (v *Views) open(ctx context.Context) error {
	path, err := filepath.Abs(v.path)
	if err != nil {
		return err
	}
	// SQLite would make it with the process's default mode. The files beside it get the mode of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if v.readers, err = sql.Open("sqlite", dsn(path, busyMax, "_pragma=query_only(1)")); err != nil {
		return err
	}
	v.readers.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	// Before anything is written: to enter WAL mode would change a file that is not ours.
	ours, err := isOurs(ctx, v.readers)
	if err != nil {
		return err
	}
	if v.writer, err = sql.Open("sqlite", dsn(path, 0, "_txlock=immediate", "_pragma=journal_mode(WAL)")); err != nil {
		return err
	}
	v.writer.SetMaxOpenConns(1)
	if ours { // and whoever writes it just now need not be waited for
		return nil
	}
	return v.prepare(ctx)
}

// dsn names the file. Busy is how long SQLite itself waits for locks.
func dsn(path string, busy time.Duration, options ...string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	options = append(options, fmt.Sprintf("_pragma=busy_timeout(%d)", busy.Milliseconds()), "_pragma=synchronous(NORMAL)")
	return u.String() + "?" + strings.Join(options, "&")
}

const createCatalog = `
CREATE TABLE projections (
	id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so that readers see a table that was replaced
	name        TEXT NOT NULL,
	version     INTEGER NOT NULL,
	shape       TEXT NOT NULL, -- JSON
	position    INTEGER NOT NULL DEFAULT 0,
	event       INTEGER NOT NULL DEFAULT 0,
	event_id    TEXT NOT NULL DEFAULT '',
	commits     INTEGER NOT NULL DEFAULT 0,
	UNIQUE (name, version)
)`

const createNotes = "CREATE TABLE notes (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID"

// isOurs tells a file of this package from an empty one; any other is an error.
func isOurs(ctx context.Context, from querier) (bool, error) {
	var id, version, tables int
	if err := from.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "+
		"(SELECT count(*) FROM sqlite_master)").Scan(&id, &version, &tables); err != nil {
		return false, err
	}
	switch {
	case id == applicationID && version == formatVersion:
		return true, nil
	case id == applicationID:
		return false, fmt.Errorf("%w: its format is %d, this program knows %d: delete the file, and the projections are built anew", ErrForeignFile, version, formatVersion)
	case id != 0 || version != 0 || tables != 0:
		return false, fmt.Errorf("%w: it is the database of another program", ErrForeignFile)
	}
	return false, nil
}

// prepare makes the catalog in an empty file.
func (v *Views) prepare(ctx context.Context) error {
	t, err := v.begin(ctx, busyMax)
	if err != nil {
		return err
	}
	defer func() { _ = t.rollback() }() // does nothing after commit
	var ours bool
	err = t.do(func(tx *sql.Tx) (err error) {
		ours, err = isOurs(ctx, tx)
		return err
	})
	if ours || err != nil {
		return err
	}
	for _, statement := range []string{
		createCatalog,
		createNotes,
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", formatVersion),
	} {
		if err := t.exec(ctx, statement); err != nil {
			return err
		}
	}
	return t.commit()
}

// Progress implements [projection.Views].
func (v *Views) Progress() *projection.Progress { return &v.progress }

// Close implements [projection.Views].
func (v *Views) Close() error {
	v.closeOnce.Do(func() { v.closeErr = v.close() })
	return v.closeErr
}

func (v *Views) close() error {
	close(v.closing)
	v.statements.Lock()
	defer v.statements.Unlock()
	var errs []error
	if v.underWay != nil {
		errs = append(errs, v.underWay.rollbackLocked())
	}
	for _, db := range []*sql.DB{v.readers, v.writer} { // the writer last, for it tidies the WAL away
		if db != nil {
			errs = append(errs, named(db.Close()))
		}
	}
	return errors.Join(errs...)
}

func (v *Views) isClosed() bool {
	select {
	case <-v.closing:
		return true
	default:
		return false
	}
}

// use runs f, which runs statements, unless the views are closed. Close waits for it. It must not be called by f.
func (v *Views) use(f func() error) error {
	v.statements.RLock()
	defer v.statements.RUnlock()
	if v.isClosed() {
		return projection.ErrClosed
	}
	return f()
}

// Table implements [projection.Views].
func (v *Views) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	if v.isClosed() {
		return nil, projection.ErrClosed
	}
	if t := v.known(shape.String()); t != nil && !t.dropped.Load() {
		if err := t.accepts(shape); err != nil {
			return nil, err
		}
		return t, nil
	}
	var t *table
	err := v.use(func() (err error) {
		t, err = v.find(ctx, v.readers, shape)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		t, err = v.create(ctx, shape)
	}
	if err != nil {
		return nil, cutOff(ctx, named(err))
	}
	// A refused shape is not remembered: the statements are made for it, and not for what is stored.
	if err := t.accepts(shape); err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.tables[shape.String()] = t
	v.mu.Unlock()
	return t, nil
}

func (v *Views) known(id string) *table {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tables[id]
}

// querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// find is the table that the catalog knows, or sql.ErrNoRows.
func (v *Views) find(ctx context.Context, from querier, shape projection.Shape) (*table, error) {
	var id int64
	var doc []byte
	err := from.QueryRowContext(ctx, "SELECT id, shape FROM projections WHERE name = ? AND version = ?", shape.Name, shape.Version).
		Scan(&id, &doc)
	if err != nil {
		return nil, err
	}
	stored, err := decodeShape(doc)
	return newTable(v, id, stored.Fingerprint, shape), err
}

func decodeShape(doc []byte) (projection.Shape, error) {
	var s projection.Shape
	if err := json.Unmarshal(doc, &s); err != nil {
		return s, fmt.Errorf("%w: a shape in the catalog: %w", ErrCorrupt, err)
	}
	return s, nil
}

// Stored implements [projection.Views].
func (v *Views) Stored(ctx context.Context) (shapes []projection.Shape, err error) {
	err = v.use(func() error {
		docs, err := column[[]byte](ctx, v.readers, "SELECT shape FROM projections ORDER BY name, version")
		for _, doc := range docs {
			shape, failed := decodeShape(doc)
			if failed != nil {
				return failed
			}
			shapes = append(shapes, shape)
		}
		return err
	})
	return shapes, cutOff(ctx, named(err))
}

// create makes the tables, unless somebody else was quicker.
func (v *Views) create(ctx context.Context, shape projection.Shape) (*table, error) {
	t, err := v.begin(ctx, busyMax)
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.rollback() }() // does nothing after commit
	var made *table
	err = t.do(func(tx *sql.Tx) (err error) {
		made, err = v.find(ctx, tx, shape)
		if errors.Is(err, sql.ErrNoRows) {
			made, err = v.createIn(ctx, tx, shape)
		}
		return err
	})
	if err == nil {
		err = t.commit()
	}
	return made, err
}

func (v *Views) createIn(ctx context.Context, tx *sql.Tx, shape projection.Shape) (*table, error) {
	doc, err := json.Marshal(shape)
	if err != nil {
		return nil, err
	}
	result, err := tx.ExecContext(ctx, "INSERT INTO projections (name, version, shape) VALUES (?, ?, ?)", shape.Name, shape.Version, doc)
	if err != nil {
		return nil, err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return nil, err
	}
	for _, p := range shape.Parts {
		for _, statement := range createPart(tableName(shape.Name, shape.Version, p.Name), p.Columns) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return nil, err
			}
		}
	}
	for _, statement := range shape.Setup {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("set up %s: %w: in: %s", shape, err, statement)
		}
	}
	return newTable(v, id, shape.Fingerprint, shape), nil
}

// Drop implements [projection.Views].
func (v *Views) Drop(ctx context.Context, name string, version int) error {
	if v.isClosed() {
		return projection.ErrClosed
	}
	if err := v.drop(ctx, name, version); err != nil {
		return fmt.Errorf("sqliteviews: drop %s: %w", tableName(name, version, ""), cutOff(ctx, named(err)))
	}
	if t := v.known(tableName(name, version, "")); t != nil {
		t.dropped.Store(true)
	}
	return nil
}

func (v *Views) drop(ctx context.Context, name string, version int) error {
	t, err := v.begin(ctx, busyMax)
	if err != nil {
		return err
	}
	defer func() { _ = t.rollback() }() // does nothing after commit
	if err := t.do(func(tx *sql.Tx) error { return dropIn(ctx, tx, name, version) }); err != nil {
		return err
	}
	return t.commit()
}

func dropIn(ctx context.Context, tx *sql.Tx, name string, version int) error {
	own := tableName(name, version, "")
	tables, err := column[string](ctx, tx, "SELECT name FROM sqlite_master WHERE type = 'table' AND (name = ? OR substr(name, 1, ?) = ?)",
		own, len(own)+1, own+"/")
	if err != nil {
		return err
	}
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE "+quote(t)); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM projections WHERE name = ? AND version = ?", name, version)
	return err
}
