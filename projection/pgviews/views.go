package pgviews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annalsdb/annals/projection"
)

// SchemaDefault is the schema that is used if [Schema] names none.
const SchemaDefault = "annals"

// Views is [projection.Views] in a schema of a PostgreSQL database. Make one with [Open]. It may be used concurrently.
type Views struct {
	progress projection.Progress
	schema   string
	pool     *pgxpool.Pool

	life      context.Context //nolint:containedctx // it is the views' own, and ends with Close
	end       context.CancelFunc
	closeOnce sync.Once
	// statements is held for reading while one is under way; Close takes it, and so waits for all.
	statements sync.RWMutex

	mu      sync.Mutex
	tables  map[string]*table   // by name@version; guarded by mu
	batches map[*batch]struct{} // that are open; guarded by mu
}

// Option adjusts [Open].
type Option func(*options)

type options struct {
	schema    string
	existing  bool
	configure func(*pgxpool.Config)
}

// Schema names the schema; it is made if there is none.
func Schema(name string) Option { return func(o *options) { o.schema = name } }

// Existing makes nothing: [Open] fails with [ErrNoSchema] if the schema is not there. It is for tools that look.
func Existing() Option { return func(o *options) { o.existing = true } }

// Configure changes the settings of the pool of connections before it is opened: how many, TLS, what traces them.
func Configure(f func(*pgxpool.Config)) Option { return func(o *options) { o.configure = f } }

// Open connects to the database, named as libpq names it, by a URL or by keywords and values, and makes the schema and its tables if
// they are not there, which needs the right to. A runner needs one connection for each of its projections, besides those of the
// readers: pool_max_conns in the URL says how many there may be.
func Open(ctx context.Context, database string, opts ...Option) (*Views, error) {
	o := options{schema: SchemaDefault}
	for _, f := range opts {
		f(&o)
	}
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, fmt.Errorf("pgviews: open: %w", err)
	}
	// A name that is not qualified is one of the schema: that is for the statements of custom projections.
	config.ConnConfig.RuntimeParams["search_path"] = quote(o.schema)
	if o.configure != nil {
		o.configure(config)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pgviews: open: %w", err)
	}
	v := &Views{schema: o.schema, pool: pool, tables: map[string]*table{}, batches: map[*batch]struct{}{}}
	v.life, v.end = context.WithCancel(context.Background())
	if err := v.migrate(ctx, o.existing); err != nil {
		return nil, errors.Join(fmt.Errorf("pgviews: open schema %q: %w", o.schema, named(ctx, err)), v.Close())
	}
	return v, nil
}

// Progress implements [projection.Views].
func (v *Views) Progress() *projection.Progress { return &v.progress }

// Close implements [projection.Views]. Connections are closed once what runs on them has ended.
func (v *Views) Close() error {
	v.closeOnce.Do(v.close)
	return nil
}

func (v *Views) close() {
	v.end()
	v.statements.Lock()
	defer v.statements.Unlock()
	v.mu.Lock()
	open := v.batches
	v.batches = nil
	v.mu.Unlock()
	for b := range open {
		b.abandon()
	}
	v.pool.Close()
}

// use runs f under a context that ends with the views, and names its error. Close waits for it. It must not be called by f.
func (v *Views) use(ctx context.Context, f func(ctx context.Context) error) error {
	v.statements.RLock()
	defer v.statements.RUnlock()
	if v.life.Err() != nil {
		return projection.ErrClosed
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.life, cancel)()
	err := f(both)
	if err != nil && v.life.Err() != nil {
		return projection.ErrClosed
	}
	return named(ctx, err)
}

// in runs f in a transaction.
func (v *Views) in(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return v.use(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, v.pool, func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}

// Table implements [projection.Views].
func (v *Views) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	if v.life.Err() != nil {
		return nil, projection.ErrClosed
	}
	if t := v.known(shape.String()); t != nil && !t.dropped.Load() {
		if err := t.accepts(shape); err != nil {
			return nil, err
		}
		return t, nil
	}
	if err := checkNames(shape); err != nil {
		return nil, err
	}
	var t *table
	err := v.use(ctx, func(ctx context.Context) (err error) {
		t, err = v.find(ctx, v.pool, shape)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		t, err = v.create(ctx, shape)
	}
	if err != nil {
		return nil, err
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
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// find is the table that the catalog knows, or pgx.ErrNoRows.
func (v *Views) find(ctx context.Context, from querier, shape projection.Shape) (*table, error) {
	var id int64
	var doc []byte
	err := from.QueryRow(ctx, "SELECT id, shape FROM "+v.name("projections")+" WHERE name = $1 AND version = $2", shape.Name, shape.Version).Scan(&id, &doc)
	if err != nil {
		return nil, err
	}
	stored, err := decodeShape(doc)
	return newTable(v, id, stored.Fingerprint, shape), err
}

func decodeShape(doc []byte) (projection.Shape, error) {
	var s projection.Shape
	if err := json.Unmarshal(doc, &s); err != nil {
		return s, fmt.Errorf("%w: a shape: %w", ErrDamaged, err)
	}
	return s, nil
}

// Stored implements [projection.Views].
func (v *Views) Stored(ctx context.Context) (shapes []projection.Shape, err error) {
	err = v.use(ctx, func(ctx context.Context) error {
		rows, err := v.pool.Query(ctx, "SELECT shape FROM "+v.name("projections")+" ORDER BY name, version")
		if err != nil {
			return err
		}
		shapes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (projection.Shape, error) {
			var doc []byte
			if err := row.Scan(&doc); err != nil {
				return projection.Shape{}, err
			}
			return decodeShape(doc)
		})
		return err
	})
	return shapes, err
}

// create makes the tables, unless somebody else was quicker.
func (v *Views) create(ctx context.Context, shape projection.Shape) (t *table, err error) {
	doc, err := json.Marshal(shape)
	if err != nil {
		return nil, err
	}
	err = v.in(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := v.lockCatalog(ctx, tx); err != nil {
			return err
		}
		if t, err = v.find(ctx, tx, shape); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		var id int64
		err := tx.QueryRow(ctx, "INSERT INTO "+v.name("projections")+" (name, version, shape) VALUES ($1, $2, $3) RETURNING id",
			shape.Name, shape.Version, string(doc)).Scan(&id)
		if err != nil {
			return err
		}
		for _, statement := range v.statementsFor(shape) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("set up %s: %w: in: %s", shape, err, statement)
			}
		}
		t = newTable(v, id, shape.Fingerprint, shape)
		return nil
	})
	return t, err
}

// Drop implements [projection.Views].
func (v *Views) Drop(ctx context.Context, name string, version int) error {
	own := tableName(name, version, "")
	err := v.in(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := v.lockCatalog(ctx, tx); err != nil {
			return err
		}
		// The row first: a batch that is open holds it, and is waited for.
		if _, err := tx.Exec(ctx, "DELETE FROM "+v.name("projections")+" WHERE name = $1 AND version = $2", name, version); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND (tablename = $2 OR left(tablename, $3) = $4)",
			v.schema, own, len(own)+1, own+"/")
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(tables) == 0 {
			return err
		}
		for i := range tables {
			tables[i] = v.name(tables[i])
		}
		_, err = tx.Exec(ctx, "DROP TABLE "+strings.Join(tables, ", "))
		return err
	})
	if err != nil {
		return fmt.Errorf("pgviews: drop %s: %w", own, err)
	}
	if t := v.known(own); t != nil {
		t.dropped.Store(true)
	}
	return nil
}

// name is that of a table of the schema.
func (v *Views) name(table string) string { return quote(v.schema) + "." + quote(table) }
