package privacy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/memory"
)

// document is any JSON with personal values anywhere.
func document(r *rand.Rand, depth int) any {
	texts := []string{"", "x", "<&>", `"`, `{"$personal":`, `"$sealed":`, "$personal", "ü\u2028", `\`, "{{[["}
	switch n := r.IntN(9); {
	case n < 3 && depth > 0:
		m := map[string]any{}
		for i := range r.IntN(4) {
			m[fmt.Sprint(i, texts[r.IntN(4)])] = document(r, depth-1)
		}
		return m
	case n < 5 && depth > 0:
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = document(r, depth-1)
		}
		return list
	case n < 7:
		return privacy.Of(fmt.Sprint("s", r.IntN(3)), texts[r.IntN(len(texts))])
	case n == 7:
		return r.IntN(100)
	}
	return texts[r.IntN(len(texts))]
}

func TestAnyDocumentIsSealedAndOpenedToItself(t *testing.T) {
	t.Parallel()
	sealed := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 5))
		want, err := json.Marshal(map[string]any{"doc": document(r, 5)})
		if err != nil {
			t.Fatal(err)
		}
		base := memory.New()
		s := protect(t, base, privacy.NewMemory())
		if _, err := s.Append(t.Context(), []annals.Event{{Type: "A", Data: want}}); err != nil {
			t.Fatalf("seed %d: %v of %s", seed, err, want)
		}
		for e, err := range s.Read(t.Context(), annals.All()) {
			if err != nil || !bytes.Equal(e.Data, want) {
				t.Fatalf("seed %d: got %s, %v\nwant %s", seed, e.Data, err, want)
			}
		}
		for e, err := range base.Read(t.Context(), annals.All()) {
			if err != nil || bytes.Contains(e.Data, []byte(`{"$personal":{`)) {
				t.Fatalf("seed %d: in plain lies %s, %v", seed, e.Data, err)
			}
			sealed += bytes.Count(e.Data, []byte(`{"$sealed":{`))
		}
	}
	if sealed < 3000 {
		t.Errorf("only %d values were sealed", sealed)
	}
}

// Whatever is appended is refused, or comes back as the same JSON.
func FuzzAppend(f *testing.F) {
	for _, seed := range []string{`{"a":{"$personal":{"subject":"s","value":1}}}`, `{"$personal":{"subject":"s","value":"{\"$personal\":"}}`, `[{"$personal":`, `{"$sealed":1}`, `"$personal":`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := privacy.Protect(t.Context(), memory.New(), privacy.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), []annals.Event{{Type: "A", Data: data}}); err != nil {
			return
		}
		for e, err := range s.Read(t.Context(), annals.All()) {
			if err != nil {
				t.Fatalf("taken, and not read: %v", err)
			}
			var got, want any
			if json.Unmarshal(data, &want) != nil {
				continue // it need not be JSON
			}
			if err := json.Unmarshal(e.Data, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %s, %v\nwant %s", e.Data, err, data)
			}
		}
	})
}
