package privacy_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

// binary is a codec for everything.
type binary struct{}

func (binary) ContentType() string          { return "application/x-binary" }
func (binary) Encode(v any) ([]byte, error) { return json.Marshal(v) }
func (binary) Decode(b []byte, v any) error { return json.Unmarshal(b, v) }

func TestPersonalFieldsHaveNoOtherCodec(t *testing.T) {
	t.Parallel()
	defer func() {
		if text, ok := recover().(string); !ok || !strings.Contains(text, "only JSON can hold") {
			t.Errorf("got %v", text)
		}
	}()
	annals.NewSchema([]any{Registered{}}, annals.Encoding(binary{}))
}

func TestOtherWaysToWriteAPersonalValueAreNotRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{`\u0024personal`, `$PERSONAL`, `$\u0070ersonal`} {
		var p privacy.Personal[string]
		if err := json.Unmarshal([]byte(`{"`+name+`":{"subject":"c","value":"MARKER"}}`), &p); err == nil || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%s: got %v, %v", name, p.Subject(), err)
		}
	}
}

func TestNamesOfSubjectsAreUTF8(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	if _, err := annals.NewLog[any](s, schema).Append(t.Context(), []any{Registered{Customer: "1", Name: privacy.Of("c\xff", "MARKER")}}); err == nil {
		t.Error("it is stored")
	}
	raw := annals.Event{Type: "A", Data: []byte("{\"$personal\":{\"subject\":\"c\xff\",\"value\":1}}")}
	if _, err := s.Append(t.Context(), []annals.Event{raw}); !errors.Is(err, privacy.ErrEnvelope) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Erase(t.Context(), "c\xff", "asked", nil); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// once fails to erase the first time.
type once struct {
	privacy.Keystore
	done bool
}

func (o *once) Erase(ctx context.Context, subject string, id [8]byte) error {
	if !o.done {
		o.done = true
		return errStopped
	}
	return o.Keystore.Erase(ctx, subject, id)
}

func TestAnErasureIsRepeatedWithItsEvents(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	s := protect(t, base, &once{Keystore: keys})
	log := annals.NewLog[any](s, schema)
	record(t, log, ann()...)
	raw, err := log.Encode(t.Context(), []any{Forgotten{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "asked", raw); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "asked", raw); err != nil {
		t.Error(err)
	}
	if _, found, err := keys.Key(t.Context(), "customer-1"); found || err != nil {
		t.Errorf("the key is there, %v", err)
	}
	if text := below(t, base); strings.Count(text, "Forgotten") != 1 {
		t.Errorf("got %s", text)
	}
}

// between calls f once, after a key was looked up.
type between struct {
	privacy.Keystore
	f func()
}

func (b *between) Key(ctx context.Context, subject string) (privacy.Key, bool, error) {
	k, found, err := b.Keystore.Key(ctx, subject)
	if f := b.f; f != nil {
		b.f = nil
		f()
	}
	return k, found, err
}

func TestWhatIsAppendedWhileAKeyIsLookedUpIsErasedToo(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	other := annals.NewLog[any](protect(t, base, keys), schema)
	s := protect(t, base, &between{keys, func() { record(t, other, ann()...) }})
	raw, err := other.Encode(t.Context(), []any{Registered{Customer: "9", Name: privacy.Of("customer-1", "MARKER")}}) // in the erasure itself
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "asked", raw); err != nil {
		t.Fatal(err)
	}
	for e, err := range annals.NewLog[any](protect(t, base, keys), schema).Read(t.Context(), annals.Types("Registered")) {
		if r, ok := e.Value.(Registered); err != nil || !ok || !r.Name.Erased() {
			t.Errorf("position %d: got %+v, %v", e.Position, e.Value, err)
		}
	}
}

func TestAKeyThatWasLookedUpBeforeAnErasureIsNotKept(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	record(t, annals.NewLog[any](protect(t, base, keys), schema), ann()...)
	b := &between{Keystore: keys}
	s := protect(t, base, b)
	log := annals.NewLog[any](s, schema)
	b.f = func() { // a reader has the key in hand
		if _, err := s.Erase(t.Context(), "customer-1", "asked", nil); err != nil {
			t.Error(err)
		}
	}
	for _, err := range log.Read(t.Context(), annals.Types("Registered")) {
		if err != nil {
			t.Error(err)
		}
	}
	if l, err := decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || !l.State.Name.Erased() {
		t.Errorf("got %+v, %v", l.State, err)
	}
	record(t, log, Registered{"1", privacy.Of("customer-1", "ann again"), nil})
	if l, err := decider.Load(t.Context(), log.On(protect(t, base, keys)), Customer{ID: "1"}); err != nil || l.State.Name.Or("") != "ann again" {
		t.Errorf("got %+v, %v", l.State, err)
	}
}

func TestASnapshotDoesNotComeBackUnderANewKey(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	inner := newSnapshots(t)
	log := annals.NewLog[any](s, schema)
	record(t, log, ann()...)
	state, err := json.Marshal(Customer{ID: "1", Name: privacy.Of("customer-1", "MARKER-ann")}) // loaded before
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "asked", nil); err != nil {
		t.Fatal(err)
	}
	record(t, log, Registered{"1", privacy.Of("customer-1", "again"), nil})
	if err := s.Snapshots(inner).Save(t.Context(), annals.Snapshot{Key: "k", Fingerprint: "f", Position: 2, ID: annals.NewID(), Data: state}); err != nil || inner.text() != "" {
		t.Errorf("kept is %s, %v", inner.text(), err)
	}
}

