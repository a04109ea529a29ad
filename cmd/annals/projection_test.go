package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/memory"
)

// reported waits until `annals projection ls` says of a projection what f wants.
func reported(t *testing.T, data, name string, f func(r projection.Report) bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for {
		var last string
		for line := range strings.Lines(command(t, "", "projection", "ls", data).is(exitOK).out) {
			var r projection.Report
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if r.Name == name {
				last = line
				if f(r) {
					return
				}
			}
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s is reported as %s", name, last)
		}
	}
}

func TestProjectionsOfTheRunningServiceAreSteered(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := startDev(t, nil, "--data", data)
	reported(t, data, "orders", func(r projection.Report) bool {
		return r.State == projection.StateRunning && r.Serving && r.Lag == 0 && r.Applied > 0
	})
	command(t, "", "projection", "ls", data, "-o", "table").is(exitOK).prints("PROJECTION", "orders@1", "revenue@1", "spending@1", "running", "yes")
	command(t, "", "projection", "show", data, "orders", "-o", "table").is(exitOK).prints("by order", "column status string")

	command(t, "", "projection", "pause", data, "orders").is(exitOK).prints(`"done":"paused"`)
	reported(t, data, "orders", func(r projection.Report) bool { return r.State == projection.StatePaused })
	create := func() {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/orders", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer demo-customer-1")
		r.Header.Set("Content-Type", "application/json")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if a.StatusCode != http.StatusCreated {
			t.Fatalf("an order is answered with %s", a.Status)
		}
	}
	create()
	reported(t, data, "orders", func(r projection.Report) bool {
		return r.Lag > 0 && r.LagSeconds > 0 && r.State == projection.StatePaused
	})
	command(t, "", "projection", "resume", data, "orders", "-o", "table").is(exitOK).prints("orders@1 is resumed")
	reported(t, data, "orders", func(r projection.Report) bool { return r.Lag == 0 && r.State == projection.StateRunning })
	command(t, "", "projection", "retry", data, "orders").is(exitOK)

	command(t, "", "projection", "rebuild", data, "orders").is(exitUsage, "--yes")
	command(t, "", "projection", "rebuild", data, "orders", "--yes", "-o", "table").is(exitOK).prints("orders@1 is made anew", "100%")
	command(t, "", "projection", "reset", data, "revenue", "--yes").is(exitOK)
	reported(t, data, "revenue", func(r projection.Report) bool { return r.Lag == 0 && r.State == projection.StateRunning })
	create()

	p.kill()
	reported(t, data, "orders", func(r projection.Report) bool { return r.Serving })
	p = startDev(t, nil, "--data", data)
	reported(t, data, "orders", func(r projection.Report) bool { return r.Lag == 0 && r.State == projection.StateRunning })
	p.signal(syscall.SIGTERM, exitOK)
	reported(t, data, "orders", func(r projection.Report) bool { return r.State == projection.StateStopped })
	command(t, "", "projection", "rebuild", data, "orders", "--yes").is(exitFailure, "no program runs orders@1")
}

type noted struct {
	Note string `json:"note" annals:"note,stream"`
	Text string `json:"text"`
}

type noteRow struct {
	Text string `json:"text"`
}

// notes is a read model in two versions, which has an event that it cannot apply.
func notes(version int) projection.Rows[noteRow, any] {
	return projection.Rows[noteRow, any]{
		Name: "notes", Version: version, By: "note", Query: annals.Types("noted"), Poison: projection.ParkPoison,
		Apply: func(_ string, row *noteRow, e annals.Entry[any]) error {
			n, ok := e.Value.(noted)
			if !ok || n.Text == "poison" {
				return projection.ErrTemporary
			}
			row.Text = n.Text
			if version > 1 {
				row.Text = strings.ToUpper(n.Text)
			}
			return nil
		},
	}
}

func TestVersionsAreComparedSwitchedAndDropped(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "views.db")
	views, err := sqliteviews.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer views.Close()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{noted{}}))
	if _, err := log.Append(t.Context(), []any{noted{"a", "one"}, noted{"b", "2"}, noted{"a", "poison"}, noted{"a", "later"}}); err != nil {
		t.Fatal(err)
	}
	runner := projection.Runner[any]{Log: log, Views: views, Hold: true}
	if err := runner.CatchUp(t.Context(), notes(1), notes(2)); err != nil {
		t.Fatal(err)
	}
	say := func(args ...string) *result {
		t.Helper()
		return command(t, "", append([]string{"projection", args[0], file}, args[1:]...)...)
	}
	say("diff", "notes@1", "notes@2", "-o", "table").is(exitFailure).prints("same 1, differ 1", `- {"text":"one"}`, `+ {"text":"ONE"}`)
	say("diff", "notes@1", "notes@1").is(exitOK).prints(`"same":2`)
	say("diff", "notes@1", "notes@3").is(exitNotFound, "notes@3")
	say("show", "notes", "-o", "table").is(exitOK).prints("parked: 3 noted", "waits for the one before it", "notes@1")
	say("show", "notes").is(exitOK).prints(`"parkedEvents":[{`)
	say("skip", "notes", "x").is(exitUsage)
	say("skip", "notes", "1").is(exitNotFound)
	say("skip", "notes", "3").is(exitOK)
	if err := runner.CatchUp(t.Context(), notes(1)); err != nil {
		t.Fatal(err)
	}
	say("diff", "notes@1", "notes@2", "-o", "table").is(exitFailure).prints(`- {"text":"later"}`)
	say("rollback", "notes").is(exitNotFound, "no version to go back to")
	say("switch", "notes").is(exitUsage, "which version")
	say("switch", "notes@7").is(exitNotFound)
	say("switch", "notes@2", "-o", "table").is(exitOK).prints("notes@2 is serving")
	say("drop", "notes@2", "--yes").is(exitFailure, "serves", "annals projection switch")
	say("rollback", "notes").is(exitOK).prints(`"version":1`)
	say("drop", "notes@2").is(exitUsage, "--yes")
	say("drop", "notes@2", "--yes").is(exitOK)
	say("pause", "nothing").is(exitNotFound, "nothing")
	say("pause", "notes@x").is(exitUsage)
	say("ls", "-o", "yaml").is(exitUsage)
}

func TestViewsThatAreNotThereAreNotMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command(t, "", "projection", "ls", dir).is(exitNotFound, "views.db does not exist")
	command(t, "", "projection", "ls", filepath.Join(dir, "none")).is(exitNotFound, "does not exist")
	command(t, "", "projection", "ls", "postgres://nobody@127.0.0.1:1/none").is(exitUnavailable)
	command(t, "", "projection", "nonsense").is(exitUsage, "no command")
	command(t, "", "projection", "schema").is(exitOK).prints("CREATE TABLE projections", "CREATE TABLE notes")
	command(t, "", "projection").is(exitOK).prints("rollback", "pause", "Examples:")
}

func TestTheHelpOfProjectionCommandsIsForPeople(t *testing.T) {
	t.Parallel()
	for _, cmd := range newProjection().Commands() {
		help := command(t, "", "projection", cmd.Name(), "--help").is(exitOK).prints("Usage:\n", "Flags:\n")
		_, flags, _ := strings.Cut(help.out, "Flags:\n")
		for l := range strings.Lines(flags) {
			if !describedFlag.MatchString(l) {
				t.Errorf("%s: a flag is described as %q", cmd.Name(), l)
			}
		}
	}
}
