package projection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/annalsdb/annals"
)

// Rows declares a projection: one row of type V, kept as JSON, for each value of a tag. It is a value and is never
// changed by this package; it may be shared. Its functions are called by one goroutine for each runner.
type Rows[V, E any] struct {
	// Name is a letter a-z, then lower-case letters, digits and "_". It does not begin with "sqlite_".
	Name string
	// Version tells apart what is built by different definitions of the same name: each has its own rows and checkpoint,
	// built from the first event, beside the others. 0 is 1.
	Version int
	// By is the name of a tag. Its values are the keys: an event with several such tags touches several rows, in the order
	// of the values; one with none touches no row. Values of a hashed tag are keys in their hashed form, as stored.
	By string
	// Query says which events are applied.
	Query annals.Query
	// Apply changes the row with this key for an event; a row that is not there yet is given as the zero V. Returning
	// [Delete] drops it. Any other error, or a panic, stops the projection. It must be a function of its arguments alone,
	// or rebuilt rows will differ.
	//
	// Between two events a row goes through JSON: what JSON does not keep is not there the next time, nor for columns
	// and joins.
	Apply func(key string, row *V, e annals.Entry[E]) error
	// Columns are what [View.List] can filter and order by. They see the row as JSON keeps it.
	Columns []Column[V]
	// Joins bring in what the row's own events do not tell, see [Join].
	Joins []Joined[V, E]
	// Poison is what becomes of an event that cannot be applied: the projection stops, unless it says otherwise.
	Poison Poison
}

// Column is a value of each row by which rows are found and ordered. Backends index it.
type Column[V any] struct {
	// Name is a letter a-z, then letters, digits and "_".
	Name string
	// Value is of one kind for all rows, the zero row included: a string, an integer, a bool or a [time.Time], of any
	// named type.
	Value func(row V) any
}

// Definition is a declared projection over events of type E: a [Rows] or a [Custom].
type Definition[E any] interface {
	// Shape is what of the definition the stored rows depend on. It fails with [ErrDefinition].
	Shape() (Shape, error)

	plan() (*plan[E], error)
}

// Joined is what [Join] makes.
type Joined[V, E any] struct {
	name   string
	plan   func() (*plan[E], error)
	folder func(part string) *part[E]
	on     func(row V) string
	into   func(row *V, doc []byte) error
}

// Join brings rows of another definition into the rows that refer to them: a customer's name into the customer's orders.
// on tells the key that a row refers to, or ""; into puts into the row what is wanted of the other. It is called
// whenever an event was applied to the row, and whenever the other row changed, with the zero R if the row refers to
// none, or to one that does not exist. It has to be a function of its arguments.
//
//	Joins: []projection.Joined[OrderRow, Event]{projection.Join(Customers,
//		func(o OrderRow) string { return o.Customer },
//		func(o *OrderRow, c CustomerRow) { o.CustomerName = c.Name })},
//
// The other definition's rows are kept once more, inside the projection that joins: it has one checkpoint, and its rows
// are right as of that. An event that both match reaches the other rows first. A change of the other row rewrites all rows
// that refer to it in one transaction, so what is joined should change seldom or have few rows that refer to it. The
// joined definition has no joins of its own; its columns are not kept. A definition may be joined several times, by
// different keys; two different ones of one name may not.
//
// Joins are made in the order of their declaration. If one puts into the row the key by which another refers, it has to
// be declared before that: the other way round is an [ApplyError].
func Join[V, R, E any](def Rows[R, E], on func(row V) string, into func(row *V, other R)) Joined[V, E] {
	j := Joined[V, E]{name: def.Name, plan: def.plan, on: on}
	j.folder = func(name string) *part[E] {
		f := &folder[R, E]{name: name, apply: def.Apply}
		return &part[E]{name: name, by: def.By, query: def.Query, fold: f.fold}
	}
	if into != nil {
		j.into = func(row *V, doc []byte) error {
			var other R
			if doc != nil {
				if err := decodeRow(doc, &other); err != nil {
					return err
				}
			}
			into(row, other)
			return nil
		}
	}
	return j
}

