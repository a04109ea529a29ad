// Package wire turns the words of the root package into messages of the native protocol, and back. Servers and clients share it.
package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/annalsdb/annals"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// idBytes is an id; nil if there is none.
func idBytes(id annals.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func idOf(b []byte) (id annals.ID, err error) {
	if len(b) == 0 {
		return id, nil
	}
	if len(b) != len(id) {
		return id, &annals.InvalidError{What: "id", Problem: fmt.Sprintf("has %d bytes, want %d", len(b), len(id))}
	}
	copy(id[:], b)
	return id, nil
}

// FromEvent makes the message of an event. It shares the event's bytes.
func FromEvent(e *annals.Event) *annalsv1.Event {
	return &annalsv1.Event{
		Id: idBytes(e.ID), Type: e.Type, Stream: e.Stream, Version: uint32(e.Version), Tags: e.Tags,
		ContentType: e.ContentType, Data: e.Data, Metadata: e.Metadata,
	}
}

// ToEvent makes the event of a message. It shares the message's bytes.
func ToEvent(m *annalsv1.Event) (annals.Event, error) {
	id, err := idOf(m.GetId())
	if err != nil {
		return annals.Event{}, err
	}
	if m.GetVersion() > 1<<16-1 {
		return annals.Event{}, &annals.InvalidError{What: "version", Problem: fmt.Sprintf("%d is more than %d", m.GetVersion(), 1<<16-1)}
	}
	return annals.Event{
		ID: id, Type: m.GetType(), Stream: m.GetStream(), Version: uint16(m.GetVersion()), Tags: m.GetTags(),
		ContentType: m.GetContentType(), Data: m.GetData(), Metadata: m.GetMetadata(),
	}, nil
}

// FromRecorded makes the message of a recorded event. It shares the event's bytes.
func FromRecorded(r *annals.Recorded) *annalsv1.Recorded {
	return &annalsv1.Recorded{
		Event: FromEvent(&r.Event), Position: uint64(r.Position), Revision: uint64(r.Revision), UnixNanos: r.Time.UnixNano(),
	}
}

// ToRecorded makes the recorded event of a message.
func ToRecorded(m *annalsv1.Recorded) (annals.Recorded, error) {
	e, err := ToEvent(m.GetEvent())
	return annals.Recorded{
		Event: e, Position: annals.Position(m.GetPosition()), Revision: annals.Revision(m.GetRevision()), Time: time.Unix(0, m.GetUnixNanos()).UTC(),
	}, err
}

// FromQuery makes the message of a query.
func FromQuery(q annals.Query) *annalsv1.Query {
	m := &annalsv1.Query{System: q.IncludesSystem()}
	for it := range q.Each() {
		m.Items = append(m.Items, &annalsv1.Item{Types: it.Types, Tags: it.Tags, Stream: it.Stream, Category: it.Category, Id: idBytes(it.ID)})
	}
	return m
}

// ToQuery makes the query of a message; a message without items is the zero query.
func ToQuery(m *annalsv1.Query) (annals.Query, error) {
	if len(m.GetItems()) == 0 {
		return annals.Query{}, nil
	}
	items := make([]annals.Item, len(m.GetItems()))
	for i, it := range m.GetItems() {
		id, err := idOf(it.GetId())
		if err != nil {
			return annals.Query{}, err
		}
		items[i] = annals.Item{Types: it.GetTypes(), Tags: it.GetTags(), Stream: it.GetStream(), Category: it.GetCategory(), ID: id}
	}
	q := annals.QueryOf(items...)
	if m.GetSystem() {
		q = q.WithSystem()
	}
	return q, nil
}

// FromCondition makes the message of a condition.
func FromCondition(c annals.Condition) *annalsv1.Condition {
	m := &annalsv1.Condition{
		Kind: annalsv1.Condition_Kind(c.Kind()), Stream: c.Stream(), Revision: uint64(c.Revision()), After: uint64(c.After()),
		States: uint32(c.States()), Source: c.Source(), WithEvents: c.WantsEvents(),
	}
	if c.Kind() == annals.KindNoneSince {
		m.Query = FromQuery(c.Query())
	}
	return m
}

// ToCondition makes the condition of a message. An unknown kind is an [annals.InvalidError].
func ToCondition(m *annalsv1.Condition) (c annals.Condition, err error) {
	switch annals.ConditionKind(m.GetKind()) {
	case annals.KindStreamAt:
		c = annals.StreamAt(m.GetStream(), annals.Revision(m.GetRevision()))
	case annals.KindNoStream:
		c = annals.NoStream(m.GetStream())
	case annals.KindStreamExists:
		c = annals.StreamExists(m.GetStream())
	case annals.KindNoneSince:
		q, err := ToQuery(m.GetQuery())
		if err != nil {
			return c, err
		}
		c = annals.NoneSince(annals.Position(m.GetAfter()), q)
	case annals.KindStreamIn:
		if m.GetStates() > 1<<8-1 {
			return c, &annals.InvalidError{What: "condition", Problem: fmt.Sprintf("unknown states of a stream: %d", m.GetStates())}
		}
		c = annals.StreamIn(m.GetStream(), annals.StreamState(m.GetStates()))
	case annals.KindTracking:
		c = annals.TrackingAt(m.GetSource(), annals.Position(m.GetAfter()))
	default:
		return c, &annals.InvalidError{What: "condition", Problem: fmt.Sprintf("unknown kind %d", m.GetKind())}
	}
	if m.GetWithEvents() {
		c = c.WithEvents()
	}
	return c, nil
}

// FromAppend makes the message of an append. It shares the events' bytes.
func FromAppend(store string, events []annals.Event, conds []annals.Condition, system bool) *annalsv1.AppendRequest {
	m := &annalsv1.AppendRequest{Store: store, System: system, Events: make([]*annalsv1.Event, len(events)), Conditions: make([]*annalsv1.Condition, len(conds))}
	for i := range events {
		m.Events[i] = FromEvent(&events[i])
	}
	for i, c := range conds {
		m.Conditions[i] = FromCondition(c)
	}
	return m
}

// ToAppend is the events and conditions of a message.
func ToAppend(m *annalsv1.AppendRequest) (events []annals.Event, conds []annals.Condition, err error) {
	events, conds = make([]annals.Event, len(m.GetEvents())), make([]annals.Condition, len(m.GetConditions()))
	for i, e := range m.GetEvents() {
		if events[i], err = ToEvent(e); err != nil {
			return nil, nil, fmt.Errorf("event %d: %w", i, err)
		}
	}
	for i, c := range m.GetConditions() {
		if conds[i], err = ToCondition(c); err != nil {
			return nil, nil, fmt.Errorf("condition %d: %w", i, err)
		}
	}
	return events, conds, nil
}

// FromReceipt makes the message of a receipt.
func FromReceipt(r annals.Receipt) *annalsv1.AppendResponse {
	m := &annalsv1.AppendResponse{First: uint64(r.First), Last: uint64(r.Last), Head: uint64(r.Head), Revision: uint64(r.Revision), Duplicate: r.Duplicate}
	if !r.Time.IsZero() {
		m.Time = timestamppb.New(r.Time)
	}
	return m
}

// ToReceipt makes the receipt of a message.
func ToReceipt(m *annalsv1.AppendResponse) annals.Receipt {
	return annals.Receipt{
		First: annals.Position(m.GetFirst()), Last: annals.Position(m.GetLast()), Head: annals.Position(m.GetHead()),
		Revision: annals.Revision(m.GetRevision()), Time: timeOf(m.GetTime()), Duplicate: m.GetDuplicate(),
	}
}

// timeOf is a moment; the zero time if there is none.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// FromRead makes the message of a read. HeadInto is the caller's.
func FromRead(store string, q annals.Query, o annals.ReadOptions) *annalsv1.ReadRequest {
	m := &annalsv1.ReadRequest{Store: store, Query: FromQuery(q), After: uint64(o.After), AtLeast: uint64(o.AtLeast), Limit: uint64(max(o.Limit, 0)), Backwards: o.Backwards}
	if o.AsOf != annals.NoPosition {
		m.AsOf = new(uint64(o.AsOf))
	}
	if !o.AsOfTime.IsZero() {
		m.AsOfTime = timestamppb.New(o.AsOfTime)
	}
	if o.AsOfRevision != nil {
		m.AsOfRevision = new(uint64(*o.AsOfRevision))
	}
	if o.FromRevision != nil {
		m.FromRevision = new(uint64(*o.FromRevision))
	}
	return m
}

// ToRead is the query and the options of a message.
func ToRead(m *annalsv1.ReadRequest) (annals.Query, []annals.ReadOption, error) {
	q, err := ToQuery(m.GetQuery())
	if err != nil {
		return q, nil, err
	}
	opts := []annals.ReadOption{annals.After(annals.Position(m.GetAfter())), annals.AtLeast(annals.Position(m.GetAtLeast()))}
	if m.AsOf != nil {
		opts = append(opts, annals.AsOf(annals.Position(m.GetAsOf())))
	}
	if m.GetAsOfTime() != nil {
		if err := m.GetAsOfTime().CheckValid(); err != nil {
			return q, nil, &annals.InvalidError{What: "as_of_time", Problem: err.Error()}
		}
		opts = append(opts, annals.AsOfTime(m.GetAsOfTime().AsTime()))
	}
	if m.AsOfRevision != nil {
		opts = append(opts, annals.AsOfRevision(annals.Revision(m.GetAsOfRevision())))
	}
	if m.FromRevision != nil {
		opts = append(opts, annals.FromRevision(annals.Revision(m.GetFromRevision())))
	}
	if m.GetLimit() > 0 {
		opts = append(opts, annals.Limit(int(min(m.GetLimit(), 1<<62))))
	}
	if m.GetBackwards() {
		opts = append(opts, annals.Backwards())
	}
	return q, opts, nil
}

// FromUpdate makes the message of an update.
func FromUpdate(u annals.Update) *annalsv1.Update {
	m := &annalsv1.Update{Position: uint64(u.Position), CaughtUp: u.CaughtUp, More: u.More}
	if u.Event != nil {
		m.Event = FromRecorded(u.Event)
	}
	return m
}

// ToUpdate makes the update of a message.
func ToUpdate(m *annalsv1.Update) (annals.Update, error) {
	u := annals.Update{Position: annals.Position(m.GetPosition()), CaughtUp: m.GetCaughtUp(), More: m.GetMore()}
	if m.GetEvent() == nil {
		return u, nil
	}
	r, err := ToRecorded(m.GetEvent())
	u.Event = &r
	return u, err
}

// FromLimits makes the message of limits.
func FromLimits(l annals.Limits) *annalsv1.Limits {
	return &annalsv1.Limits{
		EventBytes: uint64(l.EventBytes), AppendBytes: uint64(l.AppendBytes), AppendEvents: uint64(l.AppendEvents),
		TypeBytes: uint64(l.TypeBytes), StreamBytes: uint64(l.StreamBytes), TagBytes: uint64(l.TagBytes), EventTags: uint64(l.EventTags),
		QueryItems: uint64(l.QueryItems), QueryTerms: uint64(l.QueryTerms), Conditions: uint64(l.Conditions),
		Retention: l.Retention, Tracking: l.Tracking,
	}
}

// ToLimits makes the limits of a message.
func ToLimits(m *annalsv1.Limits) annals.Limits {
	return annals.Limits{
		EventBytes: int(m.GetEventBytes()), AppendBytes: int(m.GetAppendBytes()), AppendEvents: int(m.GetAppendEvents()),
		TypeBytes: int(m.GetTypeBytes()), StreamBytes: int(m.GetStreamBytes()), TagBytes: int(m.GetTagBytes()), EventTags: int(m.GetEventTags()),
		QueryItems: int(m.GetQueryItems()), QueryTerms: int(m.GetQueryTerms()), Conditions: int(m.GetConditions()),
		Retention: m.GetRetention(), Tracking: m.GetTracking(),
	}
}

// FromRetention makes the message of what is kept of a stream.
func FromRetention(r annals.StreamRetention) *annalsv1.RetentionResponse {
	return &annalsv1.RetentionResponse{
		TruncateBefore: uint64(r.Keep.TruncateBefore), MaxAge: durationpb.New(r.Keep.MaxAge), MaxCount: uint64(r.Keep.MaxCount),
		State: uint32(r.State), First: uint64(r.First), Last: uint64(r.Last), Settings: uint64(r.Settings),
	}
}

// ToRetention is what is kept of a stream.
func ToRetention(m *annalsv1.RetentionResponse) annals.StreamRetention {
	return annals.StreamRetention{
		Keep:  annals.Retention{TruncateBefore: annals.Revision(m.GetTruncateBefore()), MaxAge: m.GetMaxAge().AsDuration(), MaxCount: int(m.GetMaxCount())},
		State: annals.StreamState(m.GetState()), First: annals.Revision(m.GetFirst()), Last: annals.Revision(m.GetLast()), Settings: annals.Revision(m.GetSettings()),
	}
}
