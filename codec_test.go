package annals_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

// tabbed is a codec for lines: product, tab, count.
type tabbed struct{}

func (tabbed) ContentType() string { return "text/tabbed" }

func (tabbed) Encode(v any) ([]byte, error) {
	l, ok := v.(line)
	if !ok {
		return nil, fmt.Errorf("%T is no line", v)
	}
	return fmt.Appendf(nil, "%s\t%d", l.Product, l.Count), nil
}

func (tabbed) Decode(data []byte, v any) error {
	l, ok := v.(*line)
	if !ok {
		return fmt.Errorf("%T is no line", v)
	}
	_, err := fmt.Sscanf(string(data), "%s\t%d", &l.Product, &l.Count)
	return err
}

type otherTabbed struct{ tabbed }

// loudJSON is another codec for JSON.
type loudJSON struct{ annals.Codec }

func (c loudJSON) Encode(v any) ([]byte, error) {
	b, err := c.Codec.Encode(v)
	return append(b, ' '), err
}

func TestEventsAreReadByTheCodecTheyWereStoredBy(t *testing.T) {
	t.Parallel()
	store := memory.New()
	tea, jam := line{"tea", 2}, line{"jam", 1}
	for _, opts := range [][]annals.SchemaOption{{}, {annals.EncodingOf[line](tabbed{})}, {annals.Encoding(tabbed{})}, {annals.Reading(tabbed{})}} {
		log := annals.NewLog(store, annals.NewSchema([]any{line{}}, opts...))
		if _, err := log.Append(t.Context(), []any{tea, jam}); err != nil {
			t.Fatal(err)
		}
	}
	log := annals.NewLog(store, annals.NewSchema([]any{line{}}, annals.Encoding(tabbed{})))
	got, err := values(t, log, annals.All())
	if want := []any{tea, jam, tea, jam, tea, jam, tea, jam}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	var stored []string
	for e, err := range store.Read(t.Context(), annals.Tags("product:tea")) {
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, e.ContentType+" "+string(e.Data))
	}
	const asJSON = ` {"product":"tea","count":2}`
	if want := []string{asJSON, "text/tabbed tea\t2", "text/tabbed tea\t2", asJSON}; !reflect.DeepEqual(stored, want) {
		t.Errorf("stored are %q", stored)
	}
	if _, err := values(t, newLog().On(store), annals.All()); err == nil || !strings.Contains(err.Error(), `position 3: decode line version 1: no codec for the content type "text/tabbed": give NewSchema one with Reading`) {
		t.Errorf("without the codec: got %v", err)
	}
}

func TestACodecForJSONTakesThePlaceOfTheStandardOne(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{line{}}, annals.Encoding(loudJSON{annals.JSON()})))
	if _, err := log.Append(t.Context(), []any{line{"tea", 2}}); err != nil {
		t.Fatal(err)
	}
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil || e.ContentType != "" || !bytes.HasSuffix(e.Data, []byte("} ")) || e.Value != any(line{"tea", 2}) {
			t.Errorf("got %+v, %v", e, err)
		}
	}
}

func TestWhatACodecRefusesIsAnErrorNamingTheType(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{placed{}, line{}}, annals.Encoding(tabbed{}))
	if _, err := s.Encode(placed{Order: "1"}); err == nil || !strings.Contains(err.Error(), "encode placed: annals_test.placed is no line") {
		t.Errorf("got %v", err)
	}
	if _, err := decoded(s, annals.Event{Type: "line", ContentType: "text/tabbed", Data: []byte("tea")}); err == nil || !strings.Contains(err.Error(), "position 1: decode line") {
		t.Errorf("got %v", err)
	}
}

func TestUpcastersWorkOnTheBytesOfTheirCodec(t *testing.T) {
	t.Parallel()
	s := annals.NewSchema([]any{line{}},
		annals.UpcastRaw[line](1, func(b []byte) ([]byte, error) { return bytes.ReplaceAll(b, []byte(";"), []byte("\t")), nil }),
		annals.Upcast(2, func(l line) line { l.Count *= 10; return l }),
		annals.Encoding(tabbed{}))
	got, err := decoded(s, annals.Event{Type: "line", ContentType: "text/tabbed", Data: []byte("tea;2")})
	if err != nil || !reflect.DeepEqual(got, []any{line{"tea", 20}}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestATypedUpcasterLeadsToTodaysTypeFromAnyVersion(t *testing.T) {
	t.Parallel()
	type v1 struct{ A int }
	type v2 struct{ B int }
	s := annals.NewSchema([]any{line{}},
		annals.Upcast(1, func(o v1) line { return line{"from 1", o.A} }),
		annals.Upcast(2, func(o v2) line { return line{"from 2", o.B} }))
	for version, data := range []string{`{"A":1}`, `{"A":1}`, `{"B":2}`, `{"product":"from 3","count":3}`} {
		want := line{fmt.Sprint("from ", max(version, 1)), max(version, 1)}
		got, err := decoded(s, annals.Event{Type: "line", Version: uint16(version), Data: []byte(data)})
		if err != nil || !reflect.DeepEqual(got, []any{want}) {
			t.Errorf("version %d: got %+v, %v", version, got, err)
		}
	}
}

// unknown is an event of a type that is not listed.
type unknown struct {
	Name string
	Data string
}

func TestUnknownTypesCanBePassedOn(t *testing.T) {
	t.Parallel()
	pass := annals.PassUnknown(func(r annals.Recorded) any { return unknown{r.Type, string(r.Data)} })
	log := newLog(pass, annals.Dropped("Gone"))
	raw := []annals.Event{{Type: "line", Data: []byte(`{"product":"tea"}`)}, {Type: "Other", Stream: "order-1", Data: []byte("x")}, {Type: "Gone"}}
	if _, err := log.Store().Append(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	got, err := values(t, log, annals.All())
	if want := []any{line{Product: "tea"}, unknown{"Other", "x"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := log.Append(t.Context(), got[1:]); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("what was passed on is appended: %v", err)
	}
	if _, err := values(t, newLog(pass, annals.UnknownTypes(annals.UnknownFail)).On(log.Store()), annals.All()); !errors.Is(err, annals.ErrUnknownType) {
		t.Errorf("the last policy counts: got %v", err)
	}
}
