package annals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Log is a store that speaks a schema: it reads and appends values. It may be used concurrently and is cheap to make.
type Log[E any] struct {
	store            Store
	schema           *Schema[E]
	requireAuthorize bool
	snapshots        *SnapshotPolicy
	protects         bool // the store may be given personal data
}

// LogOption adjusts a log.
type LogOption func(*logOptions)

type logOptions struct {
	requireAuthorize bool
	snapshots        *SnapshotPolicy
}

// RequireAuthorize makes package decider refuse commands that do not say who may give them, by a method Authorize.
func RequireAuthorize() LogOption { return func(o *logOptions) { o.requireAuthorize = true } }

// NewLog makes a log of a store and a schema.
func NewLog[E any](s Store, schema *Schema[E], opts ...LogOption) *Log[E] {
	var o logOptions
	for _, f := range opts {
		f(&o)
	}
	return &Log[E]{store: s, schema: schema, requireAuthorize: o.requireAuthorize, snapshots: o.snapshots, protects: protects(s)}
}

// Store is the store below.
func (l *Log[E]) Store() Store { return l.store }

// Schema is the schema that l speaks.
func (l *Log[E]) Schema() *Schema[E] { return l.schema }

// RequiresAuthorize reports whether [RequireAuthorize] was said.
func (l *Log[E]) RequiresAuthorize() bool { return l.requireAuthorize }

// On is the same log over another store, such as a what-if branch. Snapshots belong to a store, so it keeps none.
func (l *Log[E]) On(s Store) *Log[E] {
	o := *l
	o.store, o.snapshots, o.protects = s, nil, protects(s)
	return &o
}

// Read yields the events of q, decoded, under the rules of [Store.Read]. The query is checked against the schema, see
// [Schema.Bind]. Events of dropped types are left out; events of unknown types end the read with [ErrUnknownType],
// unless [UnknownTypes] or [PassUnknown] says otherwise. An event that is [Split] yields those of its parts that q matches, one
// after the other, and counts once for a limit; backwards, its last part comes first.
func (l *Log[E]) Read(ctx context.Context, q Query, opts ...ReadOption) iter.Seq2[Entry[E], error] {
	return func(yield func(Entry[E], error) bool) {
		bound, err := l.schema.Bind(q)
		if err != nil {
			yield(Entry[E]{}, err)
			return
		}
		r := reading[E]{log: l, bound: bound, yield: yield}
		if l.schema.LeavesOut() {
			o := NewReadOptions(opts...)
			if r.limit, r.backwards = o.Limit, o.Backwards; r.limit > 0 { // what is left out does not count
				opts = append(slices.Clone(opts), func(o *ReadOptions) { o.Limit, o.limited = 0, false })
			}
		}
		l.store.Read(ctx, bound, opts...)(r.next)
	}
}

// reading is one [Log.Read] under way.
type reading[E any] struct {
	log       *Log[E]
	bound     Query
	yield     func(Entry[E], error) bool
	limit     int // how many events are still to be yielded, if it was more than 0
	backwards bool
	last      *eventType // of the event before: a stream's events come in runs
}

// next yields what a stored event means. It tells whether to go on.
func (r *reading[E]) next(e Recorded, err error) bool {
	if err != nil {
		r.yield(Entry[E]{}, err)
		return false
	}
	if r.last == nil || e.Type != r.last.name {
		r.last = r.log.schema.byName[e.Type]
	}
	some, more := true, false
	if r.last != nil {
		v, err := r.log.schema.value(r.last, &e)
		more = r.yield(Entry[E]{Recorded: e, Value: v, Parts: 1}, err) && err == nil
	} else {
		some, more = r.log.readOther(e, r.bound, r.backwards, r.yield)
	}
	if some {
		r.limit--
	}
	return more && (!some || r.limit != 0)
}

// readOther yields what an event means that is of none of the schema's types. It tells whether that is anything, and whether
// to go on.
func (l *Log[E]) readOther(r Recorded, bound Query, backwards bool, yield func(Entry[E], error) bool) (some, more bool) {
	entries, err := l.schema.decodeOther(nil, r)
	if l.schema.skips(err) {
		return false, true
	}
	if err != nil {
		yield(Entry[E]{}, err)
		return false, false
	}
	if l.schema.retired[r.Type] != nil {
		entries = wanted(entries, bound, backwards)
	}
	for _, e := range entries {
		if !yield(e, nil) {
			return true, false
		}
	}
	return len(entries) > 0, true
}

// wanted are the parts that a query matches, in the order of the read.
func wanted[E any](parts []Entry[E], bound Query, backwards bool) []Entry[E] {
	parts = slices.DeleteFunc(parts, func(e Entry[E]) bool { return !bound.Match(e.Recorded) })
	if backwards {
		slices.Reverse(parts)
	}
	return parts
}

// skips reports whether a decoding error means that the event is to be left out.
func (s *Schema[E]) skips(err error) bool {
	return err != nil && (errors.Is(err, ErrDropped) || s.unknown == UnknownSkip && errors.Is(err, ErrUnknownType))
}

// Append encodes the events, gives each a new id and the metadata of ctx, and appends them under the rules of
// [Store.Append]. Queries in conditions are checked against the schema.
func (l *Log[E]) Append(ctx context.Context, events []E, conds ...Condition) (Receipt, error) {
	raw, err := l.Encode(ctx, events)
	if err != nil {
		return Receipt{}, err
	}
	bound, err := l.schema.BindConditions(conds...)
	if err != nil {
		return Receipt{}, err
	}
	return l.store.Append(ctx, raw, bound...)
}

