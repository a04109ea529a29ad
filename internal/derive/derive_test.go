package derive

import "testing"

func TestAnIDFollowsFromItsPartsAndTellsListsApart(t *testing.T) {
	t.Parallel()
	lists := [][]string{{}, {""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"}}
	seen := map[string]bool{}
	for _, parts := range lists {
		id := ID(parts...)
		if again := ID(parts...); again != id {
			t.Errorf("%q: %s, and then %s", parts, id, again)
		}
		if s := id.String(); s[14] != '8' || seen[s] {
			t.Errorf("%q: %s", parts, s)
		}
		seen[id.String()] = true
	}
}
