package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals/store/disk"
)

func TestAppendOfOneEvent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	command(t, "", "append", dir, "order-1", "A", "{}").is(exitNotFound, "does not exist", "--create makes a new store")
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	first := command(t, "", "append", dir, "order-1", "A", `{"a":1}`, "--create", "--expect", "none", "--id", id, "--tag", "b:1", "--tag", "a:1", "--metadata", `{"actor":"me"}`, "--schema-version", "3").
		is(exitOK).objects()[0]
	if first["first"] != "1" || first["last"] != "1" || first["revision"] != 0.0 || fmt.Sprint(first["ids"]) != "["+id+"]" {
		t.Errorf("got %v", first)
	}
	command(t, "", "append", dir, "order-1", "A", `{"a":1}`, "--expect", "none", "--id", id, "--tag", "a:1", "--tag", "b:1", "--schema-version", "3").
		is(exitOK).prints(`"duplicate":true`)
	command(t, "", "append", dir, "order-1", "A", `{"a":2}`, "--id", id).is(exitConflict, "reused")
	command(t, "", "append", dir, "order-1", "B", `{}`, "--expect", "none").is(exitConflict, "wanted no stream order-1: it is at revision 0")
	command(t, "", "append", dir, "order-1", "B", `{}`, "--expect", "7").is(exitConflict, "order-1 at revision 7: it is at revision 0")
	command(t, "", "append", dir, "order-2", "B", `{}`, "--expect", "exists").is(exitConflict, "stream order-2 exists: it does not")
	command(t, "<html>", "append", dir, "", "B", "-", "--content-type", "text/html", "-o", "table").is(exitOK).prints("position 2, id ")
	command(t, "", "read", dir).is(exitOK).prints(`"version":3,"tags":["a:1","b:1"],"data":{"a":1},"metadata":{"actor":"me"}`, `"contentType":"text/html","dataBase64"`)
}

func TestAppendOfLines(t *testing.T) {
	t.Parallel()
	dir := stored(t, 3, 10)
	in := strings.Join([]string{
		`{"type":"A","stream":"a-1","data":{"x": 1},"conditions":[{"stream":"a-1","exists":false}]}`,
		``,
		`{"events":[{"type":"B","stream":"a-1"},{"type":"C","tags":["c:1"]}],"conditions":[{"stream":"a-1","revision":0},{"noneSince":"0","query":[{"tags":["c:1"]},{"types":["D"]}]}]}`,
		`{"conditions":[{"stream":"a-1","exists":true}]}`,
		`{"type":"E","dataBase64":"AP8=","contentType":"application/octet-stream"}`,
	}, "\n") // the last line has no end
	answers := command(t, in, "append", dir).is(exitOK).objects()
	if len(answers) != 4 {
		t.Fatalf("got %v", answers)
	}
	for i, want := range []map[string]any{
		{"first": "4", "last": "4", "head": "4", "revision": 0.0},
		{"first": "5", "last": "6", "head": "6", "revision": 1.0},
		{"first": nil, "last": nil, "head": "6", "revision": nil},
		{"first": "7", "last": "7", "head": "7", "revision": nil},
	} {
		for name, value := range want {
			if answers[i][name] != value {
				t.Errorf("answer %d: %s is %v, want %v", i, name, answers[i][name], value)
			}
		}
	}
	command(t, `{"type":"F","conditions":[{"noneSince":"5","query":[{"tags":["c:1"],"types":["B","C"]}]}]}`, "append", dir).
		is(exitConflict, "line 1 of the input: conflict", "first at 6")
	command(t, `{"type":"F","conditions":[{"noneSince":"99","query":[{}]}]}`, "append", dir).is(exitNotFound, "line 1", "ahead of the head, 7")
}

