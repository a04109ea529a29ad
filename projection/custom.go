package projection

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/annalsdb/annals"
)

// Custom declares a projection in SQL of your own: it makes its tables, changes them in the transaction in which the checkpoint moves,
// and reads them as it likes. T is the transaction of the views that it is kept in: *sql.Tx of sqliteviews, pgx.Tx of pgviews. Use
// [Rows] where one row for each entity will do: it is less to write, runs on any views, and coalesces what a batch does to a row.
//
//	var Revenue = projection.Custom[*sql.Tx, Event]{
//		Name: "revenue", Query: annals.Types("OrderPaid"),
//		Setup: `CREATE TABLE {daily} (day TEXT PRIMARY KEY, amount INTEGER NOT NULL)`,
//		Apply: func(ctx context.Context, in projection.In[*sql.Tx], e annals.Entry[Event]) error {
//			_, err := in.Tx.ExecContext(ctx, in.SQL(`INSERT INTO {daily} VALUES (?, ?)
//				ON CONFLICT (day) DO UPDATE SET amount = amount + excluded.amount`), …)
//			return err
//		},
//	}
//
// It is a value and is never changed by this package; it may be shared.
type Custom[T, E any] struct {
	// Name and Version are as those of [Rows].
	Name    string
	Version int
	// Query says which events are applied.
	Query annals.Query
	// Setup is the statements that make the tables, separated by semicolons at the ends of lines. Every table and index is named in
	// braces, {daily}, {daily_by_month}: see [In.SQL]. Tables are dropped with the projection.
	Setup string
	// Apply changes the tables for an event. It must be a function of the event and of the tables, or rebuilt tables will differ. An error, or
	// a panic, that is not one of the connection stops the projection, or parks the event as Poison says; what a parked event would have
	// changed is missing, and later events go on.
	Apply func(ctx context.Context, in In[T], e annals.Entry[E]) error
	// Poison is what becomes of an event that cannot be applied.
	Poison Poison
}

// In is a transaction of a [Custom] projection.
type In[T any] struct {
	// Tx is the transaction. It must be neither kept, nor committed, nor rolled back.
	Tx    T
	shape Shape
}

// placeholder is a name in braces.
var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

// SQL fills in the names of tables and indexes: {daily} of revenue@1 is "revenue@1/daily", so that each version has its own.
func (in In[T]) SQL(statement string) string { return fillNames(in.shape, statement) }

func fillNames(of Shape, statement string) string {
	return placeholder.ReplaceAllString(statement, `"`+of.String()+`/$1"`)
}

// Shape implements [Definition].
func (c Custom[T, E]) Shape() (Shape, error) {
	p, err := c.plan()
	if err != nil {
		return Shape{}, err
	}
	return p.shape, nil
}

func (c Custom[T, E]) plan() (*plan[E], error) {
	var wrong problems
	wrong.nameAndVersion(c.Name, c.Version)
	wrong.add(c.Apply == nil, "no Apply")
	wrong.add(c.Poison > ParkPoison, "Poison is neither StopAtPoison nor ParkPoison")
	if err := c.Query.Check(annals.MinLimits()); err != nil {
		wrong.add(!errors.Is(err, annals.ErrTooLarge), "Query: %v", err) // the store knows its own limits
	}
	p := &plan[E]{shape: Shape{Name: c.Name, Version: max(c.Version, 1)}, all: c.Query, poison: c.Poison}
	p.shape.Parts = []Part{parkedPart()}
	facts := []string{"query " + c.Query.String()}
	for _, statement := range statementsOf(c.Setup) {
		wrong.add(!placeholder.MatchString(statement), "Setup: no name in braces in: %s", statement)
		facts = append(facts, "setup "+strings.Join(strings.Fields(statement), " "))
		p.shape.Setup = append(p.shape.Setup, fillNames(p.shape, statement))
	}
	wrong.add(len(p.shape.Setup) == 0, "Setup makes no table")
	p.shape.Fingerprint = strings.Join(facts, "\n")
	if len(wrong) > 0 {
		return nil, &DefinitionError{Projection: c.Name, Problems: wrong}
	}
	p.probe = func(ctx context.Context, t Table) error {
		return transact(ctx, t, p.shape, func(In[T]) error { return nil })
	}
	p.custom = func(ctx context.Context, b Batch, e annals.Entry[E]) error { return c.apply(ctx, p.shape, b, e) }
	return p, nil
}

// statementsOf are the statements of a text.
func statementsOf(text string) (statements []string) {
	for statement := range strings.SplitSeq(text+"\n", ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, strings.TrimSuffix(statement, ";"))
		}
	}
	return statements
}

// apply gives an event to the definition's code.
func (c Custom[T, E]) apply(ctx context.Context, shape Shape, b Batch, e annals.Entry[E]) error {
	err := transact(ctx, b, shape, func(in In[T]) error {
		return guard(func() error { return c.Apply(ctx, in, e) })
	})
	if err == nil || temporary(err) || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, ErrReset) || errors.Is(err, ErrDefinition) {
		return err
	}
	return &ApplyError{Projection: shape.String(), Position: e.Position, Type: e.Type, Err: err}
}

// transact calls f with the transaction of a batch or a table, if it is of the wanted type.
func transact[T any](ctx context.Context, from any, shape Shape, f func(in In[T]) error) error {
	t, ok := from.(Transactor)
	if !ok {
		return &DefinitionError{Projection: shape.Name, Problems: []string{"it is written in SQL, and these views are no database"}}
	}
	return t.Transact(ctx, func(tx any) error {
		mine, ok := tx.(T)
		if !ok {
			return &DefinitionError{Projection: shape.Name, Problems: []string{
				fmt.Sprintf("it works with a %T, and the transactions of these views are %T", mine, tx),
			}}
		}
		return f(In[T]{Tx: mine, shape: shape})
	})
}

// Tables reads the tables of a [Custom] projection. It may be used concurrently.
type Tables[T any] struct{ view View[struct{}] }

// OfCustom is the handle to read the tables that [Run] keeps in these views. A wrong definition is a mistake in the program: OfCustom
// panics with all that is wrong.
func OfCustom[T, E any](views Views, def Custom[T, E]) *Tables[T] {
	shape, err := def.Shape()
	if err != nil {
		panic(err.Error())
	}
	return &Tables[T]{View[struct{}]{views: views, shape: shape}}
}

// Read calls f with a transaction that only reads, and sees the tables as they were at one moment. It honours annals.AtLeastFrom(ctx) as
// reads of a [View] do. f must not use the views, and may be called again if the tables were dropped meanwhile. Events that are parked
// are not in the tables: [Tables.Status] counts them.
func (t *Tables[T]) Read(ctx context.Context, f func(in In[T]) error) error {
	err := t.view.read(ctx, annals.AtLeastFrom(ctx), func(table shown) error {
		return transact(ctx, table.Table, table.shape, f)
	})
	if err != nil {
		return fmt.Errorf("projection: %s: read: %w", t.view.shape, err)
	}
	return nil
}

// Wait is as [View.Wait].
func (t *Tables[T]) Wait(ctx context.Context, p annals.Position) error { return t.view.Wait(ctx, p) }

// Position is as [View.Position].
func (t *Tables[T]) Position(ctx context.Context) (annals.Position, error) {
	return t.view.Position(ctx)
}

// Status is as [View.Status].
func (t *Tables[T]) Status() Status { return t.view.Status() }
