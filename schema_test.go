package annals_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
)

type orderID string

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
		e, err := s.Decode(annals.Recorded{Event: annals.Event{Type: "priced_old", Version: uint16(version), Data: []byte(data)}})
		if err != nil || !reflect.DeepEqual(e.Value, Priced{500, "EUR"}) {
			t.Errorf("version %d: got %+v, %v", version, e.Value, err)
		}
	}
	if _, err := s.Decode(annals.Recorded{Event: annals.Event{Type: "Priced", Version: 4, Data: []byte(`{}`)}}); err == nil {
		t.Error("data of a version that is not known yet was decoded")
	}
	if _, err := s.Decode(annals.Recorded{Event: annals.Event{Type: "Gone"}}); !errors.Is(err, annals.ErrDropped) {
		t.Errorf("got %v, want ErrDropped", err)
	}
	if _, err := s.Decode(annals.Recorded{Event: annals.Event{Type: "Other"}}); !errors.Is(err, annals.ErrUnknownType) {
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
	type behind struct{ L *line }
	defer func() {
		message, _ := recover().(string)
		for _, want := range []string{
			"listed twice", "is a pointer", "only strings", "2 fields name its stream", "holds no \"-\"", "unknown option",
			"behind a ptr", "is nil", "is not a struct", "give HashKey", "no upcaster from version 1", "not among the events",
		} {
			if !strings.Contains(message, want) {
				t.Errorf("the panic does not say %q:\n%s", want, message)
			}
		}
	}()
	annals.NewSchema([]any{placed{}, placed{}, &line{}, number{}, twoStreams{}, dashed{}, option{}, behind{}, nil, 3, registered{}},
		annals.UpcastRaw[placed](2, func(b []byte) ([]byte, error) { return b, nil }), annals.Named[line]("x"))
	t.Error("no panic")
}

func TestIDs(t *testing.T) {
	t.Parallel()
	id := annals.NewID()
	if id[6]>>4 != 7 || id[8]>>6 != 2 || id.Time().IsZero() {
		t.Errorf("%s is not a UUIDv7", id)
	}
	b, err := json.Marshal(id)
	var back annals.ID
	if err != nil || json.Unmarshal(b, &back) != nil || back != id {
		t.Errorf("%s came back as %s: %v", id, back, err)
	}
	for _, bad := range []string{"", "x", strings.Repeat("g", 36), id.String() + "0"} {
		if _, err := annals.ParseID(bad); err == nil {
			t.Errorf("%q was taken for an id", bad)
		}
	}
}
