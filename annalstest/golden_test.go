package annalstest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
)

// Ages of an event. Each stands for what the type was when somebody ran the test.
type (
	priced1 struct {
		Product string    `json:"product" annals:"product"`
		Cents   int       `json:"cents"`
		Parts   []part    `json:"parts"`
		At      time.Time `json:"at"`
		Next    *chain    `json:"next,omitempty"`
	}
	part     struct{ Name string }
	chain    struct{ Next *chain }
	pricedWf struct { // cents may have a fraction
		Product string    `json:"product" annals:"product"`
		Cents   float64   `json:"cents"`
		Parts   []part    `json:"parts"`
		At      time.Time `json:"at"`
		Next    *chain    `json:"next,omitempty"`
	}
	pricedAdded struct {
		priced1
		Currency string `json:"currency"`
	}
	pricedBroken struct {
		Article string `json:"article" annals:"product"`
		Cents   string `json:"cents"`
		Parts   []part `json:"parts"`
		At      string `json:"at"`
		Next    *chain `json:"next,omitempty"`
	}
)

func priced[T any](opts ...annals.SchemaOption) *annals.Schema[any] {
	var zero T
	return annals.NewSchema([]any{zero}, append(opts, annals.Named[T]("priced/net"))...)
}

// golden compares, and writes if it is told to, and returns what was complained of.
func golden(t *testing.T, dir string, schema *annals.Schema[any], update bool) string {
	t.Helper()
	if update {
		t.Setenv("ANNALS_UPDATE", "1")
		defer t.Setenv("ANNALS_UPDATE", "")
	}
	return record(t, func(r *recorder) { annalstest.Golden(r, schema, dir) })
}

func wantAll(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %s\nwant it to say %q", got, w)
		}
	}
	if len(want) == 0 && got != "" {
		t.Errorf("got %s", got)
	}
}

func TestGoldenFilesNoticeChangesThatBreakOldData(t *testing.T) { //nolint:paralleltest // it sets a variable of the environment
	dir := filepath.Join(t.TempDir(), "schema")
	first := priced[priced1]()
	wantAll(t, golden(t, dir, first, false), `priced/net version 1 has no file in `+dir, "ANNALS_UPDATE=1")
	wantAll(t, golden(t, dir, first, true))
	wantAll(t, golden(t, dir, first, false))

	broken := priced[pricedBroken]()
	for _, update := range []bool{false, true} { // an update writes nothing over what breaks old data
		wantAll(t, golden(t, dir, broken, update),
			`priced/net version 1: field "at" was a time.Time and is a string, field "cents" was an integer and is a string, field "product" is gone`,
			"annals.Upcast(1, func(old pricedBroken1) pricedBroken { … })", "delete "+filepath.Join(dir, "priced%2Fnet.v1.json"))
	}
	wantAll(t, golden(t, dir, first, false))

	lazy := annals.Upcast(1, func(priced1) pricedBroken { return pricedBroken{} })
	good := annals.Upcast(1, func(o priced1) pricedBroken { return pricedBroken{Article: o.Product} })
	wantAll(t, golden(t, dir, priced[pricedBroken](lazy), true), "which is no event", "an upcaster has to fill the field")
	wantAll(t, golden(t, dir, priced[pricedBroken](good), false))
	wantAll(t, golden(t, dir, first, false), "v2.json: the example cannot be read any more", "the newest version that this program knows is 1")
}

func TestGoldenFilesTellOfNewFields(t *testing.T) { //nolint:paralleltest // it sets a variable of the environment
	dir := t.TempDir()
	wantAll(t, golden(t, dir, priced[priced1](), true))
	added := priced[pricedAdded]()
	wantAll(t, golden(t, dir, added, false), `priced/net version 1: new field "currency": stored events have no such field`, "annals.Upcast(1, …)")
	wantAll(t, golden(t, dir, added, true))
	wantAll(t, golden(t, dir, added, false))
	wantAll(t, golden(t, dir, priced[priced1](), false), `field "currency" is gone`)

	dir = t.TempDir()
	wantAll(t, golden(t, dir, priced[priced1](), true))
	wantAll(t, golden(t, dir, priced[pricedWf](), false), `field "cents" may now have a fraction`)
}

func TestGoldenFilesNoticeTypesThatAreGone(t *testing.T) { //nolint:paralleltest // it sets a variable of the environment
	dir := t.TempDir()
	wantAll(t, golden(t, dir, priced[priced1](), true))
	wantAll(t, golden(t, dir, schema, true), `events of type "priced/net" may be stored, and the schema does not know it: say annals.Renamed, Dropped or Split`)
	for _, opt := range []annals.SchemaOption{
		annals.Dropped("priced/net"), annals.UnknownTypes(annals.UnknownSkip), annals.PassUnknown(func(annals.Recorded) any { return 1 }),
		annals.Split("priced/net", 1, []any{Applause{}}, func(p priced1) []any { return []any{Applause{p.Cents}} }),
	} {
		wantAll(t, golden(t, dir, annals.NewSchema([]any{ShowOpened{}, SeatTaken{}, Applause{}}, opt), false))
	}
}

func TestGoldenFilesThatAreNoneAreNamed(t *testing.T) { //nolint:paralleltest // it sets a variable of the environment
	dir := t.TempDir()
	wantAll(t, golden(t, dir, schema, true))
	if err := os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantAll(t, golden(t, dir, schema, false))
	file := filepath.Join(dir, "Applause.v1.json")
	if err := os.Rename(file, filepath.Join(dir, "Applause.v2.json")); err != nil {
		t.Fatal(err)
	}
	wantAll(t, golden(t, dir, schema, false), "it is of Applause version 1, whose file is Applause.v1.json")
	if err := os.WriteFile(filepath.Join(dir, "Applause.v2.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantAll(t, golden(t, dir, schema, false), "Applause.v2.json: unexpected end")
	wantAll(t, golden(t, file+"/"+string([]byte{0}), schema, false), "golden: ")
}

func TestGoldenFilesOfAnotherCodec(t *testing.T) { //nolint:paralleltest // it sets a variable of the environment
	dir := t.TempDir()
	s := annals.NewSchema([]any{Applause{}}, annals.Encoding(bare{annals.JSON()}))
	wantAll(t, golden(t, dir, s, true))
	wantAll(t, golden(t, dir, s, false))
	wantAll(t, golden(t, dir, annals.NewSchema([]any{Applause{}}), false), "no codec for the content type")
}

// bare is JSON under another name.
type bare struct{ annals.Codec }

func (bare) ContentType() string { return "text/bare" }
