package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/workload"
)

func TestBenchRefusesWhatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	precious := filepath.Join(full, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		said string
		args []string
	}{
		{`unknown workload "W99"`, []string{"W99"}},
		{"the directory is not empty", []string{"W1", "--dir", full}},
		{"--dir is empty", []string{"W1", "--dir", ""}},
		{`--output "ndjson"`, []string{"W1", "-o", "ndjson"}},
		{`payload "xml"`, []string{"W1", "--payload", "xml"}},
		{"--runs 0", []string{"W1", "--runs", "0"}},
		{"--duration 0s", []string{"W1", "--duration", "0"}},
		{"--events 0", []string{"W1", "--events", "0"}},
		{"-3 runs", []string{"W1", "--runs", "-3"}},
		{"0 writers", []string{"W1", "--writers", "0"}},
		{"invalid argument", []string{"W1", "--duration", "long"}},
	} {
		args := append([]string{"bench"}, c.args...)
		if !strings.Contains(strings.Join(c.args, " "), "--dir") {
			args = append(args, "--dir", t.TempDir())
		}
		command(t, "", args...).is(exitUsage, c.said)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	command(t, "", "bench", "W1", "--dir", filepath.Join(full, "missing")).is(exitFailure, "missing")
}

func TestBenchPrintsFiguresBesideTheFloorAndCleansUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"bench", "W1", "w3", "--duration", "2ms", "--runs", "1", "--writers", "1,2", "--dir", dir}
	var r workload.Report
	if err := json.Unmarshal([]byte(command(t, "", args...).is(exitOK).out), &r); err != nil {
		t.Fatal(err)
	}
	ratios := 0
	for _, m := range r.Measurements {
		if m.Target == "annals" && m.ToFloor > 0 {
			ratios++
		}
	}
	if ratios != 3 {
		t.Errorf("%d cases have a ratio to the floor, want W1 of 1 and 2 writers, and W3", ratios)
	}
	if r.Machine.Cores == 0 || r.Machine.Go == "" {
		t.Errorf("the machine is described as %+v", r.Machine)
	}
	command(t, "", append(args, "-o", "table")...).is(exitOK).prints("÷ floor", "| 2 writers", "## W3")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left in the directory, %v", left, err)
	}
}
