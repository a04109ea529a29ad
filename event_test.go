package annals_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
)

func TestAPositionIsAStringInJSON(t *testing.T) {
	t.Parallel()
	type holder struct{ P annals.Position }
	for p, want := range map[annals.Position]string{0: `{"P":"0"}`, 42: `{"P":"42"}`, math.MaxUint64: `{"P":"18446744073709551615"}`} {
		b, err := json.Marshal(holder{p})
		if err != nil || string(b) != want {
			t.Errorf("%d: got %s, %v", p, b, err)
		}
		var back holder
		if err := json.Unmarshal(b, &back); err != nil || back.P != p {
			t.Errorf("%s: got %d, %v", b, back.P, err)
		}
	}
	for _, bad := range []string{`{"P":"-1"}`, `{"P":"x"}`, `{"P":""}`, `{"P":"18446744073709551616"}`, `{"P":7}`} {
		if err := json.Unmarshal([]byte(bad), &holder{}); err == nil {
			t.Errorf("%s was taken for a position", bad)
		}
	}
}

func TestEventsAreKeptInCanonicalForm(t *testing.T) {
	t.Parallel()
	tags := []string{"b:2", "a:1"}
	e := annals.Event{Type: "T", Tags: tags, ContentType: annals.ContentTypeJSON}.Canonical()
	if !slices.Equal(e.Tags, []string{"a:1", "b:2"}) || e.Version != 1 || e.ContentType != "" {
		t.Errorf("got %+v", e)
	}
	if tags[0] != "b:2" {
		t.Error("the caller's tags were sorted")
	}
	if e := (annals.Event{Tags: []string{}, Version: 3, ContentType: "text/plain"}).Canonical(); e.Tags != nil || e.Version != 3 || e.ContentType != "text/plain" {
		t.Errorf("got %+v", e)
	}
}

func TestTheSameEventMayComeWithOtherMetadata(t *testing.T) {
	t.Parallel()
	base := annals.Event{Type: "T", Version: 1, Tags: []string{"a:1"}, ContentType: "x/y", Data: []byte("d")}
	same := base
	same.Metadata, same.ID, same.Stream = []byte(`{"traceparent":"2"}`), annals.NewID(), "s-1"
	if !base.SameContent(same) {
		t.Error("metadata is not compared, ids and streams were before")
	}
	for name, change := range map[string]func(*annals.Event){
		"type":         func(e *annals.Event) { e.Type = "U" },
		"version":      func(e *annals.Event) { e.Version = 2 },
		"tags":         func(e *annals.Event) { e.Tags = []string{"a:2"} },
		"content type": func(e *annals.Event) { e.ContentType = "" },
		"data":         func(e *annals.Event) { e.Data = []byte("e") },
	} {
		o := base
		change(&o)
		if base.SameContent(o) {
			t.Errorf("another %s was not noticed", name)
		}
	}
}

func TestACloneSharesNothing(t *testing.T) {
	t.Parallel()
	e := annals.Event{Type: "T", Tags: []string{"a:1"}, Data: []byte("d"), Metadata: []byte("m")}
	c := e.Clone()
	if !reflect.DeepEqual(c, e) {
		t.Errorf("got %+v", c)
	}
	e.Tags[0], e.Data[0], e.Metadata[0] = "b:2", 'x', 'x'
	if c.Tags[0] != "a:1" || string(c.Data) != "d" || string(c.Metadata) != "m" {
		t.Errorf("the clone changed: %+v", c)
	}
}

func TestCategoriesAndTagValuesAreReadFromNames(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]string{"order-42": "order", "order-4-2": "order", "order": "order", "": ""} {
		if got := (annals.Event{Stream: stream}).Category(); got != want {
			t.Errorf("%q: got %q, want %q", stream, got, want)
		}
	}
	e := annals.Event{Tags: []string{"product:tea", "product:jam:red", "products:x", "product", "p:y"}}
	if got := e.TagValues("product"); !slices.Equal(got, []string{"tea", "jam:red"}) {
		t.Errorf("got %q", got)
	}
	type orderID string
	if annals.Tag("order", orderID("42")) != "order:42" || annals.StreamName("order", orderID("42")) != "order-42" {
		t.Error("a tag is name:value, a stream name-value")
	}
}

func TestMetadataOfAnyShapeCanBeAskedFor(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]annals.Metadata{
		`{"actor":"ann","command":"Pay","correlationId":"1","causationId":"2","traceparent":"3","fingerprint":"4","other":[5]}`: {
			Actor: "ann", Command: "Pay", CorrelationID: "1", CausationID: "2", Traceparent: "3", Fingerprint: "4",
		},
		"":              {},
		"not JSON":      {},
		`[1]`:           {},
		`{"actor":[1]}`: {},
	} {
		if got := (annals.Recorded{Event: annals.Event{Metadata: []byte(data)}}).Meta(); got != want {
			t.Errorf("%s: got %+v", data, got)
		}
	}
}
