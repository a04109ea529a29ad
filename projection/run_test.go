package projection_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

func sorted(lines string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(lines, "\n")), "\n")
}

func TestWaitingWithoutADeadlineEndsAfterTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		orders := projection.Of(projection.NewMemory(), Orders)
		start := time.Now()
		_, err := orders.Get(annals.WithAtLeast(t.Context(), 1), "42")
		if e, ok := errors.AsType[*projection.LaggingError](err); !ok || e.Wanted != 1 || e.Cause != nil {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAWaitOutlivesAResetOfTheRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, views := annals.NewLog(memory.New(), schema), projection.NewMemory()
		orders := projection.Of(views, Orders)
		catchUp := func() {
			if err := projection.CatchUp(t.Context(), log, views, Orders); err != nil {
				t.Error(err)
			}
		}
		receipt, err := log.Append(t.Context(), []any{OrderPlaced{Order: "42", Customer: "ann"}})
		if err != nil {
			t.Fatal(err)
		}
		catchUp()
		waited := make(chan error, 1)
		go func() { waited <- orders.Wait(t.Context(), receipt.Last+1) }()
		synctest.Wait()
		if err := projection.Reset(t.Context(), views, Orders); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), []any{OrderPaid{Order: "42"}}); err != nil {
			t.Fatal(err)
		}
		catchUp()
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

// failing views fail to commit as long as they are told to.
type failing struct {
	projection.Views
	fails bool
}

type failingTable struct {
	projection.Table
	views *failing
}

type failingBatch struct {
	projection.Batch
	views *failing
}

func (v *failing) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	t, err := v.Views.Table(ctx, shape)
	return failingTable{t, v}, err
}

func (t failingTable) Begin(ctx context.Context, at projection.Checkpoint) (projection.Batch, error) {
	b, err := t.Table.Begin(ctx, at)
	return failingBatch{b, t.views}, err
}

func (b failingBatch) Commit(ctx context.Context, c projection.Checkpoint) error {
	if b.views.fails {
		return errDisk
	}
	return b.Batch.Commit(ctx, c)
}

func TestNothingIsAppliedTwiceOrAnnouncedAfterAFailedCommit(t *testing.T) {
	t.Parallel()
	log, views := annals.NewLog(memory.New(), schema), &failing{Views: projection.NewMemory(), fails: true}
	orders := projection.Of(views, Orders)
	receipt, err := log.Append(t.Context(), []any{OrderPlaced{Order: "42", Customer: "ann"}, OrderPaid{Order: "42"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, Orders); !errors.Is(err, errDisk) || errors.Is(err, projection.ErrApply) {
		t.Errorf("the error is %v", err)
	}
	err = orders.Wait(t.Context(), receipt.Last)
	if !errors.Is(err, projection.ErrLagging) || !errors.Is(err, errDisk) {
		t.Errorf("the wait ends with %v", err)
	}
	if _, err := orders.Get(t.Context(), "42"); !errors.Is(err, projection.ErrNotFound) {
		t.Errorf("the row is there: %v", err)
	}
	views.fails = false
	if err := projection.CatchUp(t.Context(), log, views, Orders); err != nil {
		t.Error(err)
	}
	if row, err := orders.Get(annals.WithAtLeast(t.Context(), receipt.Last), "42"); err != nil || row.Status != "paid" {
		t.Errorf("the row is %v, %v", row, err)
	}
}

func TestUnknownAndDroppedTypesAreSkippedAndDamagedEventsAreNot(t *testing.T) {
	t.Parallel()
	store, views := memory.New(), projection.NewMemory()
	log := annals.NewLog(store, annals.NewSchema(events, annals.HashKey([]byte("sixteen bytes, or more")), annals.Dropped("OrderDreamt")))
	event := func(name, data string) annals.Event {
		return annals.Event{Type: name, Stream: "order-42", Tags: []string{"order:42"}, Data: []byte(data)}
	}
	placed := event("OrderPlaced", `{"order":"42","customer":"ann","total":3}`)
	if _, err := store.Append(t.Context(), []annals.Event{placed, event("OrderDreamt", "{}"), event("OrderShipped", "{}")}); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, Orders); err != nil {
		t.Fatal(err)
	}
	orders := projection.Of(views, Orders)
	if row, err := orders.Get(annals.WithAtLeast(t.Context(), 3), "42"); err != nil || row.Total != 3 {
		t.Errorf("the row is %v, %v", row, err)
	}
	if _, err := store.Append(t.Context(), []annals.Event{event("OrderPaid", "{}"), event("OrderPaid", "[]")}); err != nil {
		t.Fatal(err)
	}
	err := projection.CatchUp(t.Context(), log, views, Orders)
	if e, ok := errors.AsType[*projection.ApplyError](err); !ok || e.Position != 5 || e.Type != "OrderPaid" || e.Key != "" {
		t.Errorf("the error is %v", err)
	}
	if row, err := orders.Get(t.Context(), "42"); err != nil || row.Status != "paid" {
		t.Errorf("what precedes the damaged event was not kept: %v, %v", row, err)
	}
}

// commitBehind commits a checkpoint as another process does, without a word to this one.
func commitBehind(t *testing.T, views projection.Views, p annals.Position) {
	t.Helper()
	shape, err := Orders.Shape()
	if err != nil {
		t.Fatal(err)
	}
	table, err := views.Table(t.Context(), shape)
	if err != nil {
		t.Fatal(err)
	}
	b, err := table.Begin(t.Context(), projection.Checkpoint{Position: 0})
	if err == nil {
		err = b.Write(t.Context(), "", []projection.Change{{Key: "42", JSON: []byte(`{"status":"paid"}`), Columns: []any{"paid", int64(0), ""}}})
	}
	if err == nil {
		err = b.Commit(t.Context(), projection.Checkpoint{Position: p})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAReadWithADeadlineKeepsTimeBackForTheLastLook(t *testing.T) {
	t.Parallel()
	for name, limited := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"patience": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return projection.WithPatience(ctx, 900*time.Millisecond), func() {}
		},
		"both": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(projection.WithPatience(ctx, time.Minute), time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				views := projection.NewMemory()
				orders := projection.Of(views, Orders)
				ctx, cancel := limited(annals.WithAtLeast(t.Context(), 3))
				defer cancel()
				start := time.Now()
				var row OrderRow
				ended := make(chan error, 1)
				go func() {
					var err error
					row, err = orders.Get(ctx, "42")
					ended <- err
				}()
				synctest.Wait()
				commitBehind(t, views, 3)
				if err := <-ended; err != nil || row.Status != "paid" {
					t.Errorf("the row is %v, %v", row, err)
				}
				if took := time.Since(start); took > 20*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				ctx, cancel = limited(annals.WithAtLeast(t.Context(), 4))
				defer cancel()
				_, err := orders.Get(ctx, "42")
				if e, ok := errors.AsType[*projection.LaggingError](err); !ok || e.Applied != 3 || e.Cause != nil {
					t.Errorf("the error is %v", err)
				}
				late, cancel := context.WithTimeout(annals.WithAtLeast(t.Context(), 4), -1)
				defer cancel()
				if _, err := orders.Get(late, "42"); !errors.Is(err, projection.ErrLagging) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}