// Encode makes the stored form of the events, with a new id each and the metadata of ctx, for those who append them
// to the store themselves. Events with personal data are refused with [ErrUnprotected] if the store is no [Protector].
func (l *Log[E]) Encode(ctx context.Context, events []E) ([]Event, error) {
	raw := make([]Event, len(events))
	metadata := MetadataFrom(ctx).encode()
	for i, v := range events {
		e, err := l.schema.Encode(v)
		if err != nil {
			return nil, err
		}
		if !l.protects && (l.schema.isPersonal(v) || bytes.Contains(e.Data, personalMark)) {
			return nil, fmt.Errorf("%w: %s: use privacy.Protect", ErrUnprotected, e.Type)
		}
		e.ID = NewID()
		e.Metadata = metadata
		raw[i] = e
	}
	return raw, nil
}

// personalMark begins a personal value in JSON, as package privacy writes it. A schema does not see what lies behind an interface.
var personalMark = []byte(`{"$personal":`)

// isPersonal reports whether a value's type has personal fields.
func (s *Schema[E]) isPersonal(v E) bool {
	et := s.byType[reflect.TypeOf(v)]
	return et != nil && et.personal
}

// Bind checks q against the schema and turns it into the query that a store understands: values of hashed tags are
// hashed, and a type's older names are added to its name. A tag, a stream's category, or a type that no event
// declares is an [InvalidError], and so is an empty value: a misspelt boundary would otherwise read nothing, and
// guard nothing, in silence.
func (s *Schema[E]) Bind(q Query) (Query, error) {
	if q.IsZero() {
		return Query{}, invalid("query", zeroQuery)
	}
	if s.stored != nil {
		return q, nil
	}
	bound := q
	for i := range q.items {
		it := q.items[i]
		changed, err := s.bindItem(&it)
		if err != nil {
			return Query{}, err
		}
		if !changed {
			continue
		}
		if &bound.items[0] == &q.items[0] {
			bound.items = slices.Clone(q.items)
		}
		bound.items[i] = it
	}
	return bound, nil
}

// bindItem tells whether the item had to be changed.
func (s *Schema[E]) bindItem(it *Item) (changed bool, err error) {
	var tags []string
	for i, t := range it.Tags {
		name, value, ok := strings.Cut(t, ":")
		use, declared := s.tags[name]
		switch {
		case isSystemName(t):
		case !ok || !declared:
			return false, invalid("query", fmt.Sprintf("the tag %q: no event type declares `annals:%q`", t, name))
		case value == "":
			return false, invalid("query", fmt.Sprintf("the tag %q has no value", t))
		case use.hash:
			if tags == nil {
				tags = slices.Clone(it.Tags)
			}
			tags[i] = Tag(name, hashTag(s.hashKey, name, value))
		}
	}
	if tags != nil {
		it.Tags = sortedSet(tags)
	}
	if it.Stream != "" && !isSystemName(it.Stream) {
		name, value, _ := strings.Cut(it.Stream, "-")
		if !s.tags[name].stream {
			return false, undeclaredStream("stream", it.Stream, name)
		}
		if value == "" {
			return false, invalid("query", fmt.Sprintf("the stream %q has no id", it.Stream))
		}
	}
	if it.Category != "" && !isSystemName(it.Category) {
		if !s.tags[it.Category].stream {
			return false, undeclaredStream("category", it.Category, it.Category)
		}
	}
	if len(it.Types) == 0 {
		return tags != nil, nil
	}
	return true, s.bindTypes(it)
}

func undeclaredStream(kind, name, category string) error {
	return invalid("query", fmt.Sprintf("the %s %q: no event type declares `annals:\"%s,stream\"`", kind, name, category))
}

func (s *Schema[E]) bindTypes(it *Item) error {
	var names []string
	for _, t := range it.Types {
		et := s.byName[t]
		switch {
		case isSystemName(t):
			names = append(names, t)
		case et == nil:
			return invalid("query", fmt.Sprintf("the type %q is not among those given to NewSchema", t))
		default:
			names = append(append(names, et.names...), et.sources...)
		}
	}
	it.Types = sortedSet(names)
	return nil
}

// BindConditions is [Schema.Bind] for the queries of conditions.
func (s *Schema[E]) BindConditions(conds ...Condition) ([]Condition, error) {
	if len(conds) == 0 || s.stored != nil {
		return conds, nil
	}
	bound := make([]Condition, len(conds))
	for i, c := range conds {
		if c.stream != "" {
			if _, err := s.bindItem(&Item{Stream: c.stream}); err != nil {
				return nil, fmt.Errorf("condition %d: %w", i, err)
			}
		}
		if c.kind == KindNoneSince {
			q, err := s.Bind(c.query)
			if err != nil {
				return nil, fmt.Errorf("condition %d: %w", i, err)
			}
			c.query = q
		}
		bound[i] = c
	}
	return bound, nil
}

// Match reports whether q, a query in the schema's words, matches the event that v would be stored as. A state made
// of several parts uses it to hand an event to the part that it belongs to. The id is not compared: an item that
// names one matches nothing. A query that the schema refuses matches nothing, as does a value that is not one of its
// events.
func (s *Schema[E]) Match(q Query, v E) bool {
	if s.stored != nil {
		return q.Match(s.stored(v))
	}
	et := s.byType[reflect.TypeOf(v)]
	if et == nil {
		return false
	}
	bound, err := s.Bind(q)
	if err != nil {
		return false
	}
	e := Event{Type: et.name}
	l := labels{hashKey: s.hashKey, lenient: true} // an event may be older than one of its tags
	if l.collect(et.plan, reflect.ValueOf(v)) != nil {
		return false
	}
	e.Stream, e.Tags = l.stream, sortedSet(l.tags)
	return bound.MatchEvent(e)
}
