package cqrs

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Bus runs commands on a log and queries on the functions given to [Answer], all through the same middleware. It may
// be used concurrently.
type Bus[E any] struct {
	log        *annals.Log[E]
	middleware []Middleware

	// mu guards what follows: written when a type is first seen, read by every message.
	mu       sync.RWMutex
	answers  map[reflect.Type]answer      // by the type of query
	commands map[reflect.Type]declaration // by the type of command
	guarded  string                       // the first command seen that has Authorize
}

// declaration is what is known of a command's type.
type declaration struct {
	name      string
	malformed error // a near miss of an optional method
	unguarded bool  // it has no Authorize
}

// New makes a bus on a log. The first middleware is the outermost.
func New[E any](log *annals.Log[E], middleware ...Middleware) *Bus[E] {
	return &Bus[E]{
		log:        log,
		middleware: slices.Clone(middleware),
		answers:    map[reflect.Type]answer{},
		commands:   map[reflect.Type]declaration{},
	}
}

// Log is the log that commands are run on.
func (b *Bus[E]) Log() *annals.Log[E] { return b.log }

// Register tells the bus of a command before it is first given, so that a wrong declaration is found when the program
// starts: a near miss of an optional method, which decider.CheckCommand describes, or [ErrUnguarded], if this command
// lacks Authorize and must have it, or has it while commands registered earlier do not. The command is known to the
// bus either way. [Do] registers by itself.
func Register[C decider.Command[S, E], S decider.State[S, E], E any](b *Bus[E]) error {
	d := declare[C](b)
	if d.malformed != nil {
		return d.malformed
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if d.unguarded {
		return b.admitLocked(d)
	}
	var open []string
	for other := range maps.Values(b.commands) {
		if other.unguarded {
			open = append(open, other.name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	slices.Sort(open)
	return &UnguardedError{Commands: open, Guarded: d.name}
}

// Do gives a command: it is decided and its events appended, as decider.Execute does. An error may come with a result,
// see [Handler].
func Do[C decider.Command[S, E], S decider.State[S, E], E any](ctx context.Context, b *Bus[E], cmd C, opts ...decider.Option) (decider.Result[S, E], error) {
	d := declare[C](b)
	m := Message{Name: d.name, Value: cmd, subject: subjectOf[C, S, E], stored: stored[S, E]}
	v, err := b.handle(ctx, m, func(ctx context.Context, m Message) (any, error) {
		cmd, ok := m.Value.(C)
		if !ok {
			return nil, &MiddlewareError{Message: m.Name, Want: reflect.TypeFor[C](), Got: reflect.TypeOf(m.Value)}
		}
		if err := b.admit(d); err != nil {
			return nil, err
		}
		return decider.Execute(ctx, b.log, cmd, opts...)
	})
	if err != nil {
		result, _ := v.(decider.Result[S, E])
		return result, err
	}
	return as[decider.Result[S, E]](m, v)
}

// subjectOf is the stream that a command is about.
func subjectOf[C decider.Command[S, E], S decider.State[S, E], E any](cmd any) string {
	if cmd, ok := cmd.(C); ok {
		return decider.SubjectOf[S, E](cmd)
	}
	return ""
}

// stored reports whether a command's result tells of events that are stored, whatever failed after.
func stored[S decider.State[S, E], E any](result any) bool {
	r, ok := result.(decider.Result[S, E])
	return ok && len(r.Events) > 0 && r.Position > 0
}

// declare looks at a command's type, once.
func declare[C decider.Command[S, E], S decider.State[S, E], E any](b *Bus[E]) declaration {
	t := reflect.TypeFor[C]()
	b.mu.RLock()
	d, known := b.commands[t]
	b.mu.RUnlock()
	if known {
		return d
	}
	d = declaration{name: decider.CommandName[C](), malformed: decider.CheckCommand[C, S, E](false)}
	d.unguarded = d.malformed == nil && decider.CheckCommand[C, S, E](true) != nil
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands[t] = d
	if d.malformed == nil && !d.unguarded && b.guarded == "" {
		b.guarded = d.name
	}
	return d
}

// admit refuses a command whose declaration is wrong, or that lacks Authorize among commands that have it.
func (b *Bus[E]) admit(d declaration) error {
	if d.malformed != nil {
		return d.malformed
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.admitLocked(d)
}

func (b *Bus[E]) admitLocked(d declaration) error {
	if d.unguarded && (b.guarded != "" || b.log.RequiresAuthorize()) {
		return &UnguardedError{Commands: []string{d.name}, Guarded: b.guarded}
	}
	return nil
}
