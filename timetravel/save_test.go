package timetravel_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/timetravel"
)

func TestASavedBranchIsTheSameBranch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		l := newLife(t, seed)
		l.edit()
		l.edits = append(l.edits, timetravel.Insert(annals.Position(len(l.past)), annals.Event{
			Type: "Odd", Data: []byte{0xff, 0}, Metadata: []byte(`{ "spaces": "<&>" }`), ContentType: "application/x-odd",
		}).At(l.now.Add(time.Minute)))
		b := branch(t, l.base, l.edits...)
		if _, err := b.Append(t.Context(), []annals.Event{l.event()}); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := b.Save(t.Context(), &file); err != nil {
			t.Fatal(err)
		}
		if _, err := l.base.Append(t.Context(), []annals.Event{l.event()}); err != nil { // no part of it
			t.Fatal(err)
		}
		again, err := timetravel.OpenBranch(t.Context(), l.base, bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatalf("seed %d: %v in %s", seed, err, file.String())
		}
		got, want := all(t, again), all(t, b)
		if got != want {
			t.Fatalf("seed %d: got %s\nwant %s\n%s", seed, got, want, file.String())
		}
	}
}

func TestASavedBranchKeepsIDsAndPositionsOfConsumers(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"})
	inserted := annals.Event{Type: "Added", Stream: "order-1", Tags: []string{"order:1", "product:tea"}, Data: []byte(`{"order":"1","product":"tea","count":1}`)}
	deep := annals.Event{Type: "Added", Data: append(bytes.Repeat([]byte("["), 9999), bytes.Repeat([]byte("]"), 9999)...)}
	b := branch(t, log.Store(), timetravel.Insert(1, inserted, deep))
	ctx := annals.WithMetadata(t.Context(), annals.Metadata{CausationID: at(t, b, 2).ID.String()})
	if _, err := log.On(b).Append(ctx, []any{Paid{"1"}}, annals.TrackingAt("mail", 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.System().Append(t.Context(), []annals.Event{{Type: "$timer", Stream: "$timers"}}); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := b.Save(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	again, err := timetravel.OpenBranch(t.Context(), log.Store(), &file)
	if err != nil {
		t.Fatal(err)
	}
	if why, err := timetravel.Why(t.Context(), log.On(again), Order{ID: "1"}, "status"); err != nil || len(why.Causes) != 1 {
		t.Errorf("got %+v, %v", why, err)
	}
	if p, err := again.Tracked(t.Context(), "mail"); err != nil || p != 7 {
		t.Errorf("got %d, %v", p, err)
	}
	x, err := b.Head(t.Context())
	y, againErr := again.Head(t.Context())
	if err != nil || againErr != nil || x != y {
		t.Errorf("one ends at %d, %v, the other at %d, %v", x, err, y, againErr)
	}
}

// all are the events of a store, but for ids of inserted events and times of appended ones.
func all(t *testing.T, s annals.Store) string {
	t.Helper()
	var b strings.Builder
	for e, err := range s.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, e.Position, e.Revision, e.Type, e.Stream, e.Tags, e.ContentType, string(e.Data), string(e.Metadata), e.Version)
	}
	return b.String()
}

func TestABranchIsNotOpenedOverAnotherStore(t *testing.T) {
	t.Parallel()
	log, other := newLog(t, past...), newLog(t, past...)
	var file bytes.Buffer
	if err := branch(t, log.Store()).Save(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]annals.Store{"another": other.Store(), "an empty one": newLog(t).Store()} {
		if _, err := timetravel.OpenBranch(t.Context(), s, bytes.NewReader(file.Bytes())); !errors.Is(err, timetravel.ErrForeignBranch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for problem, doc := range map[string]string{
		"format 0 is not known": `{}`,
		"unknown field":         `{"annalsBranch":1,"nonsense":1}`,
		"EOF":                   ``,
		"edit 0: want one of":   `{"annalsBranch":1,"head":"0","edits":[{"drop":["1"],"until":"0"}]}`,
		"position 1 is not":     `{"annalsBranch":1,"head":"0","edits":[{"drop":["1"]}]}`,
		"something follows":     `{"annalsBranch":1,"edits":[]} {}`,
		"brings none in":        `{"annalsBranch":1,"edits":[{"until":"0","events":[{"type":"A"}]}]}`,
		"want one of":           `{"annalsBranch":1,"edits":[{"until":"0","after":"0"}]}`,
		"event 0 has its data":  `{"annalsBranch":1,"edits":[{"insertAfter":"0","events":[{"type":"A","data":1,"bytes":"AA=="}]}]}`,
		"appended event 0":      `{"annalsBranch":1,"head":"0","edits":[],"appended":[{"type":""}]}`,
	} {
		if _, err := timetravel.OpenBranch(t.Context(), log.Store(), strings.NewReader(doc)); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: want %s, got %v", doc, problem, err)
		}
	}
}

// The test in written_test.go is what WriteTest writes: it is compiled, and run, with the others.
func TestABranchIsWrittenAsATest(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	what := log.On(branch(t, log.Store(), timetravel.Replace(3, raw(t, log, Added{"1", "tea `quoted`", 5})...), timetravel.Drop(7)))
	var got bytes.Buffer
	o := timetravel.GoTest{Package: "timetravel_test", Name: "TestWritten", Schema: "schema", Initial: `Order{ID: "1"}`}
	if err := timetravel.WriteTest(t.Context(), &got, what, Order{ID: "1"}, o); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("ANNALS_UPDATE") != "" {
		if err := os.WriteFile("written_test.go", got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("written_test.go")
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v: got %s", err, got.Bytes())
	}
	for _, o := range []timetravel.GoTest{
		{Package: "a-b", Name: "TestX", Schema: "s", Initial: "i"},
		{Package: "a", Name: "X", Schema: "s", Initial: "i"},
		{Package: "a", Name: "TestX"},
		{Package: "a", Name: "TestX", Schema: "s(", Initial: "i"},
		{Package: "a", Name: "Testx", Schema: "s", Initial: "i"},
		{Package: "a", Name: "TestMain", Schema: "s", Initial: "i"},
	} {
		if err := timetravel.WriteTest(t.Context(), &got, what, Order{ID: "1"}, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