// plan is a checked definition; the type of its rows is forgotten.
type plan[E any] struct {
	shape Shape
	parts []*part[E] // the joined ones, in the order of their declaration, then the projection's own
	own   *part[E]   // the last of parts
	// custom applies an event of a [Custom] projection, which has no parts.
	custom func(ctx context.Context, b Batch, e annals.Entry[E]) error
	// probe tells whether the table's views are such that custom can be called.
	probe  func(ctx context.Context, t Table) error
	all    annals.Query // of a Custom projection; bound to the schema by bind
	poison Poison
}

// part is how one kind of rows is folded.
type part[E any] struct {
	name, by string
	query    annals.Query // as declared; bound to the schema by bind
	fold     foldFunc[E]
	only     string   // the one key that is folded; "" is every key
	shape    Shape    // that of a joined definition
	feeds    []string // columns of the projection's own rows that hold keys of this part
}

// Names of projections are those of tables, which some backends tell apart only by lower-case letters.
var (
	nameRule       = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	columnNameRule = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)
)

// reservedPrefix is refused by all views alike, so that what memory takes in tests a file takes, too.
const reservedPrefix = "sqlite_"

// problems gathers what is wrong with a definition.
type problems []string

func (p *problems) add(wrong bool, format string, args ...any) {
	if wrong {
		*p = append(*p, fmt.Sprintf(format, args...))
	}
}

func (p *problems) nameAndVersion(name string, version int) {
	p.add(!nameRule.MatchString(name), "Name is %q: it has to be a letter a-z, then lower-case letters, digits and \"_\"", name)
	p.add(strings.HasPrefix(name, reservedPrefix), "Name is %q: SQLite keeps names that begin with %q to itself", name, reservedPrefix)
	p.add(version < 0, "Version is negative")
}

func (r Rows[V, E]) version() int { return max(r.Version, 1) }

// Shape implements [Definition].
func (r Rows[V, E]) Shape() (Shape, error) {
	p, err := r.plan()
	if err != nil {
		return Shape{}, err
	}
	return p.shape, nil
}

func (r Rows[V, E]) plan() (*plan[E], error) {
	var wrong problems
	wrong.nameAndVersion(r.Name, r.Version)
	wrong.add(r.By == "", "By names no tag")
	wrong.add(r.Apply == nil, "no Apply")
	if err := r.Query.Check(annals.MinLimits()); err != nil {
		wrong.add(!errors.Is(err, annals.ErrTooLarge), "Query: %v", err) // the store knows its own limits
	}
	f := &folder[V, E]{apply: r.Apply, joins: r.Joins}
	f.columns = r.columns(&wrong)
	own := &part[E]{by: r.By, query: r.Query, fold: f.fold}
	p := &plan[E]{own: own, shape: Shape{Name: r.Name, Version: r.version()}, poison: r.Poison}
	wrong.add(r.Poison > ParkPoison, "Poison is neither StopAtPoison nor ParkPoison")
	facts := r.facts(f.columns)
	p.shape.Parts = []Part{{Columns: shapesOf(f.columns)}}
	for i, j := range r.Joins {
		column := fmt.Sprintf("_join_%d", i)
		p.shape.Parts[0].Columns = append(p.shape.Parts[0].Columns, ColumnShape{Name: column, Kind: KindString})
		facts = append(facts, p.join(j.name, j.plan, j.folder, column, &wrong)...)
		wrong.add(j.on == nil || j.into == nil, "join %q lacks a function", j.name)
	}
	p.parts = append(p.parts, own)
	p.shape.Parts = append(p.shape.Parts, parkedPart())
	p.shape.Fingerprint = strings.Join(facts, "\n")
	if len(wrong) > 0 {
		return nil, &DefinitionError{Projection: r.Name, Problems: wrong}
	}
	return p, nil
}

