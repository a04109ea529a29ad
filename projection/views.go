package projection

import (
	"context"
	"fmt"
	"strconv"

	"github.com/annalsdb/annals"
)

// Views keeps the rows and the checkpoints of projections: in memory ([NewMemory]) or in a file (package
// sqliteviews). It is implemented by backends, and proved by the suite in projectiontest; programs use [Run] and
// [Of]. All methods may be called concurrently.
type Views interface {
	// Table opens the table of a projection, and makes an empty one, at checkpoint 0, if there is none. It fails with
	// [ErrShapeChanged] if what is stored under the name and version has another fingerprint. It is called for each
	// read, so it is cheap when nothing is to be made.
	Table(ctx context.Context, shape Shape) (Table, error)
	// Stored is the shapes of all tables there are, by name and version.
	Stored(ctx context.Context) ([]Shape, error)
	// Drop removes rows, checkpoint and shape of a projection's version. That there is none is no error.
	Drop(ctx context.Context, name string, version int) error
	// Note is what was set under this key last; nil if nothing was. Notes are what runners and people tell one another
	// of projections; they say nothing of rows.
	Note(ctx context.Context, key string) ([]byte, error)
	// SetNote sets a note, durably, if it is still old, and else fails with [ErrNoteMoved]. Nil is no note. It does not wait
	// for an open batch of this process longer than ctx allows.
	SetNote(ctx context.Context, key string, old, now []byte) error
	// Progress is the same for as long as the views are open.
	Progress() *Progress
	// Close ends the views: it waits for calls that are under way, and every later one fails with [ErrClosed], also those of
	// a batch that is open, of which nothing is committed. It may be called again.
	Close() error
}

// Transactor is implemented by the batches and the tables of backends that are databases: it is what a [Custom] projection works with.
type Transactor interface {
	// Transact calls f with the transaction: that of the batch, or, of a table, one that only reads and sees what was committed
	// at one moment. Its type is the backend's: *sql.Tx, pgx.Tx. After an error of f, a batch does nothing more, and
	// cannot be committed. A table that was dropped fails with [ErrReset].
	Transact(ctx context.Context, f func(tx any) error) error
}

// Table is the rows of one version of one projection. All methods may be called concurrently; a batch does not hinder
// reads, which see what was committed. Once the table was dropped, every method fails with [ErrReset]; Load and Keys may show what
// is in a table that took its place, since the batch that follows them is refused.
type Table interface {
	// Incarnation tells the table from those of the same projection that were dropped before it. It is positive,
	// and that of a later table is greater.
	Incarnation() int64
	// Checkpoint is the one committed last.
	Checkpoint(ctx context.Context) (Checkpoint, error)
	// Get is the document with this key; false if there is none.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// List is the documents that s selects, in its order, as they were at one moment.
	List(ctx context.Context, s Selection) ([]Document, error)
	// Load is those documents of a part with these keys that there are, in any order. Nobody changes them. No key is given twice.
	// Part "" is the projection's own rows, the others are those that it joins.
	Load(ctx context.Context, part string, keys []string) ([]Document, error)
	// Keys are the keys of the documents of a part whose column has this value, in any order. The slice is the caller's.
	Keys(ctx context.Context, part, column string, value any) ([]string, error)
	// Begin begins a batch. It fails with [ErrCheckpointMoved] if the stored checkpoint has another position or number of commits than at. Only
	// one batch of the table may be open at a time, in some backends one of the views: Begin waits for the others, as long as ctx allows.
	Begin(ctx context.Context, at Checkpoint) (Batch, error)
}

// Batch is changes that become visible, and durable, all together with the checkpoint, or not at all. It is used by one
// goroutine, for a short time: what is to be written is known when it begins.
type Batch interface {
	// Write puts and removes documents. The changes are in the order of their keys, each of another key, and are not kept.
	Write(ctx context.Context, part string, changes []Change) error
	// Commit makes the batch and the checkpoint visible. After an error neither is; if the error is an [ErrTemporary], the
	// stored checkpoint tells whether they are after all.
	Commit(ctx context.Context, checkpoint Checkpoint) error
	// Rollback forgets the batch. After Commit it does nothing.
	Rollback() error
}

