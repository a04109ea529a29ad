package projection_test

import (
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/projectiontest"
	"github.com/annalsdb/annals/store/memory"
)

func TestMemoryViewsKeepThePromisesOfViews(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t,
		func(*testing.T) annals.Store { return memory.New() },
		func(*testing.T) projection.Views { return projection.NewMemory() })
}
