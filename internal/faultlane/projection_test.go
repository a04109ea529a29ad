package faultlane_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/pgtest"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/pgviews"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/disk"
)

var viewKills = count("viewkills", 25, 5, "how often to kill a process that projects, into each of the databases")

// The events of the lane: orders of customers, whose names change.
type (
	laneOrdered struct {
		Order    string `json:"order" annals:"order,stream"`
		Customer string `json:"customer" annals:"customer"`
		Amount   int64  `json:"amount"`
		Poison   bool   `json:"poison,omitempty"`
	}
	laneNamed struct {
		Customer string `json:"customer" annals:"customer,stream"`
		Name     string `json:"name"`
	}
)

type laneRow struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
	Events   int    `json:"events"`
	Amount   int64  `json:"amount"`
}

type laneNames struct {
	Name string `json:"name"`
}

var errLanePoison = errors.New("poison")

// laneRows count events, so that one that was lost, or applied twice, shows.
var laneRows = projection.Rows[laneRow, any]{
	Name: "orders", By: "order", Query: annals.Category("order"), Poison: projection.ParkPoison,
	Apply: func(_ string, row *laneRow, e annals.Entry[any]) error {
		o, ok := e.Value.(laneOrdered)
		if !ok || o.Poison {
			return errLanePoison
		}
		row.Customer, row.Events, row.Amount = o.Customer, row.Events+1, row.Amount+o.Amount
		return nil
	},
	Columns: []projection.Column[laneRow]{{Name: "events", Value: func(r laneRow) any { return r.Events }}},
	Joins: []projection.Joined[laneRow, any]{projection.Join(projection.Rows[laneNames, any]{
		Name: "names", By: "customer", Query: annals.Category("customer"),
		Apply: func(_ string, row *laneNames, e annals.Entry[any]) error {
			if n, ok := e.Value.(laneNamed); ok {
				row.Name = n.Name
			}
			return nil
		},
	}, func(r laneRow) string { return r.Customer }, func(r *laneRow, n laneNames) { r.Name = n.Name })},
}

// laneTotals is what customers have ordered, in SQL.
func laneTotals[T any](exec func(ctx context.Context, tx T, statement string, args ...any) error, statement string) projection.Custom[T, any] {
	return projection.Custom[T, any]{
		Name: "totals", Query: annals.Category("order"),
		Setup: "CREATE TABLE {totals} (customer TEXT PRIMARY KEY, events BIGINT NOT NULL, amount BIGINT NOT NULL);",
		Apply: func(ctx context.Context, in projection.In[T], e annals.Entry[any]) error {
			o, ok := e.Value.(laneOrdered)
			if !ok {
				return errLanePoison
			}
			return exec(ctx, in.Tx, in.SQL(statement), o.Customer, o.Amount)
		},
	}
}

// laneDatabase is where the lane projects to.
type laneDatabase struct {
	open   func(ctx context.Context, dir string) (projection.Views, error)
	totals projection.Definition[any]
	// compare tells in how many rows two tables of totals differ, and how many events there are in each.
	read func(ctx context.Context, v projection.Views) (map[string][2]int64, error)
}

var (
	sqliteTotals = laneTotals(func(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	}, "INSERT INTO {totals} VALUES (?, 1, ?) ON CONFLICT (customer) DO UPDATE SET events = events + 1, amount = amount + excluded.amount")
	postgresTotals = laneTotals(func(ctx context.Context, tx pgx.Tx, statement string, args ...any) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	}, "INSERT INTO {totals} AS t VALUES ($1, 1, $2) ON CONFLICT (customer) DO UPDATE SET events = t.events + 1, amount = t.amount + excluded.amount")
)

const laneSelect = "SELECT customer, events, amount FROM {totals}"

var laneDatabases = map[string]laneDatabase{
	"sqlite": {
		open: func(ctx context.Context, dir string) (projection.Views, error) {
			return sqliteviews.Open(ctx, filepath.Join(dir, "views.db"))
		},
		totals: sqliteTotals,
		read: func(ctx context.Context, v projection.Views) (map[string][2]int64, error) {
			all := map[string][2]int64{}
			err := projection.OfCustom(v, sqliteTotals).Read(ctx, func(in projection.In[*sql.Tx]) error {
				rows, err := in.Tx.QueryContext(ctx, in.SQL(laneSelect))
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var customer string
					var n [2]int64
					if err := rows.Scan(&customer, &n[0], &n[1]); err != nil {
						return err
					}
					all[customer] = n
				}
				return rows.Err()
			})
			return all, err
		},
	},
	"postgres": {
		open: func(ctx context.Context, dir string) (projection.Views, error) {
			url, err := os.ReadFile(filepath.Join(dir, "url"))
			if err != nil {
				return nil, err
			}
			return pgviews.Open(ctx, string(url), pgviews.Schema(filepath.Base(dir)))
		},
		totals: postgresTotals,
		read: func(ctx context.Context, v projection.Views) (map[string][2]int64, error) {
			all := map[string][2]int64{}
			err := projection.OfCustom(v, postgresTotals).Read(ctx, func(in projection.In[pgx.Tx]) error {
				rows, err := in.Tx.Query(ctx, in.SQL(laneSelect))
				if err != nil {
					return err
				}
				var customer string
				var n [2]int64
				_, err = pgx.ForEachRow(rows, []any{&customer, &n[0], &n[1]}, func() error {
					all[customer] = n
					return nil
				})
				return err
			})
			return all, err
		},
	},
}

