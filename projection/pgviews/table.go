package pgviews

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// nameMax is how many bytes of a name PostgreSQL keeps; it cuts off the others without a word.
const nameMax = 63

// table is one version of one projection.
type table struct {
	views       *Views
	id          int64 // in the catalog
	name        string
	fingerprint string
	parts       map[string]*part
	dropped     atomic.Bool // this process knows that the table is gone
}

// part is the statements of one kind of rows. Each begins with the table's id, in a comment: connections keep plans by the text of a
// statement, and a table of the same name that took its place may have other columns.
type part struct {
	load, put, remove string
	// read is what reads one document outside of a batch: it also tells whether the catalog still has the table of this id, in one
	// statement and so at one moment.
	read    string
	table   string // qualified and quoted
	columns map[string]projection.Kind
	kinds   []projection.Kind // of the columns, in order
}

// quote makes an identifier of a name.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func tableName(name string, version int, part string) string {
	n := name + "@" + strconv.Itoa(version)
	if part != "" {
		n += "/" + part
	}
	return n
}

// checkNames refuses what PostgreSQL would cut off.
func checkNames(shape projection.Shape) error {
	for _, p := range shape.Parts {
		table := tableName(shape.Name, shape.Version, p.Name)
		names := []string{table, table + "_pkey"}
		for _, c := range p.Columns {
			names = append(names, table+"."+c.Name)
		}
		for _, name := range names {
			if len(name) > nameMax {
				return fmt.Errorf("%w: %q has %d bytes, %d are allowed", ErrNameTooLong, name, len(name), nameMax)
			}
		}
	}
	return nil
}

// statementsFor are those that make the tables of a shape, with an index for each column.
func (v *Views) statementsFor(shape projection.Shape) (statements []string) {
	for _, p := range shape.Parts {
		name := tableName(shape.Name, shape.Version, p.Name)
		fields := []string{`_key TEXT COLLATE "C" PRIMARY KEY`, "_json JSON NOT NULL"} // JSON keeps the bytes, JSONB does not
		for _, c := range p.Columns {
			fields = append(fields, quote(c.Name)+" "+typeOf(c.Kind)+" NOT NULL")
		}
		statements = append(statements, "CREATE TABLE "+v.name(name)+" ("+strings.Join(fields, ", ")+")")
		for _, c := range p.Columns {
			statements = append(statements, fmt.Sprintf("CREATE INDEX %s ON %s (%s, _key)", quote(name+"."+c.Name), v.name(name), quote(c.Name)))
		}
	}
	return append(statements, shape.Setup...)
}

func typeOf(k projection.Kind) string {
	if k.IsInteger() {
		return "BIGINT"
	}
	return `TEXT COLLATE "C"`
}

// arrayOf is the type of several values of a kind.
func arrayOf(k projection.Kind) string {
	if k.IsInteger() {
		return "bigint[]"
	}
	return "text[]"
}

