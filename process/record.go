package process

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/derive"
)

// Types of the system events in the stream of a process.
const (
	typeReacted   = "$reacted"         // what was done about an event for one key
	typeTimerSet  = "$timer-set"       // also by hand, to another time
	typeCancelled = "$timer-cancelled" // also by hand
	typeFired     = "$timer-fired"     // and its event was appended with it
	typeParked    = "$parked"          // an event, for one key; once for each try
	typeRetry     = "$retry"           // by hand: what is parked under a key is to be tried now
	typeSkipped   = "$skipped"         // by hand: the first that is parked under a key is given up
	typeCompleted = "$completed"       // an instance
)

// reaction is an event and the key that it is handled for. A part is the place among those of an event that is split, or
// wholeEvent.
type reaction struct {
	Key      string          `json:"key"`
	Position annals.Position `json:"position"`
	Part     int             `json:"part,omitempty"`
}

// wholeEvent is the part of an event that could not be decoded.
const wholeEvent = -1

// reacted is the data of typeReacted.
type reacted struct {
	reaction
	Event   annals.ID `json:"event"`
	Effects []Done    `json:"effects"`
}

// Done is an effect that was done.
type Done struct {
	// Kind is send, call, schedule, cancel or complete.
	Kind string `json:"kind"`
	// Name is that of the command, the gateway or the timer.
	Name string `json:"name,omitempty"`
	// Err is the failure that was accepted, or for which an event was appended. Empty: it succeeded.
	Err string `json:"error,omitempty"`
}

// timerSet is the data of typeTimerSet.
type timerSet struct {
	Key   string      `json:"key"`
	Timer string      `json:"timer"`
	At    time.Time   `json:"at"`
	Event storedEvent `json:"event"`
}

// storedEvent is the event of a timer as it will be appended.
type storedEvent struct {
	Type        string   `json:"type"`
	Stream      string   `json:"stream,omitempty"`
	Version     uint16   `json:"version"`
	Tags        []string `json:"tags,omitempty"`
	ContentType string   `json:"contentType,omitempty"`
	// JSON is the data as a part of this document, so that a store which encrypts personal values in it finds them: in base64 they would
	// be out of sight, and the event of a timer would bring back what was erased.
	JSON json.RawMessage `json:"json,omitempty"`
	// Data is the data in its place, if that is not JSON as this document would write it.
	Data     []byte `json:"data,omitempty"`
	Metadata []byte `json:"metadata,omitempty"`
}

func newStoredEvent(e annals.Event) storedEvent {
	s := storedEvent{Type: e.Type, Stream: e.Stream, Version: e.Version, Tags: e.Tags, ContentType: e.ContentType, Metadata: e.Metadata}
	if b, err := json.Marshal(json.RawMessage(e.Data)); err == nil && e.ContentType == "" && bytes.Equal(b, e.Data) {
		s.JSON = e.Data
	} else {
		s.Data = e.Data
	}
	return s
}

// event is what is appended when the timer is due.
func (s storedEvent) event(id annals.ID) annals.Event {
	e := annals.Event{
		ID: id, Type: s.Type, Stream: s.Stream, Version: s.Version, Tags: s.Tags, ContentType: s.ContentType, Data: s.Data, Metadata: s.Metadata,
	}
	if s.JSON != nil {
		e.Data = s.JSON
	}
	return e
}

// timerEnded is the data of typeCancelled and typeFired.
type timerEnded struct {
	Key   string `json:"key"`
	Timer string `json:"timer"`
	Err   string `json:"error,omitempty"` // why the event could not be appended
}

// parked is the data of typeParked.
type parked struct {
	reaction
	Tries int       `json:"tries"`
	Err   string    `json:"error,omitempty"`
	Next  time.Time `json:"next,omitzero"` // when it is tried again; zero: when somebody says so, or what is before it is done
}

// byKey is the data of typeRetry and typeCompleted.
type byKey struct {
	Key string `json:"key"`
}

// table is what the stream of a process says: a fold.
type table struct {
	timers map[timerName]*Timer
	parked map[string][]Parked // by key, in the order of their positions
	at     annals.Position     // everything up to here is folded in
}

