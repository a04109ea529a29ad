package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/annalsdb/annals"
)

func readPromises() []promise {
	return []promise{
		{"After leaves out events at and before a position", readAfter},
		{"AsOf reads the store as it was at that head", readAsOf},
		{"AsOfTime reads the store as it was then, events accepted then included", readAsOfTime},
		{"AsOfRevision reads the store as it was at that revision of the stream", readAsOfRevision},
		{"FromRevision begins at that revision of the stream", readFromRevision},
		{"Limit yields at most so many events", readLimit},
		{"Backwards yields from the upper bound down to After, exclusive", readBackwards},
		{"HeadInto tells, before the first event, the position up to which the read is complete", readHeadInto},
		{"AtLeast waits for the head, as long as the context allows", readAtLeast},
		{"a read that waits yields nothing before its head is reached, whatever comes meanwhile", readWaitsForItsHead},
		{"a read finds what matches however much was appended since", readFarBack},
		{"a position or revision that does not exist yet is ahead", readAhead},
		{"options that make no sense are invalid", readInvalid},
	}
}

// ten appends ten events, alternately to two streams, each an append of its own.
func ten(r *rig) []annals.Recorded {
	r.Helper()
	for i := range 10 {
		r.put("T"+decimal(i%3), "s-"+decimal(i%2), annals.Tag("n", decimal(i)))
	}
	return r.read(annals.All())
}

func readAfter(r *rig) {
	ten(r)
	r.equal("after 7", r.at(annals.All(), annals.After(7)), positions(8, 9, 10))
	r.equal("a stream after 7", r.at(annals.Stream("s-0"), annals.After(7)), positions(9))
	r.equal("after 0", len(r.at(annals.All(), annals.After(0))), 10)
	r.equal("after the head", r.at(annals.All(), annals.After(10)), positions())
}

func readAsOf(r *rig) {
	all := ten(r)
	r.sameAll("as of 4", r.read(annals.All(), annals.AsOf(4)), all[:4])
	r.equal("as of the beginning", r.at(annals.All(), annals.AsOf(0)), positions())
	r.equal("as of the head", len(r.at(annals.All(), annals.AsOf(10))), 10)
	r.equal("between", r.at(annals.All(), annals.After(2), annals.AsOf(4)), positions(3, 4))
	r.equal("an upper bound below After", r.at(annals.All(), annals.After(6), annals.AsOf(4)), positions())
	r.equal("a tag that came later", r.at(annals.Tags("n:5"), annals.AsOf(5)), positions())
	head := r.head()
	r.put("Z", "s-0")
	r.sameAll("the past after more was appended", r.read(annals.All(), annals.AsOf(head)), all)
}

func readAsOfTime(r *rig) {
	all := ten(r)
	for _, e := range all {
		var want []annals.Recorded
		for _, o := range all {
			if !o.Time.After(e.Time) {
				want = append(want, o)
			}
		}
		var head annals.Position
		r.sameAll("as of the time of position "+e.Position.String(), r.read(annals.All(), annals.AsOfTime(e.Time), annals.HeadInto(&head)), want)
		r.equal("the head then", head, want[len(want)-1].Position)
	}
	elsewhere := time.FixedZone("elsewhere", 3600)
	r.equal("before the first event", r.at(annals.All(), annals.AsOfTime(all[0].Time.Add(-time.Nanosecond))), positions())
	r.equal("long ago", r.at(annals.All(), annals.AsOfTime(time.Unix(0, 0))), positions())
	r.equal("in the future it is the store as it is now", len(r.at(annals.All(), annals.AsOfTime(time.Now().Add(time.Hour)))), 10)
	r.equal("in another zone it is the same instant", len(r.at(annals.All(), annals.AsOfTime(all[9].Time.In(elsewhere)))), 10)
	r.equal("the lower of two bounds counts", r.at(annals.All(), annals.AsOf(2), annals.AsOfTime(all[9].Time)), positions(1, 2))
}

func readAsOfRevision(r *rig) {
	ten(r)
	r.equal("of the stream", r.at(annals.Stream("s-1"), annals.AsOfRevision(1)), positions(2, 4))
	r.equal("revision 0", r.at(annals.Stream("s-1"), annals.AsOfRevision(0)), positions(2))
	q := annals.Stream("s-1").Or(annals.Tags("n:0"), annals.Tags("n:8"))
	r.equal("of the stream and of what was there besides", r.at(q, annals.AsOfRevision(1)), positions(1, 2, 4))
	r.equal("of a type in the stream, which that revision need not have", r.at(annals.Stream("s-1").Types("T1"), annals.AsOfRevision(1)), positions(2))
	r.equal("with a lower bound in position", r.at(annals.Stream("s-1"), annals.AsOfRevision(3), annals.AsOf(5)), positions(2, 4))
}

