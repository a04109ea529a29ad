package storetest

import (
	"context"
	"errors"
	"iter"

	"github.com/annalsdb/annals"
)

// A store that lends nothing is read by annals.Scan, so that all of this holds for it too.
func scanPromises() []promise {
	return []promise{
		{"a lending scan yields what a read yields", scansYieldWhatReadsYield},
		{"a lending scan fails as a read does, with nil for an event", scansFailAsReadsDo},
		{"the end of the context ends a lending scan with an error", scansEndWithTheirContext},
		{"a lending scan that is left gives everything back", scansThatAreLeft},
		{"lending scans may run inside each other and beside reads", scansInsideScans},
		{"what a read yielded stays valid while others are lent the same", scansSpoilNoReads},
	}
}

// scanned are the events of a lending scan, copied.
func (r *rig) scanned(q annals.Query, opts ...annals.ReadOption) []annals.Recorded {
	r.Helper()
	got, err := copied(annals.Scan(r.Context(), r.store, q, opts...))
	if err != nil {
		r.Fatalf("scanning %s failed: %v", q, err)
	}
	return got
}

func copied(seq iter.Seq2[*annals.Recorded, error]) (got []annals.Recorded, failed error) {
	for e, err := range seq {
		switch {
		case failed != nil:
			return got, errors.Join(failed, errors.New("it went on after an error"))
		case err != nil && e != nil:
			return got, errors.Join(err, errors.New("an event came with an error"))
		case err != nil:
			failed = err
			continue
		}
		kept := *e
		kept.Event = e.Clone()
		got = append(got, kept)
	}
	return got, failed
}

// varied appends events with and without everything, of many sizes.
func varied(r *rig) {
	r.Helper()
	for i := range 60 {
		e := event("T"+decimal(i%3), "", annals.Tag("n", decimal(i)), annals.Tag("m", decimal(i%4)))
		if i%4 != 0 {
			e.Stream = "s-" + decimal(i%5)
		}
		if e.Data = make([]byte, i*i*7); i%6 == 0 {
			e.Data, e.Tags, e.ContentType = []byte("x"), nil, "text/plain"
		}
		for j := range e.Data {
			e.Data[j] = byte('a' + (i+j)%26)
		}
		if e.Version = uint16(i % 3); i%5 == 0 {
			e.Metadata = []byte(`{"actor":"` + decimal(i) + `"}`)
		}
		r.append(events(e))
	}
}

func scansYieldWhatReadsYield(r *rig) {
	varied(r)
	r.bury()
	for _, q := range []annals.Query{
		annals.All(), annals.Stream("s-1"), annals.Category("s"), annals.Types("T1", "T2"), annals.Tags("m:1").Or(annals.Types("T0")), annals.Tags("none"),
	} {
		for _, opts := range [][]annals.ReadOption{
			nil, {annals.After(17)}, {annals.AsOf(44)}, {annals.Limit(5)}, {annals.Backwards()}, {annals.Backwards(), annals.After(3), annals.AsOf(40)},
		} {
			var read, scan annals.Position
			want := r.read(q, append(opts, annals.HeadInto(&read))...)
			got := r.scanned(q, append(opts, annals.HeadInto(&scan))...)
			r.sameAll("scanning "+q.String(), got, want)
			r.equal("the head of scanning "+q.String(), scan, read)
		}
	}
}

func scansFailAsReadsDo(r *rig) {
	ten(r)
	for what, c := range map[string]struct {
		q    annals.Query
		opt  annals.ReadOption
		want error
	}{
		"the zero query":       {annals.Query{}, annals.After(0), annals.ErrInvalid},
		"a limit of 0":         {annals.All(), annals.Limit(0), annals.ErrInvalid},
		"after the head":       {annals.All(), annals.After(11), annals.ErrAhead},
		"as of past the head":  {annals.All(), annals.AsOf(11), annals.ErrAhead},
		"a revision of no one": {annals.Stream("s-1"), annals.AsOfRevision(9), annals.ErrAhead},
	} {
		if got, err := copied(annals.Scan(r.Context(), r.store, c.q, c.opt)); !errors.Is(err, c.want) || len(got) > 0 {
			r.Errorf("%s: got %d events, %v; want only %v", what, len(got), err, c.want)
		}
	}
}

func scansEndWithTheirContext(r *rig) {
	ten(r)
	r.bury()
	why := errors.New("the user went away")
	ended, end := context.WithCancelCause(r.Context())
	end(why)
	if got, err := copied(annals.Scan(ended, r.store, annals.All())); !errors.Is(err, context.Canceled) || !errors.Is(err, why) || len(got) > 0 {
		r.Errorf("in a context that has ended it yielded %d events and %v", len(got), err)
	}
	for _, opts := range [][]annals.ReadOption{nil, {annals.Backwards()}} {
		running, end := context.WithCancelCause(r.Context())
		n, failed := 0, error(nil)
		for _, err := range annals.Scan(running, r.store, annals.All(), opts...) {
			if n++; n == 3 {
				end(why)
			}
			failed = err
		}
		end(nil)
		if !errors.Is(failed, context.Canceled) || !errors.Is(failed, why) {
			r.Errorf("the context ended at event 3; it went on for %d and answered %v", n, failed)
		}
	}
}

func scansThatAreLeft(r *rig) {
	ten(r)
	for i := range 300 {
		for e, err := range annals.Scan(r.Context(), r.store, annals.All()) {
			if err != nil || e.Position != 1 {
				r.Fatalf("scan %d began with %+v, %v", i, e, err)
			}
			break
		}
	}
	r.put("A", "s-0")
	r.equal("the head", r.head(), annals.Position(11))
}

func scansInsideScans(r *rig) {
	varied(r)
	want := r.read(annals.Types("T1"))
	i := 0
	for e, err := range annals.Scan(r.Context(), r.store, annals.Types("T1")) {
		if err != nil {
			r.Fatalf("the outer scan failed: %v", err)
		}
		r.sameAll("the inner scan", r.scanned(annals.Types("T1")), want)
		r.sameAll("the inner read", r.read(annals.Types("T1"), annals.Limit(3)), want[:3])
		if !same(*e, want[i]) { // it is lent until the next of its own scan
			r.Errorf("an inner scan changed event %d of the outer one", i)
		}
		i++
	}
	r.equal("events of the outer scan", i, len(want))
}

func scansSpoilNoReads(r *rig) {
	varied(r)
	kept := r.read(annals.All())
	detached := make([]annals.Recorded, len(kept))
	for i, e := range kept {
		detached[i] = e
		detached[i].Event = e.Clone()
	}
	for range 3 {
		r.scanned(annals.All())
		r.scanned(annals.Category("s"), annals.Backwards())
	}
	r.sameAll("events that were read before the scans", kept, detached)
	r.sameAll("the same, read again", r.read(annals.All()), detached)
}
