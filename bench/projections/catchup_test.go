package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite" // the driver of the loops by hand

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/pgviews"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/memory"
)

// Deposited is the event of the workload.
type Deposited struct {
	Account string `json:"account" annals:"account,stream"`
	Cents   int64  `json:"cents"`
}

// Balance is the row of an account.
type Balance struct {
	Cents  int64 `json:"cents"`
	Events int   `json:"events"`
}

// Balances is one row for each account.
var Balances = projection.Rows[Balance, Deposited]{
	Name: "balances", By: "account", Query: annals.Category("account"),
	Apply: func(_ string, row *Balance, e annals.Entry[Deposited]) error {
		row.Cents, row.Events = row.Cents+e.Value.Cents, row.Events+1
		return nil
	},
}

const (
	accounts  = 100_000
	events    = 200_000
	naiveMost = 2_000 // one transaction for each event is measured on fewer
	batch     = 2_000
)

// log is the workload, made once: each account twice, in an order that does not help.
var log = sync.OnceValue(func() *annals.Log[Deposited] {
	log := annals.NewLog(memory.New(), annals.NewSchema([]Deposited{{}}))
	var some []Deposited
	for i := range events {
		some = append(some, Deposited{Account: fmt.Sprintf("account-%07d", i*7919%accounts), Cents: int64(i % 100)})
		if len(some) == 1000 {
			if _, err := log.Append(context.Background(), some); err != nil {
				panic(err)
			}
			some = some[:0]
		}
	}
	return log
})

