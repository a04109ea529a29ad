package projectionmetrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/projectionmetrics"
	"github.com/annalsdb/annals/store/memory"
)

type noted struct {
	Note string `json:"note" annals:"note,stream"`
}

var notes = projection.Rows[int, any]{
	Name: "notes", By: "note", Query: annals.Types("noted"), Poison: projection.ParkPoison,
	Apply: func(key string, row *int, _ annals.Entry[any]) error {
		if *row++; key == "bad" {
			return projection.ErrTemporary
		}
		return nil
	},
}

func TestWhatProjectionsReportIsCollected(t *testing.T) {
	t.Parallel()
	log, views := annals.NewLog(memory.New(), annals.NewSchema([]any{noted{}})), projection.NewMemory()
	if _, err := log.Append(t.Context(), []any{noted{"good"}, noted{"bad"}}); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, notes); err != nil {
		t.Fatal(err)
	}
	c := projectionmetrics.Collector(views, time.Second)
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("the metrics are not as they should be: %v, %v", problems, err)
	}
	err = testutil.CollectAndCompare(c, strings.NewReader(`
# HELP annals_projection_applied_position Position up to which every event is in the rows.
# TYPE annals_projection_applied_position gauge
annals_projection_applied_position{projection="notes",version="1"} 2
# HELP annals_projection_parked_events Events that could not be applied, or wait for one.
# TYPE annals_projection_parked_events gauge
annals_projection_parked_events{projection="notes",version="1"} 1
# HELP annals_projection_serving 1 if the version is the one that serves.
# TYPE annals_projection_serving gauge
annals_projection_serving{projection="notes",version="1"} 1
# HELP annals_projection_views_up 1 if the views could be read.
# TYPE annals_projection_views_up gauge
annals_projection_views_up 1
`), "annals_projection_applied_position", "annals_projection_parked_events", "annals_projection_serving", "annals_projection_views_up")
	if err != nil {
		t.Error(err)
	}
	if err := views.Close(); err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(c, "annals_projection_lag_events"); n != 0 {
		t.Errorf("views that are closed tell of %d projections", n)
	}
	prometheus.NewPedanticRegistry().MustRegister(c)
}
