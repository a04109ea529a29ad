package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/workload"
)

func TestAllStoresAreMeasuredInOneRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, talk bytes.Buffer
	args := []string{"-dir", dir, "-duration", "2ms", "-runs", "1", "-events", "1000", "-writers", "1,2", "-o", "json", "W1", "W2", "W3", "W4", "W5", "W7", "W8"}
	if code := run(t.Context(), args, &out, &talk); code != exitOK {
		t.Fatalf("exit code %d: %s", code, talk.String())
	}
	var r workload.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, m := range r.Measurements {
		measured[m.Workload+" "+m.Target] = true
	}
	for workloads, stores := range map[string]string{
		"W1 W2": "floor annals raft-wal pebble sqlite bbolt", "W3 W4 W5 W7": "annals pebble sqlite bbolt", "W8": "annals sqlite",
	} {
		for w := range strings.FieldsSeq(workloads) {
			for s := range strings.FieldsSeq(stores) {
				if !measured[w+" "+s] {
					t.Errorf("%s was not measured in %s", s, w)
				}
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left in the directory, %v", left, err)
	}
}

func TestACommandLineThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for said, args := range map[string][]string{
		"there are W1": {"W99"}, `-o "xml"`: {"-o", "xml"}, "no list of numbers": {"-writers", "1,many"}, `no store "oracle"`: {"-stores", "oracle"},
		"-1 runs": {"-runs", "-1", "W1"}, "not defined": {"-nonsense"},
	} {
		var out, talk bytes.Buffer
		if code := run(t.Context(), append([]string{"-dir", t.TempDir()}, args...), &out, &talk); code != exitUsage || !strings.Contains(talk.String(), said) {
			t.Errorf("%v is answered with code %d and %q, want %q", args, code, talk.String(), said)
		}
	}
}
