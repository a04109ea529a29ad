package annals_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
)

type orderID string

// decoded is what an event means to a schema.
func decoded(s *annals.Schema[any], e annals.Event) (values []any, err error) {
	entries, err := s.Decode(nil, annals.Recorded{Event: e, Position: 1})
	for _, e := range entries {
		values = append(values, e.Value)
	}
	return values, err
}

type line struct {
	Product string `json:"product" annals:"product"`
	Count   int    `json:"count"`
}

type placed struct {
	Order  orderID  `json:"order" annals:"order,stream"`
	Lines  []line   `json:"lines"`
	Labels []string `json:"labels" annals:"label"`
	Coupon string   `json:"coupon,omitempty" annals:"coupon,omitempty"`
}

type lineAdded struct {
	Order orderID `json:"order" annals:"order,stream"`
	line          // embedded: its tags are the event's
}

type registered struct {
	Customer string `json:"customer" annals:"customer,stream"`
	Email    string `json:"email" annals:"email,hash"`
}

var hashKey = bytes.Repeat([]byte("k"), 16)

func TestTagsComeFromFields(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{placed{}, lineAdded{}, registered{}}, annals.HashKey(hashKey))
	e, err := s.Encode(placed{Order: "42", Lines: []line{{"tea", 1}, {"jam", 2}, {"tea", 3}}, Labels: []string{"gift"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"label:gift", "order:42", "product:jam", "product:tea"}
	if e.Type != "placed" || e.Stream != "order-42" || !slices.Equal(e.Tags, want) {
		t.Errorf("got type %s, stream %s, tags %v; want order-42 and %v", e.Type, e.Stream, e.Tags, want)
	}
	if e, err = s.Encode(lineAdded{Order: "1", line: line{Product: "tea"}}); err != nil || !slices.Contains(e.Tags, "product:tea") {
		t.Errorf("the tags of an embedded struct: got %v, %v", e.Tags, err)
	}
	if _, err := s.Encode(placed{}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("an empty tag value: got %v, want ErrInvalid", err)
	}
	if _, err := s.Encode(struct{}{}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("a type that is not listed: got %v, want ErrInvalid", err)
	}
}

func TestHashedTagsHideTheirValueAndAreFound(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{registered{}}, annals.HashKey(hashKey))
	ann := registered{Customer: "1", Email: "ann@example.com"}
	e, err := s.Encode(ann)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(e.Tags, " "), "ann@") {
		t.Errorf("the value lies open in %v", e.Tags)
	}
	q, err := s.Bind(annals.Tags("email:ann@example.com"))
	if err != nil || !q.MatchEvent(e) {
		t.Errorf("the bound query %s does not find %v: %v", q, e.Tags, err)
	}
	if !s.Match(annals.Tags("email:ann@example.com"), ann) || s.Match(annals.Tags("email:bob@example.com"), ann) {
		t.Error("Match speaks of plain values")
	}
	other, err := annals.NewSchema([]any{registered{}}, annals.HashKey(bytes.Repeat([]byte("x"), 16))).Encode(ann)
	if err != nil || slices.Equal(other.Tags, e.Tags) {
		t.Errorf("another key must give another hash: %v", err)
	}
}