func newTable(v *Views, id int64, fingerprint string, shape projection.Shape) *table {
	t := &table{views: v, id: id, name: shape.String(), fingerprint: fingerprint, parts: map[string]*part{}}
	mark := fmt.Sprintf("/* %d */ ", id)
	for _, p := range shape.Parts {
		name := v.name(tableName(shape.Name, shape.Version, p.Name))
		into, from, set := "_key, _json", "$1::text[], $2::json[]", "_json = excluded._json"
		now := &part{table: name, columns: map[string]projection.Kind{}}
		for i, c := range p.Columns {
			q := quote(c.Name)
			into, from, set = into+", "+q, from+fmt.Sprintf(", $%d::%s", i+3, arrayOf(c.Kind)), set+", "+q+" = excluded."+q
			now.columns[c.Name] = c.Kind
			now.kinds = append(now.kinds, c.Kind)
		}
		now.load = mark + "SELECT _key, _json FROM " + name + " WHERE _key = ANY($1)"
		now.read = mark + "SELECT EXISTS (SELECT 1 FROM " + v.name("projections") + " WHERE id = $1), (SELECT _json FROM " + name + " WHERE _key = $2)"
		now.put = mark + "INSERT INTO " + name + " (" + into + ") SELECT * FROM unnest(" + from + ") ON CONFLICT (_key) DO UPDATE SET " + set
		now.remove = mark + "DELETE FROM " + name + " WHERE _key = ANY($1)"
		t.parts[p.Name] = now
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

// failed names err, which a statement on the table gave: that a table is not there is a reset.
func (t *table) failed(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == codeUndefinedTable || errors.Is(err, pgx.ErrNoRows) {
		t.dropped.Store(true)
		return projection.ErrReset
	}
	return err
}

// Incarnation implements [projection.Table].
func (t *table) Incarnation() int64 { return t.id }

// Checkpoint implements [projection.Table].
func (t *table) Checkpoint(ctx context.Context) (c projection.Checkpoint, err error) {
	err = t.views.use(ctx, func(ctx context.Context) (err error) {
		c, err = t.checkpoint(ctx, t.views.pool, "")
		return err
	})
	return c, t.failed(err)
}

func (t *table) checkpoint(ctx context.Context, from querier, lock string) (projection.Checkpoint, error) {
	var position, event, commits int64
	var id string
	err := from.QueryRow(ctx, "SELECT position, event, event_id, commits FROM "+t.views.name("projections")+" WHERE id = $1"+lock, t.id).Scan(&position, &event, &id, &commits)
	if err != nil {
		return projection.Checkpoint{}, err
	}
	c := projection.Checkpoint{Position: annals.Position(position), Event: annals.Position(event), Commits: commits}
	if id != "" {
		if c.EventID, err = annals.ParseID(id); err != nil {
			return projection.Checkpoint{}, fmt.Errorf("%w: checkpoint of %s: %w", ErrDamaged, t.name, err)
		}
	}
	return c, nil
}

// Get implements [projection.Table].
func (t *table) Get(ctx context.Context, key string) (doc []byte, found bool, err error) {
	var there bool
	err = t.views.use(ctx, func(ctx context.Context) error {
		return t.views.pool.QueryRow(ctx, t.parts[""].read, t.id, key).Scan(&there, &doc)
	})
	if err == nil && !there {
		t.dropped.Store(true)
		return nil, false, projection.ErrReset
	}
	return doc, doc != nil, t.failed(err)
}

// List implements [projection.Table].
func (t *table) List(ctx context.Context, s projection.Selection) ([]projection.Document, error) {
	query, args, err := t.selectRows(s)
	if err != nil {
		return nil, err
	}
	var docs []projection.Document
	err = t.views.use(ctx, func(ctx context.Context) error {
		rows, err := t.views.pool.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		docs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d projection.Document, err error) {
			err = row.Scan(&d.Key, &d.JSON, &d.Order)
			return d, err
		})
		if err == nil && len(docs) == 0 {
			_, err = t.checkpoint(ctx, t.views.pool, "") // nothing may mean that the table is gone
		}
		return err
	})
	return docs, t.failed(err)
}

// Load implements [projection.Table].
func (t *table) Load(ctx context.Context, part string, keys []string) (docs []projection.Document, err error) {
	err = t.views.use(ctx, func(ctx context.Context) error {
		rows, err := t.views.pool.Query(ctx, t.parts[part].load, keys)
		if err != nil {
			return err
		}
		docs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d projection.Document, err error) {
			err = row.Scan(&d.Key, &d.JSON)
			return d, err
		})
		return err
	})
	return docs, t.failed(err)
}

// Keys implements [projection.Table].
func (t *table) Keys(ctx context.Context, part, column string, value any) (keys []string, err error) {
	p := t.parts[part]
	err = t.views.use(ctx, func(ctx context.Context) error {
		rows, err := t.views.pool.Query(ctx, fmt.Sprintf("/* %d */ SELECT _key FROM %s WHERE %s = $1", t.id, p.table, quote(column)), value)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return keys, t.failed(err)
}

// Transact implements [projection.Transactor], for reading.
func (t *table) Transact(ctx context.Context, f func(tx any) error) error {
	var said error
	err := t.views.use(ctx, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, t.views.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if _, err := t.checkpoint(ctx, tx, ""); err != nil {
				return err
			}
			said = f(tx)
			return nil
		})
	})
	if said != nil {
		return named(ctx, said)
	}
	return t.failed(err)
}