// catchUp measures the projection of the library.
func catchUp(b *testing.B, open func(b *testing.B) projection.Views) {
	b.Helper()
	log() // is made before anything is measured
	for b.Loop() {
		b.StopTimer()
		views := open(b)
		b.StartTimer()
		if err := (projection.Runner[Deposited]{Log: log(), Views: views, BatchEvents: batch}).CatchUp(b.Context(), Balances); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		row, err := projection.Of(views, Balances).Get(b.Context(), "account-0000001")
		if err != nil || row.Events != events/accounts {
			b.Fatalf("the row is %+v, %v", row, err)
		}
		if err := views.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
}

// follow gives the events to a loop by hand, in batches.
func follow(b *testing.B, most, size int, apply func(some []Deposited, last annals.Position) error) {
	b.Helper()
	var some []Deposited
	n := 0
	for r, err := range log().Store().Read(b.Context(), annals.Category("account"), annals.Limit(most)) {
		if err != nil {
			b.Fatal(err)
		}
		var e Deposited
		if err := json.Unmarshal(r.Data, &e); err != nil {
			b.Fatal(err)
		}
		some = append(some, e)
		if n++; len(some) == size || n == most {
			if err := apply(some, r.Position); err != nil {
				b.Fatal(err)
			}
			some = some[:0]
		}
	}
}

func BenchmarkSQLite(b *testing.B) {
	b.Run("annals", func(b *testing.B) {
		catchUp(b, func(b *testing.B) projection.Views {
			b.Helper()
			views, err := sqliteviews.Open(b.Context(), filepath.Join(b.TempDir(), "views.db"))
			if err != nil {
				b.Fatal(err)
			}
			return views
		})
	})
	b.Run("by-hand", func(b *testing.B) { sqliteByHand(b, events, batch) })
	b.Run("transaction-per-event", func(b *testing.B) { sqliteByHand(b, naiveMost, 1) })
}

// sqliteByHand is what one would write: a prepared statement for each event, in one transaction with the checkpoint.
func sqliteByHand(b *testing.B, most, size int) {
	b.Helper()
	ctx := b.Context()
	for b.Loop() {
		b.StopTimer()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "hand.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate")
		if err != nil {
			b.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		for _, statement := range []string{
			"CREATE TABLE balances (account TEXT PRIMARY KEY NOT NULL, cents INTEGER NOT NULL, events INTEGER NOT NULL)",
			"CREATE TABLE checkpoint (position INTEGER NOT NULL)", "INSERT INTO checkpoint VALUES (0)",
		} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		follow(b, most, size, func(some []Deposited, last annals.Position) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			put, err := tx.PrepareContext(ctx, "INSERT INTO balances VALUES (?, ?, 1) ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents, events = events + 1")
			if err != nil {
				return err
			}
			for _, e := range some {
				if _, err := put.ExecContext(ctx, e.Account, e.Cents); err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(ctx, "UPDATE checkpoint SET position = ?", int64(last)); err != nil {
				return err
			}
			return tx.Commit()
		})
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(most*b.N)/b.Elapsed().Seconds(), "events/s")
}

// database is the URL of a PostgreSQL server for these benchmarks alone.
func database(b *testing.B) string {
	b.Helper()
	url := os.Getenv("ANNALS_BENCH_POSTGRES")
	if url == "" {
		b.Fatal("ANNALS_BENCH_POSTGRES has to name a database: `make bench-projections` starts one")
	}
	return url
}

func BenchmarkPostgreSQL(b *testing.B) {
	n := 0
	b.Run("annals", func(b *testing.B) {
		catchUp(b, func(b *testing.B) projection.Views {
			b.Helper()
			n++
			views, err := pgviews.Open(b.Context(), database(b), pgviews.Schema(fmt.Sprintf("bench_%d_%d", time.Now().UnixNano(), n)))
			if err != nil {
				b.Fatal(err)
			}
			return views
		})
	})
	b.Run("by-hand", func(b *testing.B) { postgresByHand(b, events, batch) })
	b.Run("transaction-per-event", func(b *testing.B) { postgresByHand(b, naiveMost, 1) })
}

// postgresByHand sends the statements of a batch in one go.
func postgresByHand(b *testing.B, most, size int) {
	b.Helper()
	ctx := b.Context()
	pool, err := pgxpool.New(ctx, database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	for b.Loop() {
		b.StopTimer()
		for _, statement := range []string{
			"DROP TABLE IF EXISTS balances, checkpoint",
			"CREATE TABLE balances (account TEXT PRIMARY KEY, cents BIGINT NOT NULL, events BIGINT NOT NULL)",
			"CREATE TABLE checkpoint (position BIGINT NOT NULL)", "INSERT INTO checkpoint VALUES (0)",
		} {
			if _, err := pool.Exec(ctx, statement); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		follow(b, most, size, func(some []Deposited, last annals.Position) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				var all pgx.Batch
				for _, e := range some {
					all.Queue("INSERT INTO balances VALUES ($1, $2, 1) ON CONFLICT (account) DO UPDATE SET cents = balances.cents + excluded.cents, events = balances.events + 1",
						e.Account, e.Cents)
				}
				all.Queue("UPDATE checkpoint SET position = $1", int64(last))
				return tx.SendBatch(ctx, &all).Close()
			})
		})
	}
	b.ReportMetric(float64(most*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLive is how long after its acknowledgement an event is in its row, at 2,000 events a second.
func BenchmarkLive(b *testing.B) {
	const perSecond, seconds = 2000, 5
	for b.Loop() {
		live := annals.NewLog(memory.New(), annals.NewSchema([]Deposited{{}}))
		views, err := sqliteviews.Open(b.Context(), filepath.Join(b.TempDir(), "views.db"))
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- projection.Run(ctx, live, views, Balances) }()
		view := projection.Of(views, Balances)
		var waits []time.Duration
		tick := time.NewTicker(time.Second / 100)
		for range 100 * seconds {
			<-tick.C
			var last annals.Position
			for i := range perSecond / 100 {
				receipt, err := live.Append(ctx, []Deposited{{fmt.Sprintf("account-%d", i), 1}})
				if err != nil {
					b.Fatal(err)
				}
				last = receipt.Last
			}
			acknowledged := time.Now()
			if err := view.Wait(ctx, last); err != nil {
				b.Fatal(err)
			}
			waits = append(waits, time.Since(acknowledged))
		}
		tick.Stop()
		cancel()
		<-ended
		if err := views.Close(); err != nil {
			b.Fatal(err)
		}
		slices.Sort(waits)
		b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
	}
}
