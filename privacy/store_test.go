package privacy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/storetest"
	"github.com/annalsdb/annals/timetravel"
)

type (
	Registered struct {
		Customer string                     `json:"customer" annals:"customer,stream"`
		Name     privacy.Personal[string]   `json:"name"`
		Phones   []privacy.Personal[string] `json:"phones,omitempty"`
	}
	Moved struct {
		Customer string                    `json:"customer" annals:"customer,stream"`
		To       privacy.Personal[Address] `json:"to"`
	}
	Forgotten struct {
		Customer string `json:"customer" annals:"customer,stream"`
	}
	Address struct {
		Street string `json:"street"`
		City   string `json:"city"`
	}
	Customer struct {
		ID    string                    `json:"id"`
		Name  privacy.Personal[string]  `json:"name"`
		Lives privacy.Personal[Address] `json:"lives"`
		Gone  bool                      `json:"gone,omitempty"`
	}
)

var schema = annals.NewSchema([]any{Registered{}, Moved{}, Forgotten{}})

func (c Customer) Boundary() annals.Query { return annals.Stream("customer-" + c.ID) }
func (c Customer) SnapshotVersion() int   { return 1 }
func (c Customer) Evolve(e any) Customer {
	switch e := e.(type) {
	case Registered:
		c.Name = e.Name
	case Moved:
		c.Lives = e.To
	case Forgotten:
		c.Name, c.Lives, c.Gone = privacy.Personal[string]{}, privacy.Personal[Address]{}, true
	}
	return c
}

// ann and bob have something to hide.
func ann() []any {
	return []any{
		Registered{"1", privacy.Of("customer-1", "MARKER-ann"), []privacy.Personal[string]{privacy.Of("customer-1", "MARKER-0731"), privacy.Of("customer-1", "MARKER-0732")}},
		Moved{"1", privacy.Of("customer-1", Address{"MARKER-street <&>", "MARKER-ulm"})},
	}
}

func bob() []any { return []any{Registered{"2", privacy.Of("customer-2", "KEPT-bob"), nil}} }

func protect(t *testing.T, base annals.Store, keys privacy.Keystore) *privacy.Store {
	t.Helper()
	s, err := privacy.Protect(t.Context(), base, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(t *testing.T, log *annals.Log[any], events ...any) {
	t.Helper()
	if _, err := log.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func TestAProtectedStoreKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) annals.Store { t.Helper(); return protect(t, memory.New(), privacy.NewMemory()) }
	storetest.Run(t, open)
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { t.Parallel(); storetest.Model(t, open, seed, storetest.Operations(200)) })
	}
}

// below is all that a store has, as text.
func below(t *testing.T, s annals.Store) string {
	t.Helper()
	var b strings.Builder
	for r, err := range s.Read(t.Context(), annals.All().WithSystem()) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %s %s\n", r.Type, r.Stream, r.Data, r.Metadata)
	}
	return b.String()
}