func TestSnapshotsThatAreNotProtectedKeepNothingPersonal(t *testing.T) {
	t.Parallel()
	inner := newSnapshots(t)
	log := annals.NewLog[any](protect(t, memory.New(), privacy.NewMemory()), schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: inner, Every: 1}))
	record(t, log, ann()...)
	if l, err := decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || l.State.Name.Or("") == "" || inner.text() != "" {
		t.Errorf("got %+v, %v, and kept is %s", l.State, err, inner.text())
	}
}

func TestADamagedKeyIsNotErased(t *testing.T) {
	t.Parallel()
	k, made, _, file := oneKey(t)
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Erase(t.Context(), "s", made.ID); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func TestWhatACutOffHasLeftOfAKeyGoesWithIt(t *testing.T) {
	t.Parallel()
	k, made, dir, file := oneKey(t)
	copied, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new-123"), copied, 0o600); err != nil { // as if a rewrap had been killed
		t.Fatal(err)
	}
	if err := k.Erase(t.Context(), "s", made.ID); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(contents(t, dir)), string(copied)) {
		t.Error("the key is there still")
	}
}

// A key whose name may not survive a power cut is not used, and made anew.
func TestAKeyWithoutADurableNameIsNotUsed(t *testing.T) {
	t.Parallel()
	k, made, _, file := oneKey(t)
	b, err := os.ReadFile(file)
	if err != nil || b[len(b)-1] != 'd' {
		t.Fatalf("the name is not said to be durable: %v", err)
	}
	b[len(b)-1] = 'n' // as between the two syncs of another process
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found, err := k.Key(t.Context(), "s"); found || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
	if next, err := k.Make(t.Context(), "s"); err != nil || next.ID == made.ID {
		t.Errorf("got %v, %v", next.ID, err)
	}
}

func TestABranchIsNotSavedWithPersonalDataInPlain(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	log := annals.NewLog[any](s, schema)
	raw, err := log.Encode(t.Context(), bob())
	if err != nil {
		t.Fatal(err)
	}
	edited, err := timetravel.WhatIf(t.Context(), s, timetravel.Insert(0, raw...))
	if err != nil {
		t.Fatal(err)
	}
	appended := branch(t, s)
	record(t, log.On(appended), bob()...)
	for _, b := range []*timetravel.Branch{edited, appended} {
		var file strings.Builder
		if err := b.Save(t.Context(), &file); !errors.Is(err, annals.ErrUnprotected) || file.Len() > 0 {
			t.Errorf("got %v, %s", err, file.String())
		}
	}
}

// bare hides what a store can do.
type bare struct{ annals.Store }

func TestNoWayRoundTheGuard(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	record(t, annals.NewLog[any](s, schema), bob()...)
	base := memory.New()
	for r, err := range s.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := annals.NewLog(annals.Store(bare{base}), annals.StoredSchema()).Append(t.Context(), []annals.Recorded{r}); !errors.Is(err, annals.ErrUnprotected) {
			t.Errorf("got %v", err)
		}
	}
	type Loose struct {
		V any `json:"v"`
	}
	loose := annals.NewLog[any](bare{base}, annals.NewSchema([]any{Loose{}}))
	if _, err := loose.Append(t.Context(), []any{Loose{privacy.Of("c", "KEPT")}}); !errors.Is(err, annals.ErrUnprotected) {
		t.Errorf("got %v", err)
	}
}
