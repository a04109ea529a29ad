package annals_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
)

func TestErrorsMatchTheirSentinelsAndSayTheirFacts(t *testing.T) {
	t.Parallel()
	id, id2 := annals.NewID(), annals.NewID()
	cases := []struct {
		err     error
		is      []error
		message []string
	}{
		{&annals.InvalidError{What: "event 2: tag", Problem: "empty"}, []error{annals.ErrInvalid}, []string{"invalid event 2: tag: empty"}},
		{&annals.LimitError{What: "append", Unit: "events", Limit: 1, Actual: 2}, []error{annals.ErrTooLarge, annals.ErrInvalid}, []string{"append has 2 events, the limit is 1"}},
		{&annals.AheadError{Position: 9, Head: 3}, []error{annals.ErrAhead}, []string{"position 9", "the head, 3"}},
		{&annals.AheadError{Stream: "a-1", Revision: 9, Actual: 3}, []error{annals.ErrAhead}, []string{"revision 9 of stream a-1: the stream is at 3"}},
		{&annals.AheadError{Stream: "a-1", Revision: 9, Actual: annals.NoRevision}, []error{annals.ErrAhead}, []string{"has no event"}},
		{&annals.IDReusedError{IDs: []annals.ID{id}}, []error{annals.ErrIDReused}, []string{id.String()}},
		{&annals.IDReusedError{IDs: make([]annals.ID, 8)}, []error{annals.ErrIDReused}, []string{"and 3 more"}},
		{&annals.PartialDuplicateError{Known: []annals.ID{id}, New: []annals.ID{id2}}, []error{annals.ErrPartialDuplicate}, []string{"stored already: " + id.String(), "not stored: " + id2.String()}},
		{&annals.OutcomeError{Cause: context.Canceled}, []error{annals.ErrNotWritten, context.Canceled}, []string{"not written: context canceled"}},
		{&annals.OutcomeError{Unknown: true, Cause: context.Canceled}, []error{annals.ErrUnknownOutcome, context.Canceled}, []string{"outcome unknown: context canceled"}},
		{&annals.DataLossError{File: "1.seg", Offset: 7, First: 2, Last: 3, Reason: "checksum"}, []error{annals.ErrDataLoss}, []string{"1.seg at offset 7 (positions 2 to 3): checksum"}},
		{&annals.DataLossError{File: "1.seg", Reason: "gone"}, []error{annals.ErrDataLoss}, []string{"1.seg at offset 0: gone"}},
		{&annals.UnknownTypeError{Type: "T", Position: 4}, []error{annals.ErrUnknownType}, []string{"position 4", `"T"`}},
		{&annals.ConflictError{}, []error{annals.ErrConflict}, []string{"conflict"}},
		{&annals.ConflictError{Failures: []annals.Failure{{Condition: annals.NoneSince(0, annals.All())}}}, []error{annals.ErrConflict}, []string{"none of (all) after 0: there are"}},
	}
	sentinels := []error{
		annals.ErrInvalid, annals.ErrTooLarge, annals.ErrReserved, annals.ErrConflict, annals.ErrAhead, annals.ErrIDReused,
		annals.ErrPartialDuplicate, annals.ErrNotWritten, annals.ErrUnknownOutcome, annals.ErrDataLoss, annals.ErrUnknownType, context.Canceled,
	}
	for _, c := range cases {
		for _, s := range sentinels {
			want := false
			for _, is := range c.is {
				want = want || is == s //nolint:errorlint // sentinels are compared with each other
			}
			if errors.Is(c.err, s) != want {
				t.Errorf("%T: Is(%v) is %v, want %v", c.err, s, !want, want)
			}
		}
		for _, m := range c.message {
			if !strings.Contains(c.err.Error(), m) {
				t.Errorf("%T says %q, which lacks %q", c.err, c.err, m)
			}
		}
	}
}

func TestAConflictSaysWhatEveryConditionWantedAndWhatThereIs(t *testing.T) {
	t.Parallel()
	err := &annals.ConflictError{Failures: []annals.Failure{
		{Condition: annals.StreamAt("a-1", 2), Actual: 5},
		{Index: 1, Condition: annals.StreamAt("a-2", 2), Actual: annals.NoRevision},
		{Index: 2, Condition: annals.NoStream("a-3"), Actual: 0},
		{Index: 3, Condition: annals.StreamExists("a-4"), Actual: annals.NoRevision},
		{Index: 4, Condition: annals.NoneSince(1, annals.Tags("t:1")), Actual: annals.NoRevision, Positions: []annals.Position{7, 8}},
	}}
	want := "annals: conflict: wanted stream a-1 at revision 2: it is at revision 5; " +
		"stream a-2 at revision 2: it has no event; no stream a-3: it is at revision 0; " +
		"stream a-4 exists: it does not; none of (tag t:1) after 1: there are, first at 7"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}