func readFromRevision(r *rig) {
	ten(r)
	r.equal("of the stream", r.at(annals.Stream("s-1"), annals.FromRevision(3)), positions(8, 10))
	r.equal("revision 0", len(r.at(annals.Stream("s-1"), annals.FromRevision(0))), 5)
	r.equal("one that does not exist yet", r.at(annals.Stream("s-1"), annals.FromRevision(5)), positions())
	r.equal("of a stream without events", r.at(annals.Stream("s-7"), annals.FromRevision(0)), positions())
	r.equal("with a higher After", r.at(annals.Stream("s-1"), annals.FromRevision(1), annals.After(6)), positions(8, 10))
	r.equal("from one revision to another", r.at(annals.Stream("s-1"), annals.FromRevision(1), annals.AsOfRevision(2)), positions(4, 6))
	r.equal("backwards", r.at(annals.Stream("s-1"), annals.FromRevision(3), annals.Backwards()), positions(10, 8))
}

func readLimit(r *rig) {
	ten(r)
	r.equal("the first two", r.at(annals.All(), annals.Limit(2)), positions(1, 2))
	r.equal("the first two that match", r.at(annals.Stream("s-1"), annals.Limit(2), annals.After(2)), positions(4, 6))
	r.equal("more than there are", len(r.at(annals.Stream("s-1"), annals.Limit(100))), 5)
	r.equal("as many as there are", len(r.at(annals.Stream("s-1"), annals.Limit(5))), 5)
	r.equal("the last one", r.at(annals.Stream("s-0"), annals.Backwards(), annals.Limit(1)), positions(9))
}

func readBackwards(r *rig) {
	ten(r)
	r.equal("down to After", r.at(annals.All(), annals.Backwards(), annals.After(7)), positions(10, 9, 8))
	r.equal("from AsOf", r.at(annals.All(), annals.Backwards(), annals.AsOf(3)), positions(3, 2, 1))
	r.equal("from AsOf down to After", r.at(annals.Stream("s-0"), annals.Backwards(), annals.AsOf(7), annals.After(3)), positions(7, 5))
	r.equal("from a revision", r.at(annals.Stream("s-0"), annals.Backwards(), annals.AsOfRevision(1)), positions(3, 1))
	r.equal("nothing", r.at(annals.Tags("none"), annals.Backwards()), positions())
}

func readHeadInto(r *rig) {
	all := ten(r)
	for name, c := range map[string]struct {
		q    annals.Query
		opts []annals.ReadOption
		want annals.Position
	}{
		"everything":           {annals.All(), nil, 10},
		"when nothing matches": {annals.Tags("none"), nil, 10},
		"a limit":              {annals.All(), []annals.ReadOption{annals.Limit(1)}, 10},
		"backwards":            {annals.Stream("s-0"), []annals.ReadOption{annals.Backwards()}, 10},
		"after":                {annals.All(), []annals.ReadOption{annals.After(10)}, 10},
		"as of":                {annals.Tags("none"), []annals.ReadOption{annals.AsOf(4)}, 4},
		"as of a revision":     {annals.Stream("s-0"), []annals.ReadOption{annals.AsOfRevision(2)}, 5},
		"from no revision":     {annals.Stream("s-0"), []annals.ReadOption{annals.FromRevision(77)}, 10},
		"before everything":    {annals.All(), []annals.ReadOption{annals.AsOfTime(all[0].Time.Add(-time.Hour))}, 0},
		"the lower bound":      {annals.Stream("s-0"), []annals.ReadOption{annals.AsOf(8), annals.AsOfRevision(2)}, 5},
	} {
		head := annals.Position(99)
		first := true
		for _, err := range r.store.Read(r.Context(), c.q, append(c.opts, annals.HeadInto(&head))...) {
			if err != nil {
				r.Fatalf("%s: the read failed: %v", name, err)
			}
			if first && head != c.want {
				r.Errorf("%s: at the first event the head is told as %d, want %d", name, head, c.want)
			}
			first = false
		}
		r.equal(name, head, c.want)
	}
	var head annals.Position
	r.at(annals.Tags("n:3"), annals.HeadInto(&head))
	r.append(events(event("Z", "", "n:3")), annals.NoneSince(head, annals.Tags("n:3")))
	r.refused("the same look, after something came", annals.ErrConflict, events(event("Z", "", "n:3")), annals.NoneSince(head, annals.Tags("n:3")))
}

func readAtLeast(r *rig) {
	r.put("A", "s-1")
	r.equal("a head that has been reached", r.at(annals.All(), annals.AtLeast(1)), positions(1))
	waiting := make(chan []annals.Recorded, 1)
	go func() {
		got, err := r.drainQuietly(r.store.Read(r.patient(), annals.Types("B"), annals.AtLeast(3)))
		if err != nil {
			r.Errorf("waiting for position 3 failed: %v", err)
		}
		waiting <- got
	}()
	r.put("B", "s-1")
	r.put("B", "s-1")
	r.equal("a read that waited for position 3", positionsOf(<-waiting), positions(2, 3))
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.drainQuietly(r.store.Read(ctx, annals.All(), annals.AtLeast(1000)))
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		r.Errorf("a wait whose context ended answered %v; want context.Canceled", err)
	}
}