func TestPersonalValuesLieSealedAndComeBack(t *testing.T) {
	t.Parallel()
	base := memory.New()
	s := protect(t, base, privacy.NewMemory())
	log := annals.NewLog[any](s, schema)
	record(t, log, append(ann(), bob()...)...)
	if text := below(t, base); strings.Contains(text, "MARKER") || strings.Contains(text, "KEPT") || strings.Count(text, "$sealed") != 5 {
		t.Errorf("below lies %s", text)
	}
	var got []any
	for e, err := range log.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Value)
	}
	for i, want := range append(ann(), bob()...) {
		x, err := json.Marshal(got[i])
		y, wantErr := json.Marshal(want)
		if err != nil || wantErr != nil || !bytes.Equal(x, y) {
			t.Errorf("got %s, want %s", x, y)
		}
	}
	for r, err := range annals.Scan(t.Context(), s, annals.Stream("customer-2")) {
		if err != nil || !strings.Contains(string(r.Data), "KEPT-bob") {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	for u, err := range s.Subscribe(t.Context(), annals.Stream("customer-2"), 0) {
		if err != nil || u.Event == nil || !strings.Contains(string(u.Event.Data), "KEPT-bob") {
			t.Errorf("got %+v, %v", u, err)
		}
		break
	}
	_, err := log.Append(t.Context(), bob(), annals.NoStream("customer-2").WithEvents())
	if conflict, ok := errors.AsType[*annals.ConflictError](err); !ok || !strings.Contains(string(conflict.Failures[0].Events[0].Data), "KEPT-bob") {
		t.Errorf("got %v", err)
	}
}

func TestARetriedAppendIsTheSameEvent(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	log := annals.NewLog[any](s, schema)
	raw, err := log.Encode(t.Context(), ann())
	if err != nil {
		t.Fatal(err)
	}
	before := string(raw[0].Data)
	for i := range 3 {
		receipt, err := s.Append(t.Context(), raw)
		if err != nil || receipt.Last != 2 || receipt.Duplicate != (i > 0) {
			t.Errorf("got %+v, %v", receipt, err)
		}
	}
	if string(raw[0].Data) != before {
		t.Error("the caller's event was changed")
	}
	raw[0].Data = bytes.ReplaceAll(raw[0].Data, []byte("ann"), []byte("eve"))
	if _, err := s.Append(t.Context(), raw); !errors.Is(err, annals.ErrIDReused) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsErasedIsErasedEverywhere(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	s := protect(t, base, keys)
	snapshots := newSnapshots(t)
	log := annals.NewLog[any](s, schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: s.Snapshots(snapshots), Every: 1}))
	record(t, log, append(ann(), bob()...)...)
	if l, err := decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || l.State.Lives.Or(Address{}).City != "MARKER-ulm" {
		t.Fatalf("got %+v, %v", l, err)
	}
	if text := snapshots.text(); strings.Contains(text, "MARKER") || !strings.Contains(text, "$sealed") {
		t.Errorf("snapshots hold %s", text)
	}
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "officer"})
	raw, err := log.Encode(ctx, []any{Forgotten{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := s.Erase(ctx, "customer-1", "article 17", raw)
	if err != nil || receipt.Last != 5 {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	for name, log := range map[string]*annals.Log[any]{"the store": log, "a new one": annals.NewLog[any](protect(t, base, keys), schema), "a branch": log.On(branch(t, s))} {
		l, err := decider.Load(t.Context(), log, Customer{ID: "1"}, annals.AsOf(2))
		if err != nil || !l.State.Name.Erased() || !l.State.Lives.Erased() || l.State.Name.Subject() != "customer-1" {
			t.Errorf("%s, before: got %+v, %v", name, l.State, err)
		}
		if l, err = decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || !l.State.Gone {
			t.Errorf("%s, now: got %+v, %v", name, l.State, err)
		}
		if l, err = decider.Load(t.Context(), log, Customer{ID: "2"}); err != nil || l.State.Name.Or("") != "KEPT-bob" {
			t.Errorf("%s, others: got %+v, %v", name, l.State, err)
		}
	}
	for e, err := range s.Erasures(t.Context()) {
		if err != nil || e.Subject != "customer-1" || e.Reason != "article 17" || e.Actor != "officer" || e.Key == "" || e.Time.IsZero() || e.Position != 5 {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	// Who comes back is somebody new.
	record(t, log, Registered{"1", privacy.Of("customer-1", "ann again"), nil})
	l, err := decider.Load(t.Context(), log, Customer{ID: "1"})
	if err != nil || l.State.Name.Or("") != "ann again" {
		t.Errorf("got %+v, %v", l.State, err)
	}
	if l, err = decider.Load(t.Context(), log, Customer{ID: "1"}, annals.AsOf(2)); err != nil || !l.State.Name.Erased() {
		t.Errorf("got %+v, %v", l.State, err)
	}
	if _, err := s.Erase(t.Context(), "nobody", "asked", nil); err != nil {
		t.Error(err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "", nil); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func branch(t *testing.T, s annals.Store) *timetravel.Branch {
	t.Helper()
	b, err := timetravel.WhatIf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A state that was loaded before an erasure must not bring the data back by a snapshot.
func TestASnapshotDoesNotOutliveAnErasure(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	inner := newSnapshots(t)
	log := annals.NewLog[any](s, schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: s.Snapshots(inner), Every: 1}))
	record(t, log, ann()...)
	_, err := decider.Update(t.Context(), log, Customer{ID: "1"}, func(Customer) ([]any, error) {
		_, err := s.Erase(t.Context(), "customer-1", "meanwhile", nil)
		return nil, err
	})
	if err != nil || inner.text() != "" {
		t.Errorf("%v: kept is %s", err, inner.text())
	}
}

func TestReadModelsLetGoOfWhatWasErased(t *testing.T) {
	t.Parallel()
	s := protect(t, memory.New(), privacy.NewMemory())
	log := annals.NewLog[any](s, schema)
	customers := projection.Rows[Customer, any]{
		Name: "customers", By: "customer", Query: annals.Category("customer"),
		Apply: func(key string, row *Customer, e annals.Entry[any]) error {
			row.ID = key
			*row = row.Evolve(e.Value)
			return nil
		},
	}
	views := projection.NewMemory()
	record(t, log, ann()...)
	if err := projection.CatchUp(t.Context(), log, views, customers); err != nil {
		t.Fatal(err)
	}
	raw, err := log.Encode(t.Context(), []any{Forgotten{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Erase(t.Context(), "customer-1", "asked", raw); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, customers); err != nil {
		t.Fatal(err)
	}
	if row, err := projection.Of(views, customers).Get(t.Context(), "1"); err != nil || !row.Gone || !row.Name.IsZero() {
		t.Errorf("got %+v, %v", row, err)
	}
}

func TestPersonalDataIsNotGivenToAStoreThatDoesNotProtectIt(t *testing.T) {
	t.Parallel()
	plain, err := disk.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	log := annals.NewLog[any](plain, schema)
	if _, err := log.Append(t.Context(), bob()); !errors.Is(err, annals.ErrUnprotected) || !strings.Contains(err.Error(), "Registered") {
		t.Errorf("got %v", err)
	}
	if _, err := log.Append(t.Context(), []any{Forgotten{"1"}}); err != nil {
		t.Error(err)
	}
	record(t, log.On(protect(t, plain, privacy.NewMemory())), bob()...)
}

func TestDataThatCannotBeSealedIsRefused(t *testing.T) {
	t.Parallel()
	base := memory.New()
	s := protect(t, base, privacy.NewMemory())
	const good = `{"$personal":{"subject":"s","value":1}}`
	for problem, e := range map[string]annals.Event{
		"only annals writes":           {Data: []byte(`{"a":{"$sealed" :{}}}`)},
		"in its metadata":              {Metadata: []byte(`{"a":` + good + `}`)},
		"is not JSON":                  {Data: []byte(good), ContentType: "application/cbor"},
		"not written as encoding/json": {Data: []byte(`{"a": { "$personal": {"subject":"s","value":1}}}`)},
		"cannot be read":               {Data: []byte(`{"a":{"$personal":{"subject":"s"`)},
		"of nobody":                    {Data: []byte(`{"a":{"$personal":{"subject":"","value":1}}}`)},
		"within another":               {Data: []byte(`{"a":{"$personal":{"subject":"s","value":` + good + `}}}`)},
		"can be read":                  {Data: []byte(`{"a":{"$personal":{"subject":"s","value":1},"more":1}}`)},
	} {
		e.Type = "A"
		_, err := s.Append(t.Context(), []annals.Event{{Type: "B"}, e})
		if malformed, ok := errors.AsType[*privacy.EnvelopeError](err); problem != "can be read" && (!ok || malformed.Event != 1 || !strings.Contains(err.Error(), problem)) || err == nil {
			t.Errorf("want %s, got %v", problem, err)
		}
	}
	if head, err := base.Head(t.Context()); err != nil || head != 0 {
		t.Errorf("something is stored: %d, %v", head, err)
	}
	text := annals.Event{Type: "A", Data: []byte(`{"note":"{\"$personal\": and \"$sealed\": are text here","$personal":1}`[:62] + `"}`)}
	if _, err := s.Append(t.Context(), []annals.Event{text}); err != nil {
		t.Errorf("text is taken for structure: %v", err)
	}
}

func TestTamperedValuesAreNotCalledErased(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	record(t, annals.NewLog[any](protect(t, base, keys), schema), bob()...)
	var stored annals.Recorded
	for r, err := range base.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		stored = r
	}
	read := func(e annals.Event) error {
		other := memory.New()
		if _, err := other.Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
		for _, err := range protect(t, other, keys).Read(t.Context(), annals.All()) {
			return err
		}
		return nil
	}
	if err := read(stored.Event); err != nil {
		t.Fatal(err)
	}
	moved := stored.Clone()
	moved.ID = annals.NewID()
	if err := read(moved); !errors.Is(err, privacy.ErrTampered) {
		t.Errorf("moved to another event: got %v", err)
	}
	from := bytes.Index(stored.Data, []byte(`"value":"`)) + len(`"value":"`)
	length := bytes.IndexByte(stored.Data[from:], '"')
	value, err := base64.StdEncoding.DecodeString(string(stored.Data[from : from+length]))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(value) {
		bad := bytes.Clone(value)
		bad[bit/8] ^= 1 << (bit % 8)
		e := stored.Clone()
		base64.StdEncoding.Encode(e.Data[from:], bad)
		if err := read(e); !errors.Is(err, privacy.ErrTampered) || strings.Contains(err.Error(), "KEPT") {
			t.Errorf("bit %d is changed: got %v", bit, err)
		}
	}
	other := stored.Clone()
	other.Data = bytes.Replace(other.Data, []byte("customer-2"), []byte("customer-3"), 1) // whose key there is none of
	if err := read(other); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestPersonalValuesAreNotPrinted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	v := Registered{"1", privacy.Of("customer-1", "MARKER"), []privacy.Personal[string]{privacy.Of("customer-1", "MARKER")}}
	logger.Info("x", slog.Any("name", v.Name))
	text := out.String() + fmt.Sprintf("%v %+v %s %q", v, v, v.Name, v.Phones) + fmt.Sprintf("%#v", v.Name)
	if strings.Contains(text, "MARKER") || !strings.Contains(text, "(personal)") {
		t.Error(text)
	}
	var p privacy.Personal[int]
	if err := json.Unmarshal([]byte(`{"$personal":{"subject":"s","value":"MARKER"}}`), &p); err == nil || strings.Contains(err.Error(), "MARKER") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{`1`, `{}`, `{"$sealed":{"subject":"s","key":"","value":""}}`, `{"$personal":{"subject":"","value":1}}`, `{"$personal":{"subject":"s","value":1},"x":1}`} {
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := v.Name.MarshalText(); err == nil {
		t.Error("a text")
	}
	if _, err := v.Name.MarshalBinary(); err == nil {
		t.Error("bytes")
	}
	zero, err := json.Marshal(privacy.Personal[string]{})
	if _, ok := (privacy.Personal[string]{}).Get(); err != nil || string(zero) != "null" || ok {
		t.Errorf("got %s, %v", zero, err)
	}
}

// stopping is a keystore that cannot erase, as if the process had ended.
type stopping struct{ privacy.Keystore }

var errStopped = errors.New("the process ended")

func (stopping) Erase(context.Context, string, [8]byte) error { return errStopped }

func TestAnErasureThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	base, keys := memory.New(), privacy.NewMemory()
	s := protect(t, base, stopping{keys})
	log := annals.NewLog[any](s, schema)
	record(t, log, append(ann(), bob()...)...)
	if receipt, err := s.Erase(t.Context(), "customer-1", "asked", nil); !errors.Is(err, errStopped) || receipt.Last == 0 {
		t.Errorf("got %+v, %v", receipt, err)
	}
	log = log.On(protect(t, base, keys))
	if l, err := decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || !l.State.Name.Erased() {
		t.Errorf("got %+v, %v", l.State, err)
	}
	record(t, log, Registered{"1", privacy.Of("customer-1", "ann again"), nil})
	log = log.On(protect(t, base, keys)) // the erasure on record is of the key before
	if l, err := decider.Load(t.Context(), log, Customer{ID: "1"}); err != nil || l.State.Name.Or("") != "ann again" {
		t.Errorf("got %+v, %v", l.State, err)
	}
}