func laneLog(ctx context.Context, dir string) (*disk.Store, *annals.Log[any], error) {
	s, err := disk.Open(ctx, filepath.Join(dir, "store"), disk.SegmentBytes(segmentBytes))
	if err != nil {
		return nil, nil, err
	}
	return s, annals.NewLog(s, annals.NewSchema([]any{laneOrdered{}, laneNamed{}})), nil
}

// projectForEver appends and projects until it is killed.
func projectForEver(ctx context.Context, dir string, life int) error {
	kind, err := os.ReadFile(filepath.Join(dir, "kind"))
	if err != nil {
		return err
	}
	db := laneDatabases[string(kind)]
	_, log, err := laneLog(ctx, dir)
	if err != nil {
		return err
	}
	views, err := db.open(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "open"); err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() {
		failed <- projection.Runner[any]{Log: log, Views: views, BatchEvents: 20}.Run(ctx, laneRows, db.totals)
	}()
	go func() { failed <- appendForEver(ctx, log, uint64(life)) }()
	return <-failed
}

func appendForEver(ctx context.Context, log *annals.Log[any], seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	for {
		var events []any
		for range 1 + rng.IntN(8) {
			customer := fmt.Sprintf("c%d", rng.IntN(20))
			if rng.IntN(10) == 0 {
				events = append(events, laneNamed{customer, fmt.Sprintf("name %d", rng.IntN(1000))})
				continue
			}
			order := fmt.Sprintf("o%d-%d", seed, rng.IntN(50)) // a poisoned one parks no more than what a life appends to it
			events = append(events, laneOrdered{Order: order, Customer: customer, Amount: rng.Int64N(1000), Poison: rng.IntN(5000) == 0})
		}
		if _, err := log.Append(ctx, events); err != nil {
			return err
		}
	}
}

func TestWhatAKilledProcessProjectedIsNeitherLostNorDoubled(t *testing.T) {
	t.Parallel()
	for kind, db := range laneDatabases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := map[string]string{"kind": kind}
			if kind == "postgres" {
				files["url"] = pgtest.URL(t)
			}
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rng := rand.New(rand.NewPCG(*seedFlag, 3))
			for life := range *viewKills {
				killProjecting(t, dir, life, rng)
			}
			checkProjected(t, dir, kind, db)
		})
	}
}

// killProjecting runs a process for some time, which may end before it has opened anything.
func killProjecting(t *testing.T, dir string, life int, rng *rand.Rand) {
	t.Helper()
	c := startChild(t, os.Args[0], "project", dir, life)
	if rng.IntN(5) > 0 {
		c.out.Scan()
	}
	timer := time.NewTimer(time.Duration(rng.IntN(400)) * time.Millisecond)
	<-timer.C
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the process was not killed: %v", err)
	}
}

func checkProjected(t *testing.T, dir, kind string, db laneDatabase) {
	t.Helper()
	ctx := t.Context()
	s, log, err := laneLog(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	live, err := db.open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	again := filepath.Join(t.TempDir(), fmt.Sprintf("again-%d", time.Now().UnixNano()))
	if err := os.Mkdir(again, 0o700); err != nil {
		t.Fatal(err)
	}
	if url, err := os.ReadFile(filepath.Join(dir, "url")); err == nil {
		err = os.WriteFile(filepath.Join(again, "url"), url, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	rebuilt, err := db.open(ctx, again)
	if err != nil {
		t.Fatal(err)
	}
	defer rebuilt.Close()
	for _, views := range []projection.Views{live, rebuilt} {
		if err := projection.CatchUp(ctx, log, views, laneRows, db.totals); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := projection.Compare(ctx, projection.Of(live, laneRows), projection.Of(rebuilt, laneRows), 5)
	if err != nil {
		t.Fatal(err)
	}
	one, err := db.read(ctx, live)
	if err != nil {
		t.Fatal(err)
	}
	two, err := db.read(ctx, rebuilt)
	if err != nil {
		t.Fatal(err)
	}
	lost, doubled, differ := rows.OnlyB, rows.OnlyA, rows.Differ
	for _, d := range rows.Samples {
		if d.A != nil && d.B != nil {
			t.Errorf("row %q is %+v, rebuilt %+v", d.Key, *d.A, *d.B)
		}
	}
	events := int64(0)
	for customer, want := range two {
		got := one[customer]
		events += want[0]
		switch {
		case got[0] < want[0]:
			lost++
		case got[0] > want[0]:
			doubled++
		case got != want:
			differ++
		}
	}
	doubled += max(0, len(one)-len(two))
	a, err := projection.ParkedEvents(ctx, live, "orders", 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := projection.ParkedEvents(ctx, rebuilt, "orders", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Errorf("%d events are parked, and %d after a rebuild", len(a), len(b))
	}
	if lost+doubled+differ > 0 || events == 0 || rows.Same == 0 {
		t.Errorf("rows: %s; totals: %v, rebuilt %v", rows, one, two)
	}
	report(t, "project "+kind, "kills=%d events=%d rows=%d parked=%d lost=%d doubled=%d diff_rows=%d", *viewKills, events, rows.Same, len(a), lost, doubled, differ)
}