// Change puts a document, or removes the one with its key, if there is one.
type Change struct {
	Key string
	// JSON is nil to remove.
	JSON []byte
	// Columns are the values in the order of the part's [Part.Columns].
	Columns []any
}

// Checkpoint is how far a projection has come.
type Checkpoint struct {
	// Position is that up to which every event is in the rows.
	Position annals.Position
	// Event and EventID are position and id of the last event that the store had up to Position, mostly the one at Position
	// itself, by which the store is told from another, and from one that was put back to an earlier state. Event is 0 if
	// there was none.
	Event   annals.Position
	EventID annals.ID
	// Commits counts the batches. It tells a checkpoint from a later one at the same position, with other rows.
	Commits int64
}

// Is reports whether nothing was committed between the two.
func (c Checkpoint) Is(o Checkpoint) bool { return c.Position == o.Position && c.Commits == o.Commits }

// Document is a row as it is stored: JSON.
type Document struct {
	Key  string
	JSON []byte
	// Order is the value of the column that [Table.List] ordered by; nil if there is none.
	Order any
}

// Shape is what a backend has to know of a definition, see [Rows.Shape].
type Shape struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Parts are the kinds of rows: the projection's own first, named "", then one for each join, then what is parked.
	Parts []Part `json:"parts"`
	// Setup are the statements that make the tables of a [Custom] projection, names filled in. All tables that they make are
	// named as the shape's with "/" and a name of their own behind it: dropping the projection drops those.
	Setup []string `json:"setup,omitempty"`
	// Fingerprint describes everything on which the stored rows depend and that can be seen: one fact a line.
	Fingerprint string `json:"fingerprint"`
}

// String is name@version.
func (s Shape) String() string { return tableName(s.Name, s.Version) }

func tableName(name string, version int) string { return name + "@" + strconv.Itoa(version) }

// Part is one kind of rows of a projection. Names of parts and columns are of letters, digits and "_"; those of columns
// that the projection makes for itself begin with "_".
type Part struct {
	Name    string        `json:"name"`
	Columns []ColumnShape `json:"columns,omitempty"`
}

// ColumnShape is a column as a backend sees it.
type ColumnShape struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

// Kind is the kind of a column's values.
type Kind uint8

// The kinds of column, and in which Go type backends are given their values.
const (
	// KindString: string, ordered by bytes.
	KindString Kind = iota + 1
	// KindInt: int64.
	KindInt
	// KindBool: int64, 0 or 1.
	KindBool
	// KindTime: string, in UTC with nanoseconds and of one width, so that the order of strings is the order of times.
	KindTime
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindString:
		return "string"
	case KindInt:
		return "integer"
	case KindBool:
		return "bool"
	case KindTime:
		return "time"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// IsInteger reports whether values of this kind are int64; the others are string.
func (k Kind) IsInteger() bool { return k == KindInt || k == KindBool }

// Selection is which documents to list, for backends. See [View.List].
type Selection struct {
	// Part is the kind of rows; "" is the projection's own.
	Part    string
	Filters []Filter
	// Order is the column to order by, and by key within equal values; "" orders by key alone.
	Order      string
	Descending bool
	// From is where the list goes on: documents after this place, in the order. Nil begins at the first.
	From *Place
	// Limit is the most documents; at least 1.
	Limit int
}

// Place is a document's place in an order.
type Place struct {
	Value any // of the column that is ordered by; nil if it is the key alone
	Key   string
}

// Filter wants a column to compare in this way with one of the values. Those of [OpEqual] may be several, or none,
// which nothing equals; the other operators have one.
type Filter struct {
	Column string
	Op     Op
	Values []any // string or int64, as the column's kind says
}

// Op is how a [Filter] compares.
type Op uint8

// The operators.
const (
	// OpEqual: the column is equal to one of the values.
	OpEqual Op = iota + 1
	// OpFrom: the column is at or after the value.
	OpFrom
	// OpBelow: the column is before the value.
	OpBelow
)