// join adds a joined part, unless another join of the same definition did already, and gives the facts of the join.
func (p *plan[E]) join(name string, other func() (*plan[E], error), folder func(string) *part[E], column string, wrong *problems) []string {
	if other == nil {
		wrong.add(true, "a join that Join did not make")
		return nil
	}
	joined, err := other()
	if err != nil {
		wrong.add(true, "join: %v", err)
		return nil
	}
	wrong.add(len(joined.parts) > 1, "join: %q has joins of its own", name)
	for _, have := range p.parts {
		if have.name == name {
			wrong.add(have.shape.String() != joined.shape.String() || have.shape.Fingerprint != joined.shape.Fingerprint,
				"join: two different definitions are called %q, %s and %s: rename one", name, have.shape, joined.shape)
			have.feeds = append(have.feeds, column)
			return []string{fmt.Sprintf("%s joins %s", column, joined.shape)}
		}
	}
	added := folder(name)
	added.feeds, added.shape = []string{column}, joined.shape
	p.parts = append(p.parts, added)
	p.shape.Parts = append(p.shape.Parts, Part{Name: name})
	facts := []string{fmt.Sprintf("%s joins %s", column, joined.shape)}
	for fact := range strings.SplitSeq(joined.shape.Fingerprint, "\n") {
		facts = append(facts, name+": "+fact)
	}
	return facts
}

// columns checks the declared columns and finds out their kinds.
func (r Rows[V, E]) columns(wrong *problems) []column[V] {
	columns := make([]column[V], 0, len(r.Columns))
	folded := map[string]bool{}
	for _, c := range r.Columns {
		wrong.add(!columnNameRule.MatchString(c.Name), "column %q: its name has to be a letter a-z, then letters, digits and \"_\"", c.Name)
		wrong.add(folded[strings.ToLower(c.Name)], "column %q: a second one of this name, case aside", c.Name)
		folded[strings.ToLower(c.Name)] = true
		if c.Value == nil {
			wrong.add(true, "column %q: no Value", c.Name)
			continue
		}
		var kind Kind
		err := guard(func() error {
			var zero V
			var err error
			_, kind, err = normal(c.Value(zero))
			return err
		})
		wrong.add(err != nil, "column %q of the zero row: %v", c.Name, err)
		columns = append(columns, column[V]{ColumnShape: ColumnShape{Name: c.Name, Kind: kind}, value: c.Value})
	}
	return columns
}

// facts are the fingerprint's lines, joins aside.
func (r Rows[V, E]) facts(columns []column[V]) []string {
	facts := []string{"by " + r.By, "query " + r.Query.String()}
	for _, c := range columns {
		facts = append(facts, fmt.Sprintf("column %s %s", c.Name, c.Kind))
	}
	fields := fieldsOf[V]()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		facts = append(facts, fmt.Sprintf("field %s %s", name, fields[name]))
	}
	return facts
}

// bind is p for one schema: what it names must be declared there, and values of hashed tags are hashed.
func bind[E any](p *plan[E], schema *annals.Schema[E]) (*plan[E], error) {
	bound := &plan[E]{shape: p.shape, custom: p.custom, probe: p.probe, poison: p.poison}
	if p.custom != nil {
		var err error
		if bound.all, err = schema.Bind(p.all); err != nil {
			return nil, fmt.Errorf("projection: %s: %w", p.shape, err)
		}
		return bound, nil
	}
	for _, old := range p.parts {
		one := *old
		var err error
		if one.query, err = schema.Bind(old.query); err != nil {
			return nil, fmt.Errorf("projection: %s: %w", p.shape, err)
		}
		if _, err := schema.Bind(annals.Tags(annals.Tag(old.by, "x"))); err != nil {
			return nil, fmt.Errorf("projection: %s: By: %w", p.shape, err)
		}
		bound.parts = append(bound.parts, &one)
		bound.own = &one
	}
	return bound, nil
}

// parkedPart is the part of what is parked.
func parkedPart() Part {
	return Part{Name: partParked, Columns: []ColumnShape{{Name: columnRow, Kind: KindString}}}
}

// query is that of all parts.
func (p *plan[E]) query() annals.Query {
	if p.custom != nil {
		return p.all
	}
	q := p.own.query
	for _, part := range p.parts[:len(p.parts)-1] {
		q = q.Or(part.query)
	}
	return q
}
