package annals_test

import (
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func TestAnEmptyContextKnowsNobodyAndNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	if !annals.PrincipalFrom(ctx).IsZero() || annals.MetadataFrom(ctx) != (annals.Metadata{}) || annals.AtLeastFrom(ctx) != 0 {
		t.Errorf("got %+v, %+v, %d", annals.PrincipalFrom(ctx), annals.MetadataFrom(ctx), annals.AtLeastFrom(ctx))
	}
}

func TestTheContextCarriesWhoAsksAndWhy(t *testing.T) {
	t.Parallel()
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "ann", Roles: []string{"clerk", "admin"}})
	p := annals.PrincipalFrom(ctx)
	if p.ID != "ann" || !p.Has("admin") || p.Has("boss") || p.IsZero() {
		t.Errorf("got %+v", p)
	}
	if m := annals.MetadataFrom(ctx); m.Actor != "ann" {
		t.Errorf("the principal is the actor: got %+v", m)
	}
	ctx = annals.WithMetadata(ctx, annals.Metadata{Command: "Pay", CorrelationID: "7"})
	if m := annals.MetadataFrom(ctx); m != (annals.Metadata{Actor: "ann", Command: "Pay", CorrelationID: "7"}) {
		t.Errorf("got %+v", m)
	}
	if m := annals.MetadataFrom(annals.WithMetadata(ctx, annals.Metadata{Actor: "bob"})); m != (annals.Metadata{Actor: "bob"}) {
		t.Errorf("an actor that is named stays: got %+v", m)
	}
	if p := annals.AtLeastFrom(annals.WithAtLeast(ctx, 12)); p != 12 {
		t.Errorf("got %d", p)
	}
}

func TestALogWritesTheMetadataOfTheContext(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{line{}}))
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "ann"})
	ctx = annals.WithMetadata(ctx, annals.Metadata{CausationID: "9"})
	if _, err := log.Append(ctx, []any{line{Product: "tea"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), []any{line{Product: "jam"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{`{"actor":"ann","causationId":"9"}`, ``}
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil || string(e.Metadata) != want[e.Position-1] {
			t.Errorf("position %d: got %s, %v", e.Position, e.Metadata, err)
		}
	}
}

func TestMetadataThatIsChangedAndPutBackLeavesTheActorToThePrincipal(t *testing.T) {
	t.Parallel()
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "gateway"})
	m := annals.MetadataFrom(ctx)
	m.CorrelationID = "7"
	ctx = annals.WithPrincipal(annals.WithMetadata(ctx, m), annals.Principal{ID: "ann"})
	if got := annals.MetadataFrom(ctx); got != (annals.Metadata{Actor: "ann", CorrelationID: "7"}) {
		t.Errorf("got %+v", got)
	}
	ctx = annals.WithPrincipal(annals.WithMetadata(ctx, annals.Metadata{Actor: "bob"}), annals.Principal{ID: "cleo"})
	if got := annals.MetadataFrom(ctx); got.Actor != "bob" {
		t.Errorf("an actor who is not the principal stays: got %+v", got)
	}
}
