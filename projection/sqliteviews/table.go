package sqliteviews

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// table is one version of one projection.
type table struct {
	views       *Views
	id          int64 // in the catalog
	name        string
	fingerprint string
	parts       map[string]*part
	dropped     atomic.Bool // this process knows that the table is gone
}

// part is the statements of one kind of rows.
type part struct {
	put, putMany, remove string
	width                int // how many columns there are
	// read is what reads one document outside of a batch: it also tells whether the catalog still has the table of this id, in one statement
	// and so at one moment, since a table of the same name may have taken its place.
	read    string
	table   string // quoted
	columns map[string]bool
}

// quote makes an identifier of a name. Names hold no quotes, for the definition was checked; a backend does not rely
// on that.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func tableName(name string, version int, part string) string {
	n := name + "@" + strconv.Itoa(version)
	if part != "" {
		n += "/" + part
	}
	return n
}

// createPart are the statements that make a table with an index for each column.
func createPart(name string, columns []projection.ColumnShape) []string {
	fields := []string{"_key TEXT PRIMARY KEY NOT NULL", "_json TEXT NOT NULL"}
	for _, c := range columns {
		kind := "TEXT"
		if c.Kind.IsInteger() {
			kind = "INTEGER"
		}
		fields = append(fields, quote(c.Name)+" "+kind+" NOT NULL")
	}
	statements := []string{"CREATE TABLE " + quote(name) + " (" + strings.Join(fields, ", ") + ")"}
	for _, c := range columns {
		statements = append(statements, fmt.Sprintf("CREATE INDEX %s ON %s (%s, _key)", quote(name+"."+c.Name), quote(name), quote(c.Name)))
	}
	return statements
}

func newTable(v *Views, id int64, fingerprint string, shape projection.Shape) *table {
	t := &table{views: v, id: id, name: shape.String(), fingerprint: fingerprint, parts: map[string]*part{}}
	for _, p := range shape.Parts {
		name := quote(tableName(shape.Name, shape.Version, p.Name))
		into, values, set := "_key, _json", "?, ?", "_json = excluded._json"
		columns := map[string]bool{}
		for _, c := range p.Columns {
			q := quote(c.Name)
			into, values, set = into+", "+q, values+", ?", set+", "+q+" = excluded."+q
			columns[c.Name] = true
		}
		put, update := "INSERT INTO "+name+" ("+into+") VALUES", " ON CONFLICT (_key) DO UPDATE SET "+set
		t.parts[p.Name] = &part{
			table: name, columns: columns,
			read:    "SELECT EXISTS (SELECT 1 FROM projections WHERE id = ?), (SELECT _json FROM " + name + " WHERE _key = ?)",
			width:   len(p.Columns),
			put:     put + " (" + values + ")" + update,
			putMany: put + " (" + values + ")" + strings.Repeat(", ("+values+")", putMany-1) + update,
			remove:  "DELETE FROM " + name + " WHERE _key = ?",
		}
	}
	return t
}

// accepts checks that the stored rows are of this shape.
func (t *table) accepts(shape projection.Shape) error {
	if t.fingerprint != shape.Fingerprint {
		return &projection.ShapeError{Projection: t.name, Stored: t.fingerprint, Declared: shape.Fingerprint}
	}
	return nil
}

// failed names err, which a statement on the table gave: if the table is no longer in the catalog, the reason is that.
func (t *table) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, projection.ErrClosed) || t.views.isClosed() {
		return projection.ErrClosed
	}
	if ctx.Err() == nil && !t.isThere(ctx) {
		return projection.ErrReset
	}
	return cutOff(ctx, named(err))
}

func (t *table) isThere(ctx context.Context) bool {
	var one int
	err := t.views.use(func() error {
		return t.views.readers.QueryRowContext(ctx, "SELECT 1 FROM projections WHERE id = ?", t.id).Scan(&one)
	})
	gone := errors.Is(err, sql.ErrNoRows)
	if gone {
		t.dropped.Store(true)
	}
	return !gone
}

// Incarnation implements [projection.Table].
func (t *table) Incarnation() int64 { return t.id }

