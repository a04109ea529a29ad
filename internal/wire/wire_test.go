package wire_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

func word(r *rand.Rand) string {
	words := []string{"order-42", "Placed", "customer:ä", "$system", "x", ""}
	return words[r.IntN(len(words))]
}

func words(r *rand.Rand) (list []string) {
	for range r.IntN(3) {
		list = append(list, word(r))
	}
	return list
}

func id(r *rand.Rand) (id annals.ID) {
	if r.IntN(3) > 0 {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
	}
	return id
}

func query(r *rand.Rand) annals.Query {
	var items []annals.Item
	for range r.IntN(4) {
		items = append(items, annals.Item{Types: words(r), Tags: words(r), Stream: word(r), Category: word(r), ID: id(r)})
	}
	if items == nil {
		return annals.Query{}
	}
	q := annals.QueryOf(items...)
	if r.IntN(2) == 0 {
		q = q.WithSystem()
	}
	return q
}

func recorded(r *rand.Rand) annals.Recorded {
	return annals.Recorded{
		Event: annals.Event{
			ID: id(r), Type: word(r), Stream: word(r), Version: uint16(r.Uint32()), Tags: words(r), ContentType: word(r),
			Data: []byte(word(r) + "x"), Metadata: []byte("{}"),
		},
		Position: annals.Position(r.Uint64()), Revision: annals.Revision(r.Uint64()), Time: time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC(),
	}
}

func condition(r *rand.Rand) (c annals.Condition) {
	switch r.IntN(6) {
	case 0:
		c = annals.StreamAt(word(r), annals.Revision(r.Uint64()))
	case 1:
		c = annals.NoStream(word(r))
	case 2:
		c = annals.StreamExists(word(r))
	case 3:
		c = annals.NoneSince(annals.Position(r.Uint64()), query(r))
	case 4:
		c = annals.StreamIn(word(r), annals.StreamState(r.IntN(32)))
	default:
		c = annals.TrackingAt(word(r), annals.Position(r.Uint64()))
	}
	if r.IntN(2) == 0 {
		c = c.WithEvents()
	}
	return c
}

// over is a message as it arrives.
func over[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func same(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %#v, %v\nwant %#v", what, got, err, want)
	}
}

func TestWhatIsSentArrives(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		e := recorded(r)
		gotEvent, err := wire.ToRecorded(over(t, wire.FromRecorded(&e), &annalsv1.Recorded{}))
		same(t, "event", gotEvent, e, err)
		q := query(r)
		gotQuery, err := wire.ToQuery(over(t, wire.FromQuery(q), &annalsv1.Query{}))
		same(t, "query", gotQuery.String(), q.String(), err)
		if !gotQuery.Equal(q) && !q.IsZero() {
			t.Fatalf("query %s became %s", q, gotQuery)
		}
		c := condition(r)
		gotCondition, err := wire.ToCondition(over(t, wire.FromCondition(c), &annalsv1.Condition{}))
		same(t, "condition", gotCondition.String(), c.String(), err)
		same(t, "condition", []any{gotCondition.Kind(), gotCondition.WantsEvents(), gotCondition.After(), gotCondition.Revision()},
			[]any{c.Kind(), c.WantsEvents(), c.After(), c.Revision()}, nil)
		receipt := annals.Receipt{
			First: e.Position, Last: annals.Position(r.Uint64()), Head: annals.Position(r.Uint64()), Revision: e.Revision, Time: e.Time, Duplicate: r.IntN(2) == 0,
		}
		same(t, "receipt", wire.ToReceipt(over(t, wire.FromReceipt(receipt), &annalsv1.AppendResponse{})), receipt, nil)
		kept := annals.StreamRetention{
			Keep:  annals.Retention{TruncateBefore: e.Revision, MaxAge: time.Duration(r.Int64()), MaxCount: r.Int()},
			State: annals.StreamLive, First: 1, Last: annals.NoRevision, Settings: 3,
		}
		same(t, "retention", wire.ToRetention(over(t, wire.FromRetention(kept), &annalsv1.RetentionResponse{})), kept, nil)
		u := annals.Update{Event: &e, Position: e.Position, CaughtUp: r.IntN(2) == 0, More: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			u.Event = nil
		}
		gotUpdate, err := wire.ToUpdate(over(t, wire.FromUpdate(u), &annalsv1.Update{}))
		same(t, "update", gotUpdate, u, err)
	}
	limits := annals.MinLimits()
	limits.Tracking, limits.EventTags = true, math.MaxInt32
	same(t, "limits", wire.ToLimits(over(t, wire.FromLimits(limits), &annalsv1.Limits{})), limits, nil)
}

func TestReadOptionsArrive(t *testing.T) {
	t.Parallel()
	revision := annals.Revision(7)
	for name, opts := range map[string][]annals.ReadOption{
		"none":      nil,
		"positions": {annals.After(3), annals.AsOf(0), annals.AtLeast(9)},
		"time":      {annals.AsOfTime(time.Date(1, 2, 3, 4, 5, 6, 7, time.UTC)), annals.Limit(1), annals.Backwards()},
		"revisions": {annals.AsOfRevision(revision), annals.FromRevision(0)},
	} {
		want := annals.NewReadOptions(opts...)
		_, got, err := wire.ToRead(over(t, wire.FromRead("s", annals.All(), want), &annalsv1.ReadRequest{}))
		o := annals.NewReadOptions(got...)
		same(t, name, []any{o.After, o.AsOf, o.AsOfTime.UTC(), o.AsOfRevision, o.FromRevision, o.AtLeast, o.Limit, o.Backwards},
			[]any{want.After, want.AsOf, want.AsOfTime.UTC(), want.AsOfRevision, want.FromRevision, want.AtLeast, want.Limit, want.Backwards}, err)
	}
}

