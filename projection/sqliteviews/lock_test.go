package sqliteviews_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
)

// tableOf is the table of one version of counts.
func tableOf(t *testing.T, views projection.Views, version int) projection.Table {
	t.Helper()
	def := counts
	def.Version = version
	shape, err := def.Shape()
	if err != nil {
		t.Fatal(err)
	}
	table, err := views.Table(t.Context(), shape)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// commit commits a batch of so many rows.
func commit(ctx context.Context, table projection.Table, from, to annals.Position, rows int) error {
	b, err := table.Begin(ctx, projection.Checkpoint{Position: from})
	if err != nil {
		return err
	}
	for i := range rows {
		if err := b.Write(ctx, "", []projection.Change{{Key: fmt.Sprint(i), JSON: []byte("{}"), Columns: []any{int64(to)}}}); err != nil {
			return errors.Join(err, b.Rollback())
		}
	}
	return b.Commit(ctx, projection.Checkpoint{Position: to})
}

func TestTheBatchOfAnotherProcessIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	one, two := tableOf(t, open(t, path), 1), tableOf(t, open(t, path), 2)
	b, err := one.Begin(t.Context(), projection.Checkpoint{Position: 0})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := two.Begin(short, projection.Checkpoint{Position: 0}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the end of the context the error is %v", err)
	}

	closing := open(t, path)
	three := tableOf(t, closing, 1)
	closed, committed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := three.Begin(t.Context(), projection.Checkpoint{Position: 0})
		closed <- err
	}()
	go func() { committed <- commit(t.Context(), two, 0, 7, 1) }()
	if err := closing.Close(); err != nil {
		t.Error(err)
	}
	if err := <-closed; !errors.Is(err, projection.ErrClosed) {
		t.Errorf("at the end of the views the error is %v", err)
	}
	if err := b.Rollback(); err != nil {
		t.Error(err)
	}
	if err := <-committed; err != nil {
		t.Errorf("the batch that waited ends with %v", err)
	}
}

// A process that applies one batch after the other, as a rebuild does, does not keep the others out.
func TestALongRebuildLetsAnotherProcessIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	rebuilt, live := tableOf(t, open(t, path), 1), tableOf(t, open(t, path), 2)
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	rebuilding, stop := context.WithCancel(ctx)
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var p annals.Position
		for {
			if err := commit(rebuilding, rebuilt, p, p+1, 100); err != nil {
				ended <- err
				return
			}
			if p++; p == 1 {
				close(started)
			}
		}
	}()
	<-started
	for p := range annals.Position(5) {
		if err := commit(ctx, live, p, p+1, 1); err != nil {
			t.Fatalf("batch %d of the live projection: %v", p+1, err)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the rebuild ends with %v", err)
	}
}

func TestManyMayOpenANewFileAtOnce(t *testing.T) {
	t.Parallel()
	for range 8 {
		path := filepath.Join(t.TempDir(), "views.db")
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				views, err := sqliteviews.Open(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := projection.Of(views, counts).Position(t.Context()); err != nil {
					t.Error(err)
				}
				if err := views.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func TestNothingIsCommittedAfterClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	views := open(t, path)
	table := tableOf(t, views, 1)
	ended := make(chan annals.Position, 1)
	started := make(chan struct{})
	go func() {
		var p annals.Position
		for commit(t.Context(), table, p, p+1, 3) == nil {
			if p++; p == 1 {
				close(started)
			}
		}
		ended <- p
	}()
	<-started
	if err := views.Close(); err != nil {
		t.Error(err)
	}
	there, err := tableOf(t, open(t, path), 1).Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if said := <-ended; there.Position != said {
		t.Errorf("the checkpoint was %d when Close returned, and %d batches were committed", there.Position, said)
	}
}

func TestABatchInWhichAStatementFailedCommitsNothing(t *testing.T) {
	t.Parallel()
	table := tableOf(t, open(t, filepath.Join(t.TempDir(), "views.db")), 1)
	b, err := table.Begin(t.Context(), projection.Checkpoint{Position: 0})
	if err != nil {
		t.Fatal(err)
	}
	put := []projection.Change{{Key: "a", JSON: []byte("{}"), Columns: []any{int64(1)}}}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	failed := b.Write(cut, "", put)
	if failed == nil {
		t.Error("a statement whose context has ended must fail")
	}
	if err := b.Write(t.Context(), "", put); err == nil {
		t.Error("a batch goes on after a statement has failed")
	}
	if err := b.Commit(t.Context(), projection.Checkpoint{Position: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("it commits with %v", err)
	}
	if err := b.Rollback(); err != nil {
		t.Error(err)
	}
	if _, found, err := table.Get(t.Context(), "a"); found || err != nil {
		t.Errorf("the row is there: %v, %v", found, err)
	}
	if err := commit(t.Context(), table, 0, 1, 1); err != nil {
		t.Error(err)
	}
}
