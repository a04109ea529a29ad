package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/engine/segment"
)

func TestVerifySaysHowMuchItChecked(t *testing.T) {
	t.Parallel()
	dir := stored(t, 60, 2000)
	before := files(t, dir)
	got := command(t, "", "verify", dir).is(exitOK).objects()
	if len(got) != 1 || got[0]["kind"] != "summary" || got[0]["frames"] != 60.0 || got[0]["records"] != 60.0 || got[0]["last"] != "60" ||
		got[0]["clean"] != true || got[0]["damaged"] != 0.0 || got[0]["segments"] != 3.0 {
		t.Errorf("got %v", got)
	}
	command(t, "", "verify", dir, "-o", "table").is(exitOK).prints("60 frames and 60 records verify; the log has positions 1 to 60\nno damage\n")
	if fmt.Sprint(files(t, dir)) != fmt.Sprint(before) {
		t.Error("verify changed the directory")
	}
	empty := stored(t, 0, 0)
	command(t, "", "verify", empty, "-o", "table").is(exitOK).prints("no position", "no damage")
}

func TestVerifyLocatesAFlippedByte(t *testing.T) {
	t.Parallel()
	for _, victim := range []int{2, 31, 59} { // in a sealed segment, in the middle, in the last one
		dir := stored(t, 60, 2000)
		var file string
		var at int
		for path, b := range files(t, dir) {
			if i := strings.Index(b, fmt.Sprintf(`{"n":%d,`, victim)); i >= 0 {
				file, at = path, i
			}
		}
		change(t, file, func(b []byte) []byte { b[at] ^= 0x20; return b })
		before := files(t, dir)
		r := command(t, "", "verify", dir).is(exitDamaged)
		var found bool
		for _, o := range r.objects() {
			offset, _ := o["offset"].(float64)
			found = found || o["kind"] == "damage" && o["file"] == filepath.Base(file) && o["first"] == fmt.Sprint(victim) && o["last"] == fmt.Sprint(victim) &&
				int(offset) <= at && int(offset) > at-2500
		}
		if !found || r.talk != "" {
			t.Errorf("position %d, byte %d of %s: got %s%s", victim, at, file, r.out, r.talk)
		}
		command(t, "", "verify", dir, "-o", "table").is(exitDamaged).
			prints("DAMAGED  "+filepath.Base(file)+" at offset", fmt.Sprintf(", position %d:", victim), "59 frames and 59 records verify", "positions 1 to 60")
		if fmt.Sprint(files(t, dir)) != fmt.Sprint(before) {
			t.Error("verify changed the directory")
		}
	}
}

// A byte in what a store consists of: everything but the lock, the reserve, manifests that were replaced, and the header of
// a segment that was prepared and holds nothing yet, which is replaced.
func TestVerifyNoticesAFlippedByteAnywhere(t *testing.T) {
	t.Parallel()
	dir := stored(t, 45, 2000)
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, manifests[len(manifests)-1]) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first := 5
		if segment.IsSegment(filepath.Base(path)) && !bytes.Contains(b, []byte(segment.EnvelopeMagic)) {
			first += segment.HeaderBytes
		}
		for at := first; at < len(b); at += 1 + len(b)/23 {
			spoilt := bytes.Clone(b)
			spoilt[at] ^= 0x10
			if err := os.WriteFile(path, spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := command(t, "", "verify", dir); r.code != exitDamaged {
				t.Errorf("byte %d of %d in %s: exit code %d, %s%s", at, len(b), filepath.Base(path), r.code, r.out, r.talk)
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", "verify", dir).is(exitOK)
}

func TestVerifyOfFilesThatAreMissingOrCutOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file  string
		spoil func(path string) error
		said  string
	}{
		"a segment is missing":      {"00000001-001.seg", os.Remove, "missing"},
		"the last one is missing":   {"last", os.Remove, "missing"},
		"a segment is cut off":      {"00000001-001.seg", func(path string) error { return os.Truncate(path, 20_000) }, "bytes"},
		"the last one is cut off":   {"last", func(path string) error { return os.Truncate(path, 20_000) }, "bytes"},
		"nothing of a file is left": {"00000001-001.seg", func(path string) error { return os.Truncate(path, 0) }, "00000001-001.seg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := stored(t, 60, 2000)
			path := filepath.Join(dir, c.file)
			if c.file == "last" {
				paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
				if err != nil {
					t.Fatal(err)
				}
				path = paths[len(paths)-1]
				for _, p := range paths { // the next one is after the last that has events
					if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(`{"n":60,`)) {
						path = p
					}
				}
			}
			if err := c.spoil(path); err != nil {
				t.Fatal(err)
			}
			command(t, "", "verify", dir).is(exitDamaged).prints(`"kind":"damage"`, filepath.Base(path), c.said)
			command(t, "", "dump", dir).is(exitOK)
		})
	}
}