func readWaitsForItsHead(r *rig) {
	r.put("A", "s-1")
	for _, p := range []annals.Position{2, 3} {
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Millisecond)
		got, err := r.drain(r.store.Read(ctx, annals.All(), annals.AtLeast(p)))
		cancel()
		if len(got) > 0 || !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("the head is 1: a read that waits for %d answered %v, %v; want nothing but the end of its context", p, positionsOf(got), err)
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	waiting, ended := make(chan struct{}, 1), make(chan struct{})
	var got []annals.Recorded
	var err error
	go func() {
		defer close(ended)
		got, err = r.drainQuietly(r.store.Read(watched{ctx, waiting}, annals.All(), annals.AtLeast(1000)))
	}()
	for range 5 {
		select {
		case <-waiting:
		case <-ended:
		case <-time.After(20 * time.Millisecond): // the store waits in another way
		}
		r.put("A", "s-1")
	}
	cancel()
	if <-ended; len(got) > 0 || !errors.Is(err, context.Canceled) {
		r.Errorf("the head came to 6: a read that waits for 1000 answered %v, %v; want nothing but the end of its context", positionsOf(got), err)
	}
}

// watched is a context that tells when somebody is about to wait for its end.
type watched struct {
	context.Context //nolint:containedctx // it is one itself
	waiting         chan<- struct{}
}

func (w watched) Done() <-chan struct{} {
	select {
	case w.waiting <- struct{}{}:
	default:
	}
	return w.Context.Done()
}

func readFarBack(r *rig) {
	id := annals.NewID()
	r.append(events(annals.Event{ID: id, Type: "First", Stream: "s-0", Tags: []string{"x:1"}}))
	r.bury()
	for _, q := range []annals.Query{
		annals.Tags("x:1"), annals.Types("First"), annals.Stream("s-0"), annals.ByID(id), annals.Types("never").Or(annals.Tags("x:1")),
	} {
		r.equal(q.String(), r.at(q), positions(1))
		r.equal(q.String()+", backwards", r.at(q, annals.Backwards()), positions(1))
	}
	r.equal("everything", len(r.at(annals.All())), 2701)
	r.equal("the last revision of a long stream", r.at(annals.Stream("s-1"), annals.FromRevision(2699)), positions(2701))
	r.equal("as of the first revision of a long stream", r.at(annals.Stream("s-1"), annals.AsOfRevision(0)), positions(2))
}

func readAhead(r *rig) {
	ten(r)
	for name, opt := range map[string]annals.ReadOption{
		"After past the head":    annals.After(11),
		"After past every head":  annals.After(annals.NoPosition),
		"AsOf past the head":     annals.AsOf(11),
		"AsOfRevision too high":  annals.AsOfRevision(5),
		"AsOfRevision at no end": annals.AsOfRevision(annals.NoRevision),
	} {
		r.unreadable(name, annals.ErrAhead, annals.Stream("s-1"), opt)
	}
	var ahead *annals.AheadError
	err := r.readError("AsOf past the head", annals.ErrAhead, annals.All(), annals.AsOf(12))
	if !errors.As(err, &ahead) || ahead.Position != 12 || ahead.Head != 10 {
		r.Errorf("the error tells the position 12 and the head 10: %v", err)
	}
	err = r.readError("a revision too high", annals.ErrAhead, annals.Stream("s-1"), annals.AsOfRevision(9))
	if !errors.As(err, &ahead) || ahead.Stream != "s-1" || ahead.Revision != 9 || ahead.Actual != 4 {
		r.Errorf("the error tells the stream s-1, the revision 9 and the actual one, 4: %v", err)
	}
	err = r.readError("a revision of a stream without events", annals.ErrAhead, annals.Stream("s-7"), annals.AsOfRevision(0))
	if !errors.As(err, &ahead) || ahead.Stream != "s-7" || ahead.Actual != annals.NoRevision {
		r.Errorf("the error tells the stream s-7 and that it has no event: %v", err)
	}
}

func readInvalid(r *rig) {
	ten(r)
	r.unreadable("a limit of 0", annals.ErrInvalid, annals.All(), annals.Limit(0))
	r.unreadable("a negative limit", annals.ErrInvalid, annals.All(), annals.Limit(-1))
	r.unreadable("a revision without a stream", annals.ErrInvalid, annals.All(), annals.AsOfRevision(0))
	r.unreadable("a revision of a category", annals.ErrInvalid, annals.Category("s"), annals.FromRevision(0))
	r.unreadable("a revision of two streams", annals.ErrInvalid, annals.Stream("s-0").Or(annals.Stream("s-1")), annals.AsOfRevision(0))
}
