package workload

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// w8 is the work of decisions whose boundary is a query: read it, and append if nothing has come to it.
func (b *bench) w8(ctx context.Context) error {
	if err := b.tagQueries(ctx); err != nil {
		return err
	}
	head := func(ctx context.Context, s Store) (annals.Position, error) { return s.Head(ctx) }
	start := func(context.Context, Store) (annals.Position, error) { return 0, nil }
	for _, kind := range []struct {
		name  string
		since func(context.Context, Store) (annals.Position, error)
	}{{"append without a condition", nil}, {"append if none of 2 tags since head", head}, {"append if none of 2 tags since 0", start}} {
		for _, n := range b.Writers {
			if n > 64 { // they add nothing to W1
				continue
			}
			c := testCase{name: kind.name + ", " + plural(n, "writer"), unit: "events/s"}
			err := b.contest(ctx, c, b.appendFloor(n, 1), b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
				return l.appending(ctx, func() (Sample, error) {
					return b.drive(ctx, n, func(w int) step { return b.decider(l, w, kind.since) })
				})
			}))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// question is a query with the number of events that it must find.
type question struct {
	query annals.Query
	want  int
}

// questionsMost is how many different queries of one kind are asked.
const questionsMost = 4096

// tagQueries measures reads.
func (b *bench) tagQueries(ctx context.Context) error {
	kinds := b.data().questions()
	for _, kind := range kinds {
		for _, readers := range b.Readers {
			c := testCase{name: kind.name + ", " + plural(readers, "reader"), unit: "queries/s"}
			err := b.contest(ctx, c, nil, b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
				return b.driveWarm(ctx, l, readers, func(w int) step {
					src := b.source(w)
					return func(ctx context.Context) (int, error) {
						q := kind.asked[src.random.Uint64()%uint64(len(kind.asked))]
						return 1, mustRead(ctx, l.store, q.query, q.want)
					}
				})
			}))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// questionKind are queries of one shape.
type questionKind struct {
	name  string
	asked []question
}

// questions are the queries of W8, with their answers, which are counted once.
func (d *dataset) questions() []questionKind {
	type pair struct{ course, other int }
	var (
		courses  = make([]int, d.courses())
		ofType   = make(map[pair]int)
		students = make(map[pair]int)
	)
	// Every so-many-th event tells of a course and a student that meet at least once.
	for i := 0; i < d.events; i += max(1, d.events/questionsMost) {
		students[pair{d.course(i), d.student(i)}] = 0
	}
	for i := range d.events {
		courses[d.course(i)]++
		ofType[pair{d.course(i), d.typeOf(i)}]++
		met := pair{d.course(i), d.student(i)}
		if _, asked := students[met]; asked {
			students[met]++
		}
	}
	kinds := []questionKind{{name: "1 tag, 10 events"}, {name: "1 tag, ~1000 events"}, {name: "2 tags, ~1 event"}, {name: "type and tag, ~50 events"}}
	add := func(kind int, q annals.Query, want int) {
		if len(kinds[kind].asked) < questionsMost {
			kinds[kind].asked = append(kinds[kind].asked, question{q, want})
		}
	}
	for n := range d.items() {
		add(0, annals.Tags(itemTag(n)), d.itemEvents(n))
	}
	for n, want := range courses {
		add(1, annals.Tags(courseTag(n)), want)
	}
	for p, want := range students {
		add(2, annals.Tags(courseTag(p.course), studentTag(p.other)), want)
	}
	for p, want := range ofType {
		add(3, annals.Types(typeName(p.other)).Tags(courseTag(p.course)), want)
	}
	return kinds
}

// decider appends an event with three tags, on the condition that two courses, which no event has both, have had none; without since
// there is no condition. So it always holds, and has to be evaluated to the end.
func (b *bench) decider(l *loaded, worker int, since func(context.Context, Store) (annals.Position, error)) step {
	src, courses := b.source(worker), uint64(b.data().courses())
	return func(ctx context.Context) (int, error) {
		n := src.random.Uint64()
		one := n % courses
		other := (one + 1 + n>>32%(courses-1)) % courses
		e := annals.Event{
			ID: src.id(), Type: "Enrolled", Tags: []string{fmt.Sprintf("enrolment:%d", n>>8%100_000), fmt.Sprintf("seat:%d", n>>16%100_000), "term:1"}, Data: src.data(),
		}
		var conds []annals.Condition
		if since != nil {
			after, err := since(ctx, l.store)
			if err != nil {
				return 0, err
			}
			conds = []annals.Condition{annals.NoneSince(after, annals.Tags(courseTag(int(one)), courseTag(int(other))))}
		}
		return 1, l.store.Append(ctx, []annals.Event{e}, conds...)
	}
}

// appending measures something that appends, and checks that all of it is there.
func (l *loaded) appending(ctx context.Context, use func() (Sample, error)) (Sample, error) {
	s, err := use()
	if err != nil {
		return Sample{}, err
	}
	l.events += s.Done
	return s, mustHold(ctx, l.store, l.events)
}

const (
	plainWriters, heavyWriters = 56, 8
	commonType                 = "Enrolled"
)

// heavy measures appends without a condition, alone and beside such that have one that costs the store much. Nobody should
// have to wait for the condition of another.
func (b *bench) heavy(ctx context.Context) error {
	var rivals []rival
	for _, kind := range []struct {
		name string
		cond func(head annals.Position) annals.Condition
	}{
		{"", nil},
		{" + a common type since head", func(head annals.Position) annals.Condition { return annals.NoneSince(head, annals.Types(commonType)) }},
		{" + two hot tags since 0", func(annals.Position) annals.Condition { return annals.NoneSince(0, annals.Tags(hotA, hotB)) }},
		{" + anything since head", func(head annals.Position) annals.Condition { return annals.NoneSince(head, annals.All()) }},
	} {
		for _, r := range b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) { return b.besides(ctx, l, kind.cond) }) {
			rivals = append(rivals, rival{r.name + kind.name, r.measure})
		}
	}
	return b.contest(ctx, testCase{name: plural(plainWriters, "plain writer"), unit: "events/s"}, nil, rivals)
}

// besides measures the plain writers alone, beside the others if those have a condition.
func (b *bench) besides(ctx context.Context, l *loaded, cond func(head annals.Position) annals.Condition) (Sample, error) {
	workers := plainWriters
	if cond != nil {
		workers += heavyWriters
	}
	return l.appending(ctx, func() (Sample, error) {
		return b.driveSome(ctx, workers, func(w int) bool { return w < plainWriters }, func(w int) step {
			if w < plainWriters {
				return b.decider(l, w, nil)
			}
			return b.heavyDecider(l, w, cond)
		})
	})
}

// heavyDecider appends on a condition that may fail, which is an answer too.
func (b *bench) heavyDecider(l *loaded, worker int, cond func(annals.Position) annals.Condition) step {
	src := b.source(worker)
	return func(ctx context.Context) (int, error) {
		head, err := l.store.Head(ctx)
		if err != nil {
			return 0, err
		}
		e := annals.Event{ID: src.id(), Type: "Decided", Tags: []string{"term:2"}, Data: src.data()}
		err = l.store.Append(ctx, []annals.Event{e}, cond(head))
		if errors.Is(err, annals.ErrConflict) {
			return 0, nil
		}
		return 1, err
	}
}