func TestQueriesAreCheckedAgainstTheSchema(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{placed{}})
	for name, q := range map[string]annals.Query{
		"an undeclared tag":       annals.Tags("products:tea"),
		"a tag without a value":   annals.Tags("product:"),
		"a tag without a name":    annals.Tags("tea"),
		"an undeclared stream":    annals.Stream("basket-1"),
		"a tag that is no stream": annals.Stream("product-1"),
		"a stream without an id":  annals.Stream("order-"),
		"an undeclared category":  annals.Category("basket"),
		"an unlisted type":        annals.Types("Placed"),
		"the zero query":          {},
	} {
		if bound, err := s.Bind(q); err == nil && bound.Check(annals.MinLimits()) == nil {
			t.Errorf("%s: %s was accepted", name, q)
		}
	}
	for _, q := range []annals.Query{annals.All(), annals.Stream("order-1"), annals.Category("order"), annals.Tags("product:tea").Types("placed")} {
		if _, err := s.Bind(q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestOldVersionsAreUpcast(t *testing.T) {
	t.Parallel()
	type v2 struct {
		Total int `json:"total"`
	}
	type Priced struct {
		Minor    int64  `json:"minor"`
		Currency string `json:"currency"`
	}
	s := annals.NewSchema([]any{Priced{}},
		annals.UpcastRaw[Priced](1, func(b []byte) ([]byte, error) { return bytes.Replace(b, []byte("sum"), []byte("total"), 1), nil }),
		annals.Upcast(2, func(o v2) Priced { return Priced{Minor: int64(o.Total) * 100, Currency: "EUR"} }),
		annals.Renamed[Priced]("priced_old"), annals.Dropped("Gone"))
	for version, data := range []string{`{"sum":5}`, `{"sum":5}`, `{"total":5}`, `{"minor":500,"currency":"EUR"}`} {
		got, err := decoded(s, annals.Event{Type: "priced_old", Version: uint16(version), Data: []byte(data)})
		if err != nil || !reflect.DeepEqual(got, []any{Priced{500, "EUR"}}) {
			t.Errorf("version %d: got %+v, %v", version, got, err)
		}
	}
	if _, err := decoded(s, annals.Event{Type: "Priced", Version: 4, Data: []byte(`{}`)}); err == nil {
		t.Error("data of a version that is not known yet was decoded")
	}
	if _, err := decoded(s, annals.Event{Type: "Gone"}); !errors.Is(err, annals.ErrDropped) {
		t.Errorf("got %v, want ErrDropped", err)
	}
	if _, err := decoded(s, annals.Event{Type: "Other"}); !errors.Is(err, annals.ErrUnknownType) {
		t.Errorf("got %v, want ErrUnknownType", err)
	}
	if e, err := s.Encode(Priced{}); err != nil || e.Version != 3 {
		t.Errorf("today's version is 3: got %d, %v", e.Version, err)
	}
	q, err := s.Bind(annals.Types("Priced"))
	if err != nil || !q.MatchEvent(annals.Event{Type: "priced_old"}) {
		t.Errorf("a query for a type finds what was stored under its old name: %s, %v", q, err)
	}
}

func TestWrongDeclarationsPanicWithAllMistakes(t *testing.T) {
	t.Parallel()
	message := declare(func() {
		annals.NewSchema([]any{placed{}, placed{}, &line{}, nil, 3, registered{}},
			annals.UpcastRaw[placed](2, func(b []byte) ([]byte, error) { return b, nil }), annals.Named[line]("x"))
	})
	for _, want := range []string{
		"annals: NewSchema:", "listed twice", "is a pointer", "event 3 is nil", "int is not a struct", "give HashKey", "no upcaster from version 1", "not among the events",
	} {
		if !strings.Contains(message, want) {
			t.Errorf("the panic does not say %q:\n%s", want, message)
		}
	}
}

// declare is the text of the panic of a wrong declaration, or "" if there was none.
func declare(f func()) (message string) {
	defer func() {
		if v := recover(); v != nil {
			message = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

func TestEveryWrongDeclarationIsNamed(t *testing.T) {
	t.Parallel()
	type number struct {
		N int `annals:"n"`
	}
	type twoStreams struct {
		A string `annals:"a,stream"`
		B string `annals:"b,stream"`
	}
	type dashed struct {
		A string `annals:"a-b,stream"`
	}
	type option struct {
		A string `annals:"o,unique"`
	}
	type nameless struct {
		A string `annals:",stream"`
	}
	type colon struct {
		A string `annals:"a:b"`
	}
	type system struct {
		A string `annals:"$a"`
	}
	type streams struct {
		A []string `annals:"a,stream"`
	}
	type streamElement struct {
		Lines []struct {
			A string `annals:"a,stream"`
		}
	}
	type hashedStream struct {
		A string `annals:"a,stream,hash"`
	}
	type omittedStream struct {
		A string `annals:"a,stream,omitempty"`
	}
	type hidden struct {
		a string `annals:"a"` //nolint:revive // the mistake that is wanted
	}
	type behindPointer struct{ L *line }
	type behindSlice struct{ L []*line }
	type behindMap struct{ L map[string]line }
	type behindSlices struct{ L [][]line }
	type behindSlicePointer struct{ L *[]line }
	type behindMapOfSlices struct{ L map[string][]line }
	type behindArrayOfMaps struct{ L [2]map[string]*line }
	type notStored struct {
		A string `json:"-" annals:"a"`
	}
	type plain struct {
		Email string `annals:"email"`
	}
	_ = hidden{}.a
	identity := func(b []byte) ([]byte, error) { return b, nil }
	one := func(e any, opts ...annals.SchemaOption) func() {
		return func() { annals.NewSchema([]any{e}, opts...) }
	}
	cases := []struct {
		want string
		f    func()
	}{
		{"no events", func() { annals.NewSchema([]any{}) }},
		{"field number.N: only strings", one(number{})},
		{"2 fields name its stream", one(twoStreams{})},
		{"holds no \"-\"", one(dashed{})},
		{"unknown option \"unique\"", one(option{})},
		{"\"\" is no name for a tag", one(nameless{})},
		{"\"a:b\" is no name for a tag", one(colon{})},
		{"\"$a\" is no name for a tag", one(system{})},
		{"one value, not several", one(streams{})},
		{"one value, not several", one(streamElement{})},
		{"neither hashed nor omitted", one(hashedStream{}, annals.HashKey(hashKey))},
		{"neither hashed nor omitted", one(omittedStream{})},
		{"tagged but not exported", one(hidden{})},
		{"behind a ptr", one(behindPointer{})},
		{"behind a ptr", one(behindSlice{})},
		{"behind a map", one(behindMap{})},
		{"behind a slice", one(behindSlices{})},
		{"behind a ptr", one(behindSlicePointer{})},
		{"behind a map", one(behindMapOfSlices{})},
		{"behind a map", one(behindArrayOfMaps{})},
		{"behind a ptr", one(pointing{})},
		{"field notStored.A: it is tagged, but JSON leaves it out", one(notStored{})},
		{"nesting contains itself, and so cannot name the one stream", one(nesting{})},
		{"hashed here and plain there", func() { annals.NewSchema([]any{plain{}, registered{}}, annals.HashKey(hashKey)) }},
		{"3 bytes are too few", one(registered{}, annals.HashKey([]byte("key")))},
		{"has no name: use Named", one(struct{ A string }{})},
		{"has no name: use Named", one(generic[int]{})},
		{"is a system name", one(line{}, annals.Named[line]("$line"))},
		{"stands for", func() { annals.NewSchema([]any{line{}, plain{}}, annals.Named[plain]("line")) }},
		{"stands for", func() { annals.NewSchema([]any{line{}, plain{}}, annals.Renamed[plain]("line")) }},
		{"is dropped and stands for", one(line{}, annals.Dropped("line"))},
		{"Renamed: annals_test.placed is not among", one(line{}, annals.Renamed[placed]("x"))},
		{"versions begin at 1", one(line{}, annals.UpcastRaw[line](0, identity))},
		{"a second upcaster from version 1", one(line{}, annals.UpcastRaw[line](1, identity), annals.UpcastRaw[line](1, identity))},
		{"no upcaster from version 2", one(line{}, annals.UpcastRaw[line](1, identity), annals.UpcastRaw[line](3, identity))},
		{"EncodingOf: annals_test.placed is not among", one(line{}, annals.EncodingOf[placed](tabbed{}))},
		{"Encoding: no codec", one(line{}, annals.Encoding(nil))},
		{"have the content type \"text/tabbed\"", one(line{}, annals.Encoding(tabbed{}), annals.Reading(otherTabbed{}))},
		{"PassUnknown: no function", one(line{}, annals.PassUnknown[any](nil))},
		{"want one that gives interface {}", one(line{}, annals.PassUnknown(func(annals.Recorded) line { return line{} }))},
		{"Split: no name", one(line{}, annals.Split("", 1, []any{line{}}, noParts))},
		{"\"$x\" is a system name", one(line{}, annals.Split("$x", 1, []any{line{}}, noParts))},
		{"Split of \"Old\": versions begin at 1", one(line{}, annals.Split("Old", 0, []any{line{}}, noParts))},
		{"a second one for version 1", one(line{}, annals.Split("Old", 1, []any{line{}}, noParts), annals.Split("Old", 1, []any{line{}}, noParts))},
		{"it says not into what", one(line{}, annals.Split("Old", 1, nil, noParts))},
		{"placed is not among the events", one(line{}, annals.Split("Old", 1, []any{placed{}}, noParts))},
		{"none for version 1", one(line{}, annals.Split("Old", 2, []any{line{}}, noParts))},
		{"\"Old\" is dropped and split", one(line{}, annals.Split("Old", 1, []any{line{}}, noParts), annals.Dropped("Old"))},
		{"\"line\" is split and stands for annals_test.line", one(line{}, annals.Split("line", 1, []any{line{}}, noParts))},
	}
	for _, c := range cases {
		if message := declare(c.f); !strings.Contains(message, c.want) {
			t.Errorf("the panic is %q, which lacks %q", message, c.want)
		}
	}
}

type generic[T any] struct{ V T }

// nesting would name as many streams as it is deep.
type nesting struct {
	A   string `annals:"a,stream"`
	Sub []nesting
}

// pointing hides tags of its own kind behind pointers.
type pointing struct {
	A    string `annals:"a"`
	Next *pointing
}

// endless is its own element.
type endless []endless

type folder struct {
	Name string   `json:"name" annals:"folder"`
	Sub  []folder `json:"sub"`
	Rest endless  `json:"rest"`
}

func TestRecursiveEventsAreTaggedAtEveryDepth(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{folder{}})
	v := folder{Name: "a", Sub: []folder{{Name: "b", Sub: []folder{{Name: "c"}, {Name: "d"}}}, {Name: "e"}}}
	e, err := s.Encode(v)
	if want := []string{"folder:a", "folder:b", "folder:c", "folder:d", "folder:e"}; err != nil || !slices.Equal(e.Tags, want) {
		t.Errorf("got %q, %v; want %q", e.Tags, err, want)
	}
	if !s.Match(annals.Tags("folder:d", "folder:e"), v) || s.Match(annals.Tags("folder:f"), v) {
		t.Error("Match sees the same tags")
	}
}

func TestAnUpcasterCannotChangeWhatIsStored(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{line{}}, annals.UpcastRaw[line](1, func(b []byte) ([]byte, error) {
		copy(b, bytes.ReplaceAll(b, []byte("tea"), []byte("jam"))) // in place
		return b, nil
	}))
	stored := annals.Event{Type: "line", Version: 1, Data: []byte(`{"product":"tea"}`)}
	for range 2 {
		got, err := decoded(s, stored)
		if err != nil || got[0] != (line{Product: "jam"}) || string(stored.Data) != `{"product":"tea"}` {
			t.Errorf("got %+v, %v; stored is %s", got, err, stored.Data)
		}
	}
}

func TestTypesHaveTheNamesTheyAreGiven(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{line{}, placed{}, generic[int]{}}, annals.Named[placed]("OrderPlaced"), annals.Named[generic[int]]("Number"))
	if got := s.TypeNames(); !slices.Equal(got, []string{"Number", "OrderPlaced", "line"}) {
		t.Errorf("got %q", got)
	}
	if s.TypeName(placed{}) != "OrderPlaced" || s.TypeName(generic[int]{}) != "Number" || s.TypeName(3) != "" || s.TypeName(nil) != "" {
		t.Error("TypeName is the stored name, or none")
	}
	if _, err := s.Bind(annals.Types("placed")); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("the Go name of a type that is stored under another: got %v", err)
	}
}

func TestTagsLieAnywhereInAStruct(t *testing.T) {
	t.Parallel()
	type address struct {
		City string `annals:"city"`
	}
	type Base struct {
		Order string `annals:"order,stream"`
	}
	type tree struct {
		Name string `annals:"node"`
		Sub  []tree
	}
	type shipped struct {
		Base
		To      address
		Via     [2]address
		Batches [][]string
		Labels  [2]orderID `annals:"label,omitempty"`
		Plan    tree
		Note    *string
		Extra   map[string]string
	}
	s := annals.NewSchema([]any{shipped{}})
	v := shipped{
		Base: Base{Order: "1"}, To: address{"Oslo"}, Via: [2]address{{"Bergen"}, {"Oslo"}},
		Labels: [2]orderID{"x", ""}, Plan: tree{Name: "root", Sub: []tree{{Name: "leaf"}}},
	}
	e, err := s.Encode(v)
	want := []string{"city:Bergen", "city:Oslo", "label:x", "node:leaf", "node:root", "order:1"}
	if err != nil || e.Stream != "order-1" || !slices.Equal(e.Tags, want) {
		t.Errorf("got %s, %q, %v; want %q", e.Stream, e.Tags, err, want)
	}
	if !s.Match(annals.Tags("city:Bergen", "label:x"), v) || s.Match(annals.Tags("city:Bergen", "label:y"), v) {
		t.Error("Match sees the same tags")
	}
	v.Via[1].City = ""
	if _, err := s.Encode(v); !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), "address.City: is empty") {
		t.Errorf("got %v", err)
	}
	if !s.Match(annals.All(), v) || s.Match(annals.Tags("city:"), v) {
		t.Error("an event that is older than one of its tags matches by the others")
	}
	if s.Match(annals.Tags("town:x"), v) || s.Match(annals.All(), 3) {
		t.Error("a query that is refused, and what is no event, match nothing")
	}
}