// Checkpoint implements [projection.Table].
func (t *table) Checkpoint(ctx context.Context) (projection.Checkpoint, error) {
	var c projection.Checkpoint
	err := t.views.use(func() (err error) {
		c, err = t.checkpoint(ctx, t.views.readers)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		t.dropped.Store(true)
		return c, projection.ErrReset
	}
	return c, t.failed(ctx, err)
}

func (t *table) checkpoint(ctx context.Context, from querier) (projection.Checkpoint, error) {
	var position, event, commits int64
	var id string
	err := from.QueryRowContext(ctx, "SELECT position, event, event_id, commits FROM projections WHERE id = ?", t.id).Scan(&position, &event, &id, &commits)
	if err != nil {
		return projection.Checkpoint{}, err
	}
	c := projection.Checkpoint{Position: annals.Position(position), Event: annals.Position(event), Commits: commits}
	if id != "" {
		if c.EventID, err = annals.ParseID(id); err != nil {
			return projection.Checkpoint{}, fmt.Errorf("%w: checkpoint of %s: %w", ErrCorrupt, t.name, err)
		}
	}
	return c, nil
}

// Get implements [projection.Table].
func (t *table) Get(ctx context.Context, key string) ([]byte, bool, error) {
	var there bool
	var doc []byte
	err := t.views.use(func() error {
		return t.views.readers.QueryRowContext(ctx, t.parts[""].read, t.id, key).Scan(&there, &doc)
	})
	if err == nil && !there {
		t.dropped.Store(true)
		return nil, false, projection.ErrReset
	}
	return doc, doc != nil, t.failed(ctx, err)
}

// List implements [projection.Table].
func (t *table) List(ctx context.Context, s projection.Selection) ([]projection.Document, error) {
	query, args, err := t.selectRows(s)
	if err != nil {
		return nil, err
	}
	var docs []projection.Document
	err = t.views.use(func() (err error) {
		docs, err = t.rows(ctx, query, args)
		return err
	})
	if err != nil {
		return nil, t.failed(ctx, err)
	}
	if len(docs) == 0 && !t.isThere(ctx) {
		return nil, projection.ErrReset
	}
	return docs, nil
}

func (t *table) rows(ctx context.Context, query string, args []any) ([]projection.Document, error) {
	rows, err := t.views.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err has told all there is
	var docs []projection.Document
	for rows.Next() {
		var d projection.Document
		if err := rows.Scan(&d.Key, &d.JSON, &d.Order); err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, rows.Err()
}

// loadMax is how many keys one statement asks for.
const loadMax = 200

// Load implements [projection.Table].
func (t *table) Load(ctx context.Context, part string, keys []string) (docs []projection.Document, err error) {
	p := t.parts[part]
	err = t.views.use(func() error {
		for some := range slices.Chunk(keys, loadMax) {
			args := make([]any, len(some))
			for i, key := range some {
				args[i] = key
			}
			query := "SELECT _key, _json, NULL FROM " + p.table + " WHERE _key IN (?" + strings.Repeat(", ?", len(some)-1) + ")"
			more, err := t.rows(ctx, query, args)
			if err != nil {
				return err
			}
			docs = append(docs, more...)
		}
		return nil
	})
	return docs, t.failed(ctx, err)
}

// Keys implements [projection.Table].
func (t *table) Keys(ctx context.Context, part, name string, value any) (keys []string, err error) {
	err = t.views.use(func() (err error) {
		keys, err = column[string](ctx, t.views.readers, "SELECT _key FROM "+t.parts[part].table+" WHERE "+quote(name)+" = ?", value)
		return err
	})
	return keys, t.failed(ctx, err)
}

// Transact implements [projection.Transactor], for reading.
func (t *table) Transact(ctx context.Context, f func(tx any) error) error {
	err := t.views.use(func() error {
		tx, err := t.views.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // there is nothing to keep
		var one int
		if err := tx.QueryRowContext(ctx, "SELECT 1 FROM projections WHERE id = ?", t.id).Scan(&one); err != nil {
			return err
		}
		if err := f(tx); err != nil {
			return &callerError{err}
		}
		return nil
	})
	if e, ok := errors.AsType[*callerError](err); ok {
		return cutOff(ctx, named(e.error))
	}
	if errors.Is(err, sql.ErrNoRows) {
		t.dropped.Store(true)
		return projection.ErrReset
	}
	return t.failed(ctx, err)
}

// callerError is an error of the function that was called with a transaction: it says nothing of the table.
type callerError struct{ error }

// manyQuerier is a pool or a transaction.
type manyQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// column reads the one column of a query.
func column[T any](ctx context.Context, tx manyQuerier, query string, args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err has told all there is
	var values []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}
