package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Few names, so that random operations meet.
var (
	modelStreams = []string{"", "s-1", "s-2", "s", "t-1-2", "t-1"}
	modelTypes   = []string{"A", "B", "C"}
	modelTags    = []string{"x:1", "x:2", "y:1", "y:2", "z"}
	modelSources = []string{"p", "q"}
)

// Ages are either over as soon as the clock goes on, or never while a test runs: two stores have two clocks.
const (
	modelAgeShort = time.Nanosecond
	modelAgeLong  = 1000 * time.Hour
)

func (m *model) chance(percent int) bool { return m.rng.IntN(100) < percent }

func pickOf[T any](m *model, of []T) T { return of[m.rng.IntN(len(of))] }

// some are up to most of these, none twice, in random order.
func some[T any](m *model, most int, of []T) []T {
	order := m.rng.Perm(len(of))[:m.rng.IntN(min(most, len(of))+1)]
	var picked []T
	for _, i := range order {
		picked = append(picked, of[i])
	}
	return picked
}

func (m *model) id() annals.ID {
	var id annals.ID
	for i := range id {
		id[i] = byte(m.rng.Uint32())
	}
	return id
}

func (m *model) event() annals.Event {
	return annals.Event{
		ID: m.id(), Type: pickOf(m, modelTypes), Stream: pickOf(m, modelStreams), Tags: some(m, 3, modelTags),
		Version:     uint16(m.rng.IntN(3)),
		ContentType: pickOf(m, []string{"", annals.ContentTypeJSON, "text/plain"}),
		Data:        fmt.Appendf(nil, "%d", m.rng.IntN(1000)),
		Metadata:    pickOf(m, [][]byte{nil, []byte(`{"actor":"ann"}`)}),
	}
}

// events are those of an append: new ones, or earlier ones sent again, whole, in part, in disorder, changed or mixed.
func (m *model) events() (es []annals.Event, system bool) {
	for range pickOf(m, []int{0, 1, 1, 1, 2, 3, 5}) {
		es = append(es, m.event())
	}
	if m.options.system && m.chance(8) {
		e := m.event()
		e.Type, e.Stream = "$timer", pickOf(m, []string{"", "$s-1"})
		return append(es, e), !m.chance(20)
	}
	if m.retains && m.chance(15) {
		for range pickOf(m, []int{1, 1, 1, 2}) {
			es = slices.Insert(es, m.rng.IntN(len(es)+1), m.retention())
		}
		return es, !m.chance(10)
	}
	if len(m.past) == 0 || m.chance(70) {
		return m.malform(es), false
	}
	known := slices.Clone(pickOf(m, m.past))
	if slices.ContainsFunc(known, annals.Event.IsSystem) {
		system = true
	}
	switch m.rng.IntN(8) {
	case 0:
		return append(known, es...), system
	case 1:
		return append(es, known...), system
	case 2:
		return some(m, len(known), known), system
	case 3:
		slices.Reverse(known)
	case 4:
		known = append(known, pickOf(m, m.past)...)
		system = system || slices.ContainsFunc(known, annals.Event.IsSystem)
	case 5:
		m.change(&known[m.rng.IntN(len(known))])
		system = system || slices.ContainsFunc(known, annals.Event.IsSystem)
	}
	return known, system
}

// retention is a change of it.
func (m *model) retention() annals.Event {
	stream := pickOf(m, modelStreams[1:])
	var e annals.Event
	switch n := m.rng.IntN(20); {
	case n == 0:
		e = annals.TombstoneEvent(stream)
	case n < 5:
		e = annals.DeletionEvent(stream)
	default:
		keep := annals.Retention{MaxCount: pickOf(m, []int{0, 0, 0, 1, 3, 8}), MaxAge: pickOf(m, []time.Duration{0, 0, modelAgeLong, modelAgeShort})}
		if m.chance(40) {
			keep.TruncateBefore = annals.Revision(m.rng.IntN(20))
		}
		e = annals.RetentionEvent(stream, keep)
	}
	e.ID = m.id()
	return e
}

// change makes another event of e, or only another try of it.
func (m *model) change(e *annals.Event) {
	switch m.rng.IntN(5) {
	case 0:
		e.Metadata = []byte(`{"traceparent":"again"}`)
	case 1:
		e.Data = []byte("changed")
	case 2:
		e.Tags = some(m, 3, modelTags)
	case 3:
		e.Stream = pickOf(m, modelStreams)
	case 4:
		e.Tags = slices.Clone(e.Tags)
		slices.Reverse(e.Tags)
		e.Version = max(e.Version, 1)
	}
}

