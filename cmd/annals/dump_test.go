package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/annalsdb/annals/store/engine/segment"
)

// kinds counts the lines of each kind, and lists those with a problem.
func kinds(objects []map[string]any) (count map[string]int, problems []map[string]any) {
	count = map[string]int{}
	for _, o := range objects {
		count[fmt.Sprint(o["kind"])]++
		if o["problem"] != nil || o["kind"] == "unreadable" {
			problems = append(problems, o)
		}
	}
	return count, problems
}

func TestDumpShowsEverythingOfAStore(t *testing.T) {
	t.Parallel()
	dir := stored(t, 60, 2000)
	before := files(t, dir)
	objects := command(t, "", "dump", dir).is(exitOK).objects()
	count, problems := kinds(objects)
	if count["frame"] != 60 || count["record"] != 60 || count["segment"] < 2 || count["trailer"] < 1 || count["section"] != 3*count["trailer"] ||
		count["manifest"] < 1 || len(problems) > 0 {
		t.Errorf("there are %v, with problems %v", count, problems)
	}
	position := 0
	for _, o := range objects {
		if o["kind"] == "record" {
			position++
			if o["position"] != strconv.Itoa(position) {
				t.Errorf("record %d has position %v", position, o["position"])
			}
		}
	}
	if fmt.Sprint(files(t, dir)) != fmt.Sprint(before) {
		t.Error("dump changed the directory")
	}
	count, _ = kinds(command(t, "", "dump", dir, "--depth", "frames").is(exitOK).objects())
	if count["frame"] != 60 || count["record"] != 0 {
		t.Errorf("of frames there are %v", count)
	}
	count, _ = kinds(command(t, "", "dump", dir, "--depth", "segments").is(exitOK).objects())
	if count["frame"] != 0 || count["segment"] < 2 {
		t.Errorf("of segments there are %v", count)
	}
	count, _ = kinds(command(t, "", "dump", dir, "--file", "00000001-001.seg").is(exitOK).objects())
	if count["segment"] != 1 || count["manifest"] != 0 || count["frame"] == 0 {
		t.Errorf("of one file there are %v", count)
	}
	r := command(t, "", "dump", dir, "-o", "table").is(exitOK).prints("closed after frame 60 and position 60", "record, ", "sealed", "trailer, last frame")
	if strings.Contains(r.out, "xxx") {
		t.Error("what events hold is printed")
	}
}

func TestDumpGoesOnBehindDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		find    string // the damage is there
		offset  int
		frames  int
		records int
		problem string
	}{
		"in the data of a record":   {`{"n":5,`, 0, 10, 9, "checksum"},
		"in an envelope":            {segment.EnvelopeMagic, 20, 9, 9, "checksum"},
		"in the header of a frame":  {"ANNLFRM1", 70, 9, 9, "checksum"},
		"in the name of a envelope": {segment.EnvelopeMagic, 0, 9, 9, "no envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := stored(t, 10, 10)
			change(t, filepath.Join(dir, "00000001-001.seg"), func(b []byte) []byte {
				b[bytes.Index(b, []byte(c.find))+c.offset] ^= 1
				return b
			})
			count, problems := kinds(command(t, "", "dump", dir).is(exitOK).objects())
			good := 0
			for _, o := range problems {
				if strings.Contains(fmt.Sprint(o["problem"], o["reason"]), c.problem) {
					good++
				}
			}
			if count["frame"] != c.frames && count["frame"]+count["unreadable"] != 10 || count["record"] < c.records || good == 0 {
				t.Errorf("there are %v, with problems %v", count, problems)
			}
		})
	}
}

// The golden files are those of the store: if its bytes change, its own test fails first, and then this one.
func TestTheLayoutsAreThoseOfTheStore(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("..", "..", "store", "engine", "segment", "testdata")
	names, err := filepath.Glob(filepath.Join(golden, "*.hex"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	dir := t.TempDir()
	for _, name := range names {
		b := unsqueezed(t, name)
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(name), ".hex")), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	count, problems := kinds(command(t, "", "dump", dir).is(exitOK).objects())
	if count["manifest"] == 0 || count["segment"] == 0 || count["frame"] == 0 || count["record"] == 0 || count["trailer"] == 0 || len(problems) > 0 {
		t.Errorf("there are %v, with problems %v", count, problems)
	}
}

// unsqueezed reads a hex dump in which repeated lines are left out.
func unsqueezed(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b, last []byte
	for l := range strings.Lines(string(text)) {
		if len(l) < 10 {
			continue // a star: the next offset says how many
		}
		offset, err := strconv.ParseInt(l[:8], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		for int64(len(b)) < offset {
			b = append(b, last...)
		}
		last, err = hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(l[10:min(58, len(l))]), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, last...)
	}
	return b
}
