package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// positions are those of the printed events.
func (r *result) positions() string {
	r.t.Helper()
	var all []string
	for _, o := range r.objects() {
		p, ok := o["position"].(string)
		if !ok {
			r.t.Errorf("the position %v is no string", o["position"])
		}
		all = append(all, p)
	}
	return strings.Join(all, " ")
}

func TestReadPrintsWhatTheFlagsNarrowTo(t *testing.T) {
	t.Parallel()
	dir := stored(t, 9, 10) // thing-0, thing-1, thing-2, thing-0, …
	for flags, want := range map[string]string{
		"":                                          "1 2 3 4 5 6 7 8 9",
		"--stream thing-1":                          "2 5 8",
		"--stream thing-1 --revision 1":             "2 5",
		"--stream thing-1 --from-revision 1":        "5 8",
		"--category thing --limit 2":                "1 2",
		"--tag n:3":                                 "4",
		"--tag n:3 --tag n:4":                       "",
		"--type Happened --after 7":                 "8 9",
		"--type Other":                              "",
		"--type Other --type Happened --as-of 2":    "1 2",
		"--backwards --limit 2":                     "9 8",
		"--at 1999-01-01T00:00:00Z":                 "",
		"--system --after 8":                        "9",
		"--stream thing-1 --tag n:4 --after 1":      "5",
		"--stream thing-1 --from-revision 7":        "",
		"--id 01890a5d-ac96-774b-bcce-b302099a8057": "",
	} {
		if got := command(t, "", append([]string{"read", dir}, strings.Fields(flags)...)...).is(exitOK).positions(); got != want {
			t.Errorf("%s: got %s, want %s", flags, got, want)
		}
	}
	command(t, "", "read", dir, "--after", "10").is(exitNotFound, "position 10 is ahead of the head, 9")
	command(t, "", "read", dir, "--stream", "thing-1", "--revision", "3").is(exitNotFound, "the stream is at 2")
}

func TestReadIsForPeopleOrForPrograms(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	nasty := "\x1b[2J\u009b1A" + strings.Repeat("é", 200)
	if _, err := s.Append(t.Context(), []annals.Event{
		{Type: "A", Stream: "a-1", Data: []byte(`{"a": "<b>", "n": 12345678901234567890}`), Metadata: []byte("{}")},
		{Type: "B", Data: []byte{0, 255}, ContentType: "application/octet-stream", Metadata: []byte("no JSON")},
		{Type: "C", Data: []byte(nasty), ContentType: "text/plain"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	table := command(t, "", "read", dir, "-o", "table").is(exitOK).prints("POSITION", "a-1", "(2 bytes)", "…")
	if strings.ContainsAny(table.out, "\x1b\u009b") {
		t.Errorf("the table has what moves a cursor: %q", table.out)
	}
	objects := command(t, "", "read", dir).is(exitOK).
		prints(`"data":{"a":"<b>","n":12345678901234567890}`, `"dataBase64":"AP8="`, `"metadataBase64":"bm8gSlNPTg=="`, `"metadata":{}`).objects()
	if len(objects) != 3 || objects[0]["revision"] != 0.0 || objects[1]["revision"] != nil || objects[2]["dataBase64"] == nil {
		t.Errorf("got %v", objects)
	}
}

func TestReadOfADamagedStorePrintsWhatPrecedes(t *testing.T) {
	t.Parallel()
	dir := stored(t, 9, 10)
	change(t, filepath.Join(dir, "00000001-001.seg"), func(b []byte) []byte {
		b[bytes.Index(b, []byte(`{"n":5,`))] ^= 1
		return b
	})
	for _, format := range []string{"table", "ndjson"} {
		r := command(t, "", "read", dir, "-o", format).is(exitDamaged, "00000001-001.seg at offset", "(positions 5 to 5)", "annals verify DIR")
		if n := strings.Count(r.out, "Happened"); n != 4 {
			t.Errorf("%d events were printed", n)
		}
	}
	command(t, "", "read", dir, "--after", "5").is(exitOK)
	command(t, "", "append", dir, "s", "A", "{}").is(exitDamaged, "read-only", "offset")
}

func TestManyRowsAreOneTable(t *testing.T) {
	t.Parallel()
	dir := stored(t, 2*alignedRows+1, 0)
	r := command(t, "", "read", dir, "-o", "table").is(exitOK)
	if n := strings.Count(r.out, "\n"); n != 2*alignedRows+2 {
		t.Errorf("the table has %d lines", n)
	}
}

// broken is an output that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, fmt.Errorf("nobody reads") }

func TestAnOutputThatBreaksIsToldAndEndsTheWork(t *testing.T) {
	t.Parallel()
	dir := stored(t, 100, 200)
	for _, args := range [][]string{{"read", dir}, {"read", dir, "-o", "table"}, {"verify", dir}, {"dump", dir}, {"append", dir, "s", "A", "{}"}} {
		var talk bytes.Buffer
		if code := run(t.Context(), args, nil, broken{}, &talk); code != exitFailure || !strings.Contains(talk.String(), "nobody reads") {
			t.Errorf("%v: exit code %d, and it said %q", args, code, talk.String())
		}
	}
}