// Every sentinel and every fact of an error arrives.
func TestErrorsArriveWithTheirFacts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	events := []annals.Recorded{recorded(r), recorded(r)}
	ids := []annals.ID{annals.NewID(), annals.NewID()}
	invalid := annals.CheckAppend([]annals.Event{{Type: "$x"}}, nil, annals.MinLimits(), false)
	for _, err := range []error{
		&annals.ConflictError{Failures: []annals.Failure{
			{Index: 3, Condition: annals.NoneSince(4, annals.Tags("a:b")).WithEvents(), Actual: annals.NoRevision, Positions: []annals.Position{5, 6}, Events: events},
			{Condition: annals.TrackingAt("me", 4), Tracked: 9, Actual: annals.NoRevision},
			{Condition: annals.StreamIn("s", annals.StreamNone), Actual: 3, State: annals.StreamDeleted},
		}},
		&annals.AheadError{Position: 9, Head: 3},
		&annals.AheadError{Stream: "s", Revision: 9, Actual: annals.NoRevision},
		&annals.IDReusedError{IDs: ids},
		&annals.PartialDuplicateError{Known: ids[:1], New: ids[1:]},
		&annals.TombstonedError{Stream: "s"},
		&annals.OutcomeError{Cause: annals.ErrClosed},
		&annals.OutcomeError{Unknown: true, Cause: &annals.DataLossError{File: "f", Offset: 3, First: 1, Last: 2, Reason: "rot"}},
		&annals.DataLossError{File: "f", Offset: 3, Reason: "rot"},
		&annals.LimitError{What: "append", Unit: "events", Limit: 3, Actual: 4},
		&annals.InvalidError{What: "event 2", Problem: "is wrong"},
		invalid,
		annals.ErrReadOnly, annals.ErrFull, annals.ErrOverloaded, annals.ErrUnprotected, annals.ErrUnsupported, annals.ErrClosed, wire.ErrNoStore, wire.ErrUnauthenticated, wire.ErrForbidden, wire.ErrInterrupted,
		context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("disk: open: %w", annals.ErrReadOnly),
		fmt.Errorf("while appending: %w", &annals.AheadError{Position: 9, Head: 3}),
		errors.New("something else"),
	} {
		sent := wire.Status(err)
		if status.Code(sent) == codes.OK {
			t.Fatalf("%v is no error on the wire", err)
		}
		ok, got := wire.Error(sent)
		if !ok || got.Error() != err.Error() {
			t.Errorf("%v arrives as %v", err, got)
		}
		for _, target := range []error{
			annals.ErrInvalid, annals.ErrTooLarge, annals.ErrReserved, annals.ErrConflict, annals.ErrAhead, annals.ErrIDReused, annals.ErrPartialDuplicate,
			annals.ErrStreamTombstoned, annals.ErrNotWritten, annals.ErrUnknownOutcome, annals.ErrClosed, annals.ErrDataLoss, annals.ErrReadOnly,
			annals.ErrFull, annals.ErrOverloaded, annals.ErrUnprotected, annals.ErrUnsupported, wire.ErrNoStore, context.Canceled, context.DeadlineExceeded,
		} {
			if errors.Is(got, target) != errors.Is(err, target) {
				t.Errorf("%v: is it %v? There %t, here %t", err, target, errors.Is(err, target), errors.Is(got, target))
			}
		}
		if want, ok := errors.AsType[*annals.ConflictError](err); ok {
			e, _ := errors.AsType[*annals.ConflictError](got)
			if e == nil || len(e.Failures) != len(want.Failures) || !reflect.DeepEqual(e.Failures[0].Events, events) || e.Failures[1].Tracked != 9 {
				t.Errorf("the conflict arrives as %+v", e)
			}
		}
	}
	if ok, _ := wire.Error(status.Error(codes.Unavailable, "gone")); ok {
		t.Error("an error of the transport is taken for one of ours")
	}
}

func TestEventsThatAreTooLargeForAnErrorAreLeftOut(t *testing.T) {
	t.Parallel()
	r := recorded(rand.New(rand.NewPCG(1, 2)))
	r.Data = make([]byte, 2<<20)
	err := &annals.ConflictError{Failures: []annals.Failure{{Condition: annals.NoStream("s"), Positions: []annals.Position{1}, Events: []annals.Recorded{r}}}}
	ok, got := wire.Error(wire.Status(err))
	e, _ := errors.AsType[*annals.ConflictError](got)
	if !ok || e == nil || len(e.Failures[0].Events) != 0 || len(e.Failures[0].Positions) != 1 {
		t.Errorf("it arrives as %+v", e)
	}
}

func TestWrongMessagesAreRefused(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*annalsv1.AppendRequest{
		"id":        {Events: []*annalsv1.Event{{Id: []byte("short")}}},
		"version":   {Events: []*annalsv1.Event{{Version: 1 << 20}}},
		"condition": {Conditions: []*annalsv1.Condition{{Kind: 77}}},
		"none":      {Conditions: []*annalsv1.Condition{nil}},
		"states":    {Conditions: []*annalsv1.Condition{{Kind: annalsv1.Condition_KIND_STREAM_IN, States: 1 << 9}}},
	} {
		if _, _, err := wire.ToAppend(m); !errors.Is(err, annals.ErrInvalid) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
