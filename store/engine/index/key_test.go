package index_test

import (
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index"
)

func TestPlansOfDifferentQueriesHaveDifferentKeys(t *testing.T) {
	t.Parallel()
	h := index.NewHasher([16]byte{1})
	id := annals.NewID()
	seen := map[string]annals.Query{}
	for _, q := range []annals.Query{
		annals.All(), annals.All().WithSystem(), annals.Tags("a:1"), annals.Tags("a:1").WithSystem(), annals.Tags("a:1", "b:1"), annals.Types("a:1"),
		annals.Types("A", "B"), annals.Types("A").Tags("a:1"), annals.Types("A", "B").Tags("a:1"), annals.Types("A").Tags("a:1", "b:1"),
		annals.Tags("a:1").Or(annals.Tags("b:1")), annals.Types("A").Or(annals.Types("B")), annals.Types("A", "B").Or(annals.Tags("a:1")),
		annals.Stream("s-1"), annals.Category("s"), annals.ByID(id), annals.Stream("s-1").Tags("a:1"),
	} {
		plan := h.Plan(q)
		key := string(plan.AppendKey(nil))
		if other, found := seen[key]; found {
			t.Errorf("%v and %v have one key", q, other)
		}
		seen[key] = q
		again := h.Plan(q)
		if string(again.AppendKey(nil)) != key {
			t.Errorf("%v has two keys", q)
		}
	}
}

func TestOnlyWhatAsksForSeveralNamesAtOnceIntersects(t *testing.T) {
	t.Parallel()
	h := index.NewHasher([16]byte{1})
	for want, queries := range map[bool][]annals.Query{
		false: {annals.All(), annals.Tags("a:1"), annals.Types("A"), annals.Types("A", "B"), annals.Tags("a:1").Or(annals.Tags("b:1"))},
		true:  {annals.Tags("a:1", "b:1"), annals.Types("A").Tags("a:1"), annals.Types("A", "B").Tags("a:1"), annals.Types("A").Or(annals.Tags("a:1", "b:1"))},
	} {
		for _, q := range queries {
			plan := h.Plan(q)
			if got := plan.Intersects(); got != want {
				t.Error(fmt.Sprint(q), got)
			}
		}
	}
}