func TestWhatCannotBeEncodedOrDecodedIsAnErrorNamingIt(t *testing.T) {
	t.Parallel()
	type loud struct{ F func() }
	s := annals.NewSchema([]any{loud{}, line{}},
		annals.UpcastRaw[line](1, func([]byte) ([]byte, error) { return nil, errors.New("no idea") }),
		annals.Upcast(2, func(l line) line { return l }))
	if _, err := s.Encode(loud{}); err == nil || !strings.Contains(err.Error(), "encode loud") {
		t.Errorf("got %v", err)
	}
	for _, c := range []struct {
		event annals.Event
		want  string
	}{
		{annals.Event{Type: "line", Version: 3, Data: []byte("{")}, "position 7: decode line version 3"},
		{annals.Event{Type: "line", Version: 2, Data: []byte("{")}, "decode line version 2"},
		{annals.Event{Type: "line", Version: 1}, "upcast from version 1: no idea"},
		{annals.Event{Type: "line", Version: 9}, "the newest version that this program knows is 3"},
		{annals.Event{Type: "line", Version: 3, ContentType: "image/png"}, `no codec for the content type "image/png"`},
	} {
		if _, err := s.Decode(nil, annals.Recorded{Event: c.event, Position: 7}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestAFingerprintIsKeyedIfThereIsAKey(t *testing.T) {
	t.Parallel()
	plain := annals.NewSchema([]any{line{}})
	keyed := annals.NewSchema([]any{line{}}, annals.HashKey([]byte("sixteen bytes and")))
	other := annals.NewSchema([]any{line{}}, annals.HashKey([]byte("sixteen bytes or so")))
	seen := map[string]bool{}
	for _, f := range []string{
		plain.Fingerprint("a", "bc"), plain.Fingerprint("ab", "c"), plain.Fingerprint("abc"), plain.Fingerprint(),
		keyed.Fingerprint("a", "bc"), other.Fingerprint("a", "bc"),
	} {
		if seen[f] {
			t.Errorf("%q is the fingerprint of two", f)
		}
		seen[f] = true
	}
	again := annals.NewSchema([]any{placed{}}, annals.HashKey([]byte("sixteen bytes and")))
	if keyed.Fingerprint("a", "bc") != again.Fingerprint("a", "bc") {
		t.Error("a fingerprint depends on more than the key and the parts")
	}
}
