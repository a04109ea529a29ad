package timetravel

import (
	"bytes"
	"context"
	"fmt"
	"go/format"
	"go/token"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// GoTest says how the test that [WriteTest] writes finds what it is about. All fields but Imports are required.
type GoTest struct {
	// Package is the name of the test's package, such as "orders_test".
	Package string
	// Name of the test function, such as "TestOrder42IsNotPaidTwice".
	Name string
	// Imports are paths of packages that Schema and Initial need.
	Imports []string
	// Schema and Initial are Go expressions: of the schema, such as "orders.Schema", and of the state before any event, such as
	// `orders.Order{ID: "42"}`.
	Schema, Initial string
}

// WriteTest writes a Go test that appends the events of a state, as a log has them, to a store in memory, and wants the state that they
// lead to today, as JSON. Of a branch it makes a regression test of something that has never happened. The events are in it as they
// are stored: look whether they are personal before it is kept.
func WriteTest[S decider.State[S, E], E any](ctx context.Context, w io.Writer, log *annals.Log[E], initial S, o GoTest) error {
	if !token.IsIdentifier(o.Package) || !token.IsIdentifier(o.Name) || !isTestName(o.Name) || o.Schema == "" || o.Initial == "" {
		return &annals.InvalidError{What: "Go test", Problem: "Package and Name must be names, the second one that of a test; Schema and Initial must be expressions"}
	}
	l, err := decider.Load(ctx, log, initial)
	if err != nil {
		return err
	}
	want, err := encode(l.State)
	if err != nil {
		return err
	}
	bound, err := log.Schema().Bind(l.Boundary)
	if err != nil {
		return err
	}
	var events bytes.Buffer
	for e, err := range log.Store().Read(ctx, bound, annals.AsOf(l.Position)) {
		if err != nil {
			return fmt.Errorf("timetravel: write test: %w", err)
		}
		writeEvent(&events, e.Event)
	}
	imports := append([]string{
		"encoding/json", "testing",
		"github.com/annalsdb/annals", "github.com/annalsdb/annals/decider", "github.com/annalsdb/annals/store/memory",
	}, o.Imports...)
	slices.SortFunc(imports, func(a, b string) int { // those of the standard library first
		if x, y := strings.Contains(a, "."), strings.Contains(b, "."); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	var paths strings.Builder
	for i, p := range slices.Compact(imports) {
		if strings.Contains(p, ".") && i > 0 && !strings.Contains(imports[i-1], ".") {
			paths.WriteString("\n")
		}
		fmt.Fprintf(&paths, "\t%q\n", p)
	}
	source, err := format.Source(fmt.Appendf(nil, goTest, o.Package, paths.String(), o.Name, events.String(), o.Schema, o.Initial, literal(want)))
	if err != nil {
		return fmt.Errorf("timetravel: write test: are Schema and Initial Go expressions? %w", err)
	}
	_, err = w.Write(source)
	return err
}

const goTest = `package %s

import (
%s)

func %s(t *testing.T) {
	events := []annals.Event{
%s	}
	log := annals.NewLog(memory.New(), %s)
	for _, e := range events {
		if _, err := log.Store().Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := decider.Load(t.Context(), log, %s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(loaded.State)
	if err != nil {
		t.Fatal(err)
	}
	if want := %s; string(got) != want {
		t.Errorf("got  %%s\nwant %%s", got, want)
	}
}
`

// isTestName reports whether go test runs a function of this name as a test.
func isTestName(name string) bool {
	rest, ok := strings.CutPrefix(name, "Test")
	first, _ := utf8.DecodeRuneInString(rest)
	return ok && name != "TestMain" && !unicode.IsLower(first)
}

// writeEvent writes one element of the slice of events. Ids and metadata play no part in a state.
func writeEvent(b *bytes.Buffer, e annals.Event) {
	fmt.Fprintf(b, "\t\t{Type: %q", e.Type)
	if e.Version > 1 {
		fmt.Fprintf(b, ", Version: %d", e.Version)
	}
	if e.Stream != "" {
		fmt.Fprintf(b, ", Stream: %q", e.Stream)
	}
	if len(e.Tags) > 0 {
		fmt.Fprintf(b, ", Tags: %#v", e.Tags)
	}
	if e.ContentType != "" {
		fmt.Fprintf(b, ", ContentType: %q", e.ContentType)
	}
	fmt.Fprintf(b, ", Data: []byte(%s)},\n", literal(e.Data))
}

// literal is a Go string, in back quotes if that can be.
func literal(text []byte) string {
	if s := string(text); strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(string(text))
}