// malform makes one of the events wrong, now and then.
func (m *model) malform(es []annals.Event) []annals.Event {
	if len(es) == 0 || !m.chance(5) {
		return es
	}
	e := &es[m.rng.IntN(len(es))]
	switch m.rng.IntN(4) {
	case 0:
		e.Type = ""
	case 1:
		e.Tags = []string{"x:1", "x:1"}
	case 2:
		e.Stream = "$s-1"
	case 3:
		es = append(es, *e)
	}
	return es
}

func (m *model) conditions() []annals.Condition {
	var conds []annals.Condition
	for range pickOf(m, []int{0, 0, 1, 1, 1, 2, 3}) {
		c := m.condition()
		if m.chance(30) {
			c = c.WithEvents()
		}
		conds = append(conds, c)
	}
	return conds
}

func (m *model) condition() annals.Condition {
	stream := pickOf(m, modelStreams[1:])
	if m.retains && m.chance(10) {
		stream = annals.RetentionStream(stream)
	}
	if m.tracks && m.chance(10) {
		source := pickOf(m, modelSources)
		p, _ := m.oracle.Tracked(m.t.Context(), source)
		return annals.TrackingAt(source, p+annals.Position(m.rng.IntN(4)))
	}
	switch m.rng.IntN(12) {
	case 0:
		return annals.NoStream(stream)
	case 10, 11:
		return annals.StreamIn(stream, annals.StreamState(m.rng.IntN(32)))
	case 1:
		return annals.StreamExists(stream)
	case 2, 3, 4:
		if m.chance(30) {
			return annals.StreamAt(stream, annals.Revision(m.rng.IntN(20)))
		}
		for e, err := range m.oracle.Read(m.t.Context(), annals.Stream(stream).WithSystem(), annals.Backwards(), annals.Limit(1)) {
			if err == nil {
				return annals.StreamAt(stream, e.Revision)
			}
		}
		return annals.NoStream(stream)
	}
	return annals.NoneSince(m.place(), m.query())
}

// place is a position: mostly near the head, sometimes past it.
func (m *model) place() annals.Position {
	head, _ := m.oracle.Head(m.t.Context())
	switch n := m.rng.IntN(20); {
	case n == 0:
		return head + 1 + annals.Position(m.rng.IntN(3))
	case n < 5:
		return annals.Position(m.rng.Uint64N(uint64(head) + 1))
	case n < 12:
		return head
	}
	return head - min(head, annals.Position(m.rng.IntN(4)))
}

func (m *model) query() annals.Query {
	if m.chance(3) {
		return pickOf(m, []annals.Query{{}, annals.Tags(), annals.Types("A").Types("B"), annals.Types("$timer")})
	}
	var items []annals.Item
	for range pickOf(m, []int{1, 1, 1, 2, 3}) {
		items = append(items, m.item())
	}
	q := annals.QueryOf(items...)
	if m.options.system && m.chance(15) {
		q = q.WithSystem()
	}
	return q
}

func (m *model) item() annals.Item {
	var it annals.Item
	switch m.rng.IntN(8) {
	case 0:
		it.Stream = pickOf(m, modelStreams[1:])
	case 1:
		it.Category = pickOf(m, []string{"s", "t", "none"})
	case 2:
		if len(m.past) > 0 {
			it.ID = pickOf(m, pickOf(m, m.past)).ID
		}
	case 3:
		return annals.Item{Stream: pickOf(m, modelStreams[1:])}
	case 4:
		return it
	}
	it.Types, it.Tags = some(m, 2, modelTypes), some(m, 2, modelTags)
	return it
}

// readOptions are some options, and words for them.
func (m *model) readOptions() (opts []annals.ReadOption, said string) {
	say := func(name string, value any, o annals.ReadOption) {
		opts = append(opts, o)
		said += fmt.Sprintf(", %s(%v)", name, value)
	}
	if m.chance(25) {
		p := m.place()
		say("After", p, annals.After(p))
	}
	if m.chance(20) {
		p := m.place()
		say("AsOf", p, annals.AsOf(p))
	}
	if m.chance(15) {
		t := m.now
		for e, err := range m.oracle.Read(m.t.Context(), annals.All(), annals.AsOf(m.place()), annals.Backwards(), annals.Limit(1)) {
			if err == nil {
				t = e.Time
			}
		}
		say("AsOfTime", t, annals.AsOfTime(t))
	}
	if m.chance(12) {
		r := annals.Revision(m.rng.IntN(15))
		say("AsOfRevision", r, annals.AsOfRevision(r))
	}
	if m.chance(12) {
		r := annals.Revision(m.rng.IntN(15))
		say("FromRevision", r, annals.FromRevision(r))
	}
	if m.chance(25) {
		n := m.rng.IntN(12)
		say("Limit", n, annals.Limit(n))
	}
	if m.chance(35) {
		say("Backwards", "", annals.Backwards())
	}
	if m.chance(10) {
		head, _ := m.oracle.Head(m.t.Context())
		say("AtLeast", head, annals.AtLeast(head))
	}
	return opts, said
}
