package projection_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

func TestADefinitionIsRefusedWithAllThatIsWrong(t *testing.T) {
	t.Parallel()
	nested := Orders
	nested.Name = "nested"
	wrong := projection.Rows[OrderRow, any]{
		Name: "My Orders", Version: -1,
		Columns: []projection.Column[OrderRow]{
			{Name: "_key", Value: func(OrderRow) any { return "" }},
			{Name: "ratio", Value: func(OrderRow) any { return 1.5 }},
			{Name: "Ratio"},
			{Name: "boom", Value: func(OrderRow) any { panic("boom") }},
		},
		Joins: []projection.Joined[OrderRow, any]{
			{},
			projection.Join(nested, func(OrderRow) string { return "" }, func(*OrderRow, OrderRow) {}),
		},
	}
	_, err := wrong.Shape()
	if !errors.Is(err, projection.ErrDefinition) {
		t.Fatalf("the error is %v", err)
	}
	for _, part := range []string{
		`"My Orders"`, "Version", "By names no tag", "no Apply", "zero Query", `"_key"`, "float64", "a second one", "no Value", "boom",
		"that Join did not make", "joins of its own",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Of does not panic")
		}
	}()
	projection.Of(projection.NewMemory(), wrong)
}

func TestADefinitionIsCheckedAgainstTheSchema(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), schema)
	by, query := Orders, Orders
	by.By = "orders"
	query.Query = annals.Category("orders")
	for name, def := range map[string]projection.Definition[any]{"By": by, "Query": query} {
		if err := projection.CatchUp(t.Context(), log, projection.NewMemory(), def); !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if err := projection.Run(t.Context(), log, projection.NewMemory()); !errors.Is(err, projection.ErrDefinition) {
		t.Errorf("nothing to run: the error is %v", err)
	}
}

func TestTheFingerprintTellsWhatChanged(t *testing.T) {
	t.Parallel()
	shape := func(def projection.Definition[any]) string {
		t.Helper()
		s, err := def.Shape()
		if err != nil {
			t.Fatal(err)
		}
		return s.Fingerprint
	}
	base := shape(Orders)
	column, query, join := Orders, Orders, Orders
	column.Columns = column.Columns[:1]
	query.Query = annals.Types("OrderPlaced")
	join.Joins = nil
	type otherRow struct {
		OrderRow
		Note string `json:"note"`
	}
	field := projection.Rows[otherRow, any]{Name: "orders", By: "order", Query: Orders.Query, Apply: func(string, *otherRow, annals.Entry[any]) error { return nil }}
	plain := projection.Rows[OrderRow, any]{Name: "orders", By: "order", Query: Orders.Query, Apply: Orders.Apply}
	for name, def := range map[string]projection.Definition[any]{"column": column, "query": query, "join": join} {
		if shape(def) == base {
			t.Errorf("%s: the fingerprint is the same", name)
		}
	}
	if want := shape(plain) + "\nfield note string"; sorted(shape(field)) != sorted(want) {
		t.Errorf("the fingerprint is\n%s\nwanted\n%s", shape(field), want)
	}
	err := &projection.ShapeError{Projection: "orders@1", Stored: base, Declared: shape(query)}
	if !strings.Contains(err.Error(), "raise Version") || !strings.Contains(err.Error(), "OrderPlaced") {
		t.Errorf("the error does not help: %v", err)
	}
}

func TestKeysOfAHashedTagAreTheHashes(t *testing.T) {
	t.Parallel()
	mails := projection.Rows[CustomerRow, any]{
		Name: "mails", By: "mail", Query: annals.Tags("mail:ann@example.com"),
		Apply: func(key string, row *CustomerRow, _ annals.Entry[any]) error {
			row.Name = key
			return nil
		},
	}
	log, views := annals.NewLog(memory.New(), schema), projection.NewMemory()
	if _, err := log.Append(t.Context(), []any{MailConfirmed{"ann@example.com"}, MailConfirmed{"bob@example.com"}}); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, mails); err != nil {
		t.Fatal(err)
	}
	page, err := projection.Of(views, mails).List(t.Context())
	if err != nil || len(page.Rows) != 1 || strings.Contains(page.Rows[0].Key, "ann") {
		t.Fatalf("the rows are %v, %v", page.Rows, err)
	}
	row, err := projection.AsOf(t.Context(), log, mails, page.Rows[0].Key)
	if err != nil || row != page.Rows[0].Value {
		t.Errorf("as of now the row is %v, %v", row, err)
	}
}

func TestNamesThatDifferByCaseAloneAreRefused(t *testing.T) {
	t.Parallel()
	upper := Orders
	upper.Name = "orderS"
	if err := projection.CatchUp(t.Context(), annals.NewLog(memory.New(), schema), projection.NewMemory(), upper); !errors.Is(err, projection.ErrDefinition) {
		t.Errorf("the error is %v", err)
	}
}

func TestNamesThatSQLiteKeepsToItselfAreRefused(t *testing.T) {
	t.Parallel()
	def := Customers
	for name, want := range map[string]error{"sqlite_stats": projection.ErrDefinition, "sqlite": nil, "projections": nil, "select": nil} {
		def.Name = name
		if _, err := def.Shape(); !errors.Is(err, want) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestTwoDefinitionsOfOneNameAreNotJoined(t *testing.T) {
	t.Parallel()
	type vipRow struct {
		VIP bool `json:"vip"`
	}
	on := func(o OrderRow) string { return o.Customer }
	vips := projection.Rows[vipRow, any]{
		Name: "customers", By: "customer", Query: annals.Category("customer"),
		Apply: func(string, *vipRow, annals.Entry[any]) error { return nil },
	}
	later := Customers
	later.Version = 2
	for name, other := range map[string]projection.Joined[OrderRow, any]{
		"fields":  projection.Join(vips, on, func(*OrderRow, vipRow) {}),
		"version": projection.Join(later, on, func(*OrderRow, CustomerRow) {}),
	} {
		def := Orders
		def.Joins = append([]projection.Joined[OrderRow, any]{other}, Orders.Joins...)
		if _, err := def.Shape(); !errors.Is(err, projection.ErrDefinition) || !strings.Contains(err.Error(), "two different definitions") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	same := Orders
	same.Joins = append(same.Joins, projection.Join(Customers, on, func(*OrderRow, CustomerRow) {}))
	if _, err := same.Shape(); err != nil {
		t.Errorf("one definition joined twice: %v", err)
	}
}