type timerName struct{ key, name string }

func newTable() *table {
	return &table{timers: map[timerName]*Timer{}, parked: map[string][]Parked{}}
}

// apply folds one event of the stream in.
func (t *table) apply(r annals.Recorded) error {
	if r.Position <= t.at {
		return nil
	}
	t.at = r.Position
	switch r.Type {
	case typeTimerSet:
		d, err := dataOf[timerSet](r)
		if err != nil {
			return err
		}
		t.timers[timerName{d.Key, d.Timer}] = &Timer{Key: d.Key, Name: d.Timer, At: d.At, Event: d.Event.Type, set: r.Position, id: r.ID, data: d}
	case typeCancelled, typeFired:
		d, err := dataOf[timerEnded](r)
		if err != nil {
			return err
		}
		delete(t.timers, timerName{d.Key, d.Timer})
	case typeParked:
		d, err := dataOf[parked](r)
		if err != nil {
			return err
		}
		t.park(Parked{Key: d.Key, Position: d.Position, Tries: d.Tries, Err: d.Err, Since: r.Time, Next: d.Next, part: d.Part})
	case typeReacted:
		d, err := dataOf[reacted](r)
		if err != nil {
			return err
		}
		t.unpark(d.reaction)
	case typeSkipped:
		d, err := dataOf[reaction](r)
		if err != nil {
			return err
		}
		t.unpark(d)
	case typeRetry:
		d, err := dataOf[byKey](r)
		if err != nil {
			return err
		}
		if list := t.parked[d.Key]; len(list) > 0 {
			list[0].Next, list[0].trying = r.Time, false
		}
	case typeCompleted:
		d, err := dataOf[byKey](r)
		if err != nil {
			return err
		}
		delete(t.parked, d.Key)
		maps.DeleteFunc(t.timers, func(n timerName, _ *Timer) bool { return n.key == d.Key })
	}
	return nil
}

func (t *table) find(at reaction) (int, bool) {
	return slices.BinarySearchFunc(t.parked[at.Key], at, func(p Parked, at reaction) int {
		return cmp.Or(cmp.Compare(p.Position, at.Position), cmp.Compare(p.part, at.Part))
	})
}

func (t *table) park(p Parked) {
	i, known := t.find(reaction{p.Key, p.Position, p.part})
	if known {
		if t.parked[p.Key][i].Tries > p.Tries { // a note that comes back when a later try has failed already
			return
		}
		p.Since = t.parked[p.Key][i].Since
		t.parked[p.Key][i] = p
		return
	}
	t.parked[p.Key] = slices.Insert(t.parked[p.Key], i, p)
}

// unpark takes a reaction out. The next one of its key is due then, if it only waited.
func (t *table) unpark(at reaction) {
	i, known := t.find(at)
	if !known {
		return
	}
	if t.parked[at.Key] = slices.Delete(t.parked[at.Key], i, i+1); len(t.parked[at.Key]) == 0 {
		delete(t.parked, at.Key)
	}
}

func dataOf[T any](r annals.Recorded) (d T, err error) {
	if err := json.Unmarshal(r.Data, &d); err != nil {
		return d, fmt.Errorf("process: position %d: %s: %w", r.Position, r.Type, err)
	}
	return d, nil
}

// note makes a system event.
func (p *Process[S, E]) note(kind string, id annals.ID, data any, tags ...string) (annals.Event, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return annals.Event{}, fmt.Errorf("process: %s: encode %s: %w", p.manager.Name, kind, err)
	}
	slices.Sort(tags)
	return annals.Event{ID: id, Type: kind, Stream: p.Stream(), Tags: tags, Data: b}, nil
}

// instanceTag is on everything that concerns an instance, timerTag on what concerns one timer of it. Keys may be long or
// personal, so they are hashed.
func (p *Process[S, E]) instanceTag(key string) string {
	return "$process:" + hash(p.manager.Name, key)
}

func (p *Process[S, E]) timerTag(key, timer string) string {
	return "$timer:" + hash(p.manager.Name, key, timer)
}

func hash(parts ...string) string {
	sum := derive.Digest(parts...)
	return hex.EncodeToString(sum[:16])
}
