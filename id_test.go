package annals_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
)

func TestAnIDIsAUUIDv7OfItsTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.FixedZone("x", 3600))
	id := annals.MakeID(at, [10]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if got, want := id.String(), "019cecae-3807-7fff-bfff-ffffffffffff"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := at.UTC().Truncate(time.Millisecond); !id.Time().Equal(want) || id.Time().Location() != time.UTC {
		t.Errorf("its time is %v, want %v", id.Time(), want)
	}
	before := time.Now().Truncate(time.Millisecond)
	id = annals.NewID()
	if id[6]>>4 != 7 || id[8]>>6 != 2 || id.Time().Before(before) || id.IsZero() {
		t.Errorf("%s, made at %v, is not a UUIDv7 of now", id, id.Time())
	}
	if annals.NewID() == id {
		t.Error("two ids are equal")
	}
}

func TestAnIDOfAnotherVersionHasNoTime(t *testing.T) {
	t.Parallel()
	id, err := annals.ParseID("3F333DF6-90A4-4FDA-8DD3-9485D27CEE36")
	if err != nil || !id.Time().IsZero() || id.String() != "3f333df6-90a4-4fda-8dd3-9485d27cee36" {
		t.Errorf("got %s of %v, %v", id, id.Time(), err)
	}
	if !(annals.ID{}).IsZero() || !(annals.ID{}).Time().IsZero() {
		t.Error("the zero id is zero and has no time")
	}
}

func TestAnIDComesBackFromText(t *testing.T) {
	t.Parallel()
	for range 100 {
		id := annals.NewID()
		parsed, err := annals.ParseID(id.String())
		if err != nil || parsed != id {
			t.Fatalf("%s came back as %s: %v", id, parsed, err)
		}
	}
	type holder struct{ ID annals.ID }
	in := holder{annals.NewID()}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"ID":"`+in.ID.String()+`"}` {
		t.Errorf("got %s, %v", b, err)
	}
	var out holder
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestWhatIsNoIDIsRefused(t *testing.T) {
	t.Parallel()
	good := annals.NewID().String()
	for _, bad := range []string{"", "x", strings.Repeat("g", 36), good + "0", good[:35], strings.ReplaceAll(good, "-", "_"), "zz" + good[2:]} {
		if _, err := annals.ParseID(bad); err == nil {
			t.Errorf("%q was taken for an id", bad)
		}
		before := annals.NewID()
		id := before
		if id.UnmarshalText([]byte(bad)) == nil || id != before {
			t.Errorf("%q was taken for an id, or changed it to %s", bad, id)
		}
	}
}

func FuzzAnIDThatParsesIsWrittenTheSame(f *testing.F) {
	f.Add("019cecae-3807-7fff-bfff-ffffffffffff")
	f.Add("019CECAE-3807-7fff-bfff-fffffffffff")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := annals.ParseID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("%q is written %s", s, id)
		}
	})
}