func TestWhatReadPrintsCanBeAppendedElsewhere(t *testing.T) {
	t.Parallel()
	from, to := stored(t, 40, 10), filepath.Join(t.TempDir(), "copy")
	all := command(t, "", "read", from).is(exitOK)
	command(t, all.out, "append", "--create", to).is(exitOK)
	copied := command(t, "", "read", to).is(exitOK)
	a, b := all.objects(), copied.objects()
	if len(a) != len(b) {
		t.Fatalf("%d events were copied to %d", len(a), len(b))
	}
	for i := range a {
		delete(a[i], "time")
		delete(b[i], "time")
		if x, y := a[i]["id"], b[i]["id"]; x != y {
			t.Errorf("event %d: id %v became %v", i, x, y)
		}
	}
	again := command(t, all.out, "append", to).is(exitOK)
	if n := strings.Count(again.out, `"duplicate":true`); n != len(a) {
		t.Errorf("appended again: %d of %d are duplicates", n, len(a))
	}
}

func TestInputThatIsNoEventIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, said string }{
		"garbage":               {"rubbish", "it is not JSON, at byte 1"},
		"cut off":               {`{"type":"A","data":{"a"`, "it is not JSON: it ends too early"},
		"two objects":           {`{"type":"A"}{"type":"B"}`, "something follows the JSON object, at byte 13"},
		"an array":              {`[{"type":"A"}]`, "it is a JSON array, and not an object"},
		"null":                  {`null`, "neither an event nor conditions"},
		"nothing in it":         {`{}`, "neither an event nor conditions"},
		"no type":               {`{"stream":"a-1"}`, "the event has no type"},
		"no type in a list":     {`{"events":[{"type":"A"},{}]}`, "event 2 of 2: the event has no type"},
		"unknown field":         {`{"typ":"A"}`, `unknown field "typ"`},
		"wrong type of a field": {`{"type":5}`, "type cannot be a JSON number"},
		"position as a number":  {`{"type":"A","conditions":[{"noneSince":5,"query":[{}]}]}`, `a position is a string, such as "17"`},
		"a bad id":              {`{"type":"A","id":"x"}`, `event id "x"`},
		"both kinds":            {`{"type":"A","events":[{"type":"B"}]}`, "put them all into events"},
		"data twice":            {`{"type":"A","data":1,"dataBase64":"AA=="}`, "both data and dataBase64"},
		"metadata twice":        {`{"type":"A","metadata":1,"metadataBase64":"AA=="}`, "both metadata and metadataBase64"},
		"data of another kind":  {`{"type":"A","data":1,"contentType":"text/plain"}`, "as dataBase64"},
		"no UTF-8":              {"{\"type\":\"\xff\"}", "not UTF-8"},
		"an empty condition":    {`{"type":"A","conditions":[{}]}`, "a condition has a stream, or noneSince and a query"},
		"half a condition":      {`{"type":"A","conditions":[{"stream":"a"}]}`, "either revision or exists"},
		"a query alone":         {`{"type":"A","conditions":[{"query":[{}]}]}`, "has noneSince"},
		"a mixed condition":     {`{"type":"A","conditions":[{"noneSince":"0","stream":"a"}]}`, "names streams in its query"},
		"a bad category":        {`{"type":"A","conditions":[{"noneSince":"0","query":[{"category":"a-b"}]}]}`, "which ends a category"},
		"an empty query":        {`{"type":"A","conditions":[{"noneSince":"0","query":[]}]}`, "zero Query"},
		"a forbidden name":      {`{"type":"$A"}`, "are the system's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := stored(t, 1, 10)
			r := command(t, `{"type":"Before"}`+"\n\n"+c.line+"\n"+`{"type":"After"}`+"\n", "append", dir).
				is(exitUsage, "error: line 3 of the input: ", c.said, "the lines before it are stored")
			if len(r.objects()) != 1 {
				t.Errorf("it printed %s", r.out)
			}
			if got := command(t, "", "read", dir).is(exitOK).positions(); got != "1 2" {
				t.Errorf("the store has %s, want what was before the line", got)
			}
		})
	}
}

func TestAppendRefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := stored(t, 1, 10)
	s, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	command(t, "", "append", dir, "s", "A", "{}").is(exitUnavailable, dir+" is in use by process ", "stop that process first")
	command(t, "", "read", dir).is(exitOK)
}
