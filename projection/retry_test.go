package projection_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// shaky views fail as many commits as they are told to. If they are in doubt, what is said to have failed is there.
type shaky struct {
	projection.Views
	failures int
	err      error
	inDoubt  bool
}

type shakyTable struct {
	projection.Table
	views *shaky
}

type shakyBatch struct {
	projection.Batch
	views *shaky
}

func (v *shaky) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	t, err := v.Views.Table(ctx, shape)
	return shakyTable{t, v}, err
}

func (t shakyTable) Begin(ctx context.Context, at projection.Checkpoint) (projection.Batch, error) {
	b, err := t.Table.Begin(ctx, at)
	if err != nil {
		return nil, err
	}
	return shakyBatch{b, t.views}, nil
}

func (b shakyBatch) Commit(ctx context.Context, c projection.Checkpoint) error {
	if b.views.failures == 0 {
		return b.Batch.Commit(ctx, c)
	}
	b.views.failures--
	if b.views.inDoubt {
		return errors.Join(b.views.err, b.Batch.Commit(ctx, c))
	}
	return b.views.err
}

// sums has a row for each order, which shows at once if an event was applied twice.
var sums = projection.Rows[OrderRow, any]{
	Name: "sums", By: "order", Query: annals.Category("order"),
	Apply: func(_ string, row *OrderRow, _ annals.Entry[any]) error {
		row.Total++
		return nil
	},
}

func paidTimes(t *testing.T, n int) *annals.Log[any] {
	t.Helper()
	log := annals.NewLog(memory.New(), schema)
	for range n {
		if _, err := log.Append(t.Context(), []any{OrderPaid{Order: "42"}}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

func TestACommitThatFailsForAWhileIsTriedAgainAndAppliesNothingTwice(t *testing.T) {
	t.Parallel()
	for _, failed := range []error{fmt.Errorf("busy: %w", projection.ErrTemporary), fmt.Errorf("disk: %w", annals.ErrFull)} {
		for _, inDoubt := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				log, views := paidTimes(t, 7), &shaky{Views: projection.NewMemory(), failures: 3, err: failed, inDoubt: inDoubt}
				r := projection.Runner[any]{Log: log, Views: views, BatchEvents: 2, Logger: slog.New(slog.NewTextHandler(&said, nil))}
				view := projection.Of(views, sums)
				ended := make(chan error, 1)
				go func() { ended <- r.CatchUp(t.Context(), sums) }()
				synctest.Wait()
				if s := view.Status(); !errors.Is(s.Retrying, failed) || !s.Running || s.Err != nil {
					t.Errorf("the status is %+v", s)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if s := view.Status(); s.Retrying != nil {
					t.Errorf("the status is %+v", s)
				}
				if row, err := view.Get(annals.WithAtLeast(t.Context(), 7), "42"); err != nil || row.Total != 7 {
					t.Errorf("%d of 7 events were applied, %v", row.Total, err)
				}
				if n := strings.Count(said.String(), "tries again"); n != 3 {
					t.Errorf("it was logged %d times:\n%s", n, said.String())
				}
			})
		}
	}
}

func TestACommitThatKeepsFailingStopsTheProjection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, views := paidTimes(t, 1), &shaky{Views: projection.NewMemory(), failures: -1, err: projection.ErrTemporary}
		start := time.Now()
		if err := projection.CatchUp(t.Context(), log, views, sums); !errors.Is(err, projection.ErrTemporary) {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := projection.Of(views, sums).Wait(t.Context(), 1); !errors.Is(err, projection.ErrTemporary) {
			t.Errorf("the wait ends with %v", err)
		}
		views.failures = 0
		if err := projection.CatchUp(t.Context(), log, views, sums); err != nil {
			t.Error(err)
		}
	})
}

func TestARunThatEndsWhileItTriesAgainHasNotFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, views := paidTimes(t, 1), &shaky{Views: projection.NewMemory(), failures: -1, err: projection.ErrTemporary}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- projection.Run(ctx, log, views, sums) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the run ends with %v", err)
		}
		if s := projection.Of(views, sums).Status(); s != (projection.Status{}) {
			t.Errorf("the status is %+v", s)
		}
	})
}

func TestWhatApplyFailsWithIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	calls := 0
	def := sums
	def.Apply = func(string, *OrderRow, annals.Entry[any]) error {
		calls++
		return annals.ErrFull
	}
	err := projection.CatchUp(t.Context(), paidTimes(t, 1), projection.NewMemory(), def)
	if !errors.Is(err, projection.ErrApply) || calls != 1 {
		t.Errorf("after %d calls the error is %v", calls, err)
	}
}
