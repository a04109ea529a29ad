package outbox

import (
	"cmp"
	"context"
	"slices"

	"github.com/annalsdb/annals"
)

// window is what is under way, in the order of the log. It is guarded by the relay's mutex.
type window struct {
	done      annals.Position // everything up to here was published
	published bool            // a message was since the position was stored
	open      []step          // what lies behind, in order
	waiting   int             // messages
	room      chan struct{}   // closed, and made anew, when there is room
}

// step is a position, and how many of its messages are not published yet.
type step struct {
	position annals.Position
	left     int
}

func newWindow(at annals.Position) window { return window{done: at, room: make(chan struct{})} }

// enter takes a position with its messages, when there is room for it.
func (r *Running[E]) enter(ctx context.Context, p annals.Position, messages int) error {
	for {
		r.mu.Lock()
		w := &r.window
		if len(w.open) < r.Window {
			r.head = max(r.head, p)
			w.waiting += messages
			if n := len(w.open); messages == 0 && n > 0 && w.open[n-1].left == 0 {
				w.open[n-1].position = p // progress needs no place of its own
			} else {
				w.open = append(w.open, step{p, messages})
			}
			r.settleLocked()
			r.mu.Unlock()
			return nil
		}
		room := w.room
		r.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave says that a message of a position is published.
func (r *Running[E]) leave(p annals.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.window
	if i, ok := slices.BinarySearchFunc(w.open, p, func(s step, p annals.Position) int { return cmp.Compare(s.position, p) }); ok {
		w.open[i].left--
	}
	w.waiting--
	w.published = true
	r.settleLocked()
}

// settleLocked moves over what is done.
func (r *Running[E]) settleLocked() {
	w := &r.window
	n := 0
	for n < len(w.open) && w.open[n].left == 0 {
		n++
	}
	if n == 0 {
		return
	}
	w.done = w.open[n-1].position
	w.open = append(w.open[:0], w.open[n:]...)
	close(w.room)
	w.room = make(chan struct{})
	close(r.moved)
	r.moved = make(chan struct{})
}