func TestVerifyOfADirectoryOfWhichNothingVerifies(t *testing.T) {
	t.Parallel()
	dir := stored(t, 3, 10)
	for path := range files(t, dir) {
		change(t, path, func(b []byte) []byte { return bytes.Repeat([]byte{7}, len(b)) })
	}
	command(t, "", "verify", dir).is(exitDamaged).prints("neither a manifest nor the header of a segment verifies", `"damaged":1`)
	command(t, "", "read", dir).is(exitDamaged, "neither a manifest")
	command(t, "", "dump", dir).is(exitOK).prints(`"problem":"does not verify: no manifest"`, `"problem":"does not verify: no segment header"`)
}

func TestATornTailIsNotDamage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"first", "second"} {
		if _, err := s.Append(t.Context(), []annals.Event{{Type: "A", Data: []byte(data)}}); err != nil {
			t.Fatal(err)
		}
	}
	killed := t.TempDir() // what a kill leaves is what there is now
	if err := os.CopyFS(filepath.Join(killed, "store"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(killed, "store")
	change(t, filepath.Join(dir, "00000001-001.seg"), func(b []byte) []byte {
		clear(b[bytes.Index(b, []byte("second")):])
		return b
	})
	before := files(t, dir)
	command(t, "", "verify", dir).is(exitOK).prints(`"frames":1`, `"last":"1"`, `"clean":false`)
	command(t, "", "dump", dir).is(exitOK).prints(`"kind":"later"`, "the log ends with frame 1; frame 2 is not written to its end")
	if got := command(t, "", "read", dir).is(exitOK).positions(); got != "1" {
		t.Errorf("read %s", got)
	}
	if fmt.Sprint(files(t, dir)) != fmt.Sprint(before) {
		t.Error("the directory was changed")
	}
	command(t, "", "append", dir, "", "B", "{}").is(exitOK).prints(`"first":"2"`)
	command(t, "", "verify", dir).is(exitOK).prints(`"frames":2`, `"clean":true`)
}

func TestAStoreThatWasNotClosedIsNotDamaged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "A"}, {Type: "B"}}); err != nil {
		t.Fatal(err)
	}
	command(t, "", "verify", dir, "-o", "table").is(exitOK).prints("1 frames and 2 records", "it was not closed", "no damage")
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "C"}}); err != nil {
		t.Fatal(err)
	}
	command(t, "", "verify", dir).is(exitOK).prints(`"records":3`)
	command(t, "", "dump", dir).is(exitOK).prints(`"kind":"zeros"`, `"position":"3"`)
}

func TestVerifySaysThatTheIndexIsNotThatOfTheLogAndThatNothingIsLost(t *testing.T) {
	t.Parallel()
	dir := stored(t, 45, 100)
	runs, err := filepath.Glob(filepath.Join(dir, "index", "*.run"))
	if err != nil || len(runs) != 1 {
		t.Fatal(runs, err)
	}
	change(t, runs[0], func(b []byte) []byte { b[100] ^= 1; return b })
	command(t, "", "verify", dir, "-o", "table").is(exitOK).
		prints("INDEX    ", filepath.Base(runs[0]), "nothing is lost, it is made anew from the log", "45 records verify", "no damage\n")
	got := command(t, "", "verify", dir).is(exitOK).objects()
	if len(got) != 2 || got[0]["kind"] != "index" || got[1]["damaged"] != 0.0 {
		t.Errorf("got %v", got)
	}
}
