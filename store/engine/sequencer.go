package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
)

// sequencer is the queue of appends and the baton: the right to take from the queue, to pack a frame and to give it
// to the journal. It is no goroutine: whoever finds the baton lying takes it, and hands it on when its own append is
// decided. Only when the journal leaves an outcome open does a goroutine of the store's own take it.
type sequencer struct {
	mu     sync.Mutex
	idle   *sync.Cond // signalled when the baton is laid down
	queue  []*request
	bytes  int // of the queue's records
	held   bool
	closed bool
	fault  error // why appends are refused; matches annals.ErrReadOnly

	// What follows belongs to whoever holds the baton.
	end    end
	delta  delta
	buf    []byte // of the last frame
	single int    // how many frames are to hold one append only
	many   bool   // whether the last frame held several
}

// bufBytesMax is the largest buffer that is kept for the next frame.
const bufBytesMax = 4 << 20

// submit queues r and waits for its verdict.
func (s *Store) submit(ctx context.Context, r *request) verdict {
	q := &s.sequencer
	q.mu.Lock()
	if err := q.admitLocked(r, &s.config); err != nil {
		q.mu.Unlock()
		return verdict{err: err}
	}
	lead := !q.held
	q.held = true
	q.mu.Unlock()
	if lead {
		s.lead(ctx, r)
	}
	for {
		select {
		case <-r.wake:
			if v, settled := q.answer(r); settled {
				return v
			}
			s.lead(ctx, r)
		case <-ctx.Done():
			return s.abandon(ctx, r)
		}
	}
}

// answer is the verdict on r, or else the baton, for which r was woken.
func (q *sequencer) answer(r *request) (verdict, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.offered = false
	return r.verdict, r.state == decided
}

func (q *sequencer) admitLocked(r *request, c *Config) error {
	if err := q.refusalLocked(); err != nil {
		return err
	}
	if len(q.queue) >= c.QueueAppends || q.bytes >= c.QueueBytes { // so that the largest append gets in too
		return annals.ErrOverloaded
	}
	r.state, r.verdict = queued, verdict{}
	q.queue = append(q.queue, r)
	q.bytes += len(r.records)
	return nil
}

// abandon is what becomes of r if its caller leaves now.
func (s *Store) abandon(ctx context.Context, r *request) verdict {
	q := &s.sequencer
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.state == decided {
		return r.verdict
	}
	outcome := &annals.OutcomeError{Unknown: r.state == packed, Cause: contextEnd(ctx)}
	r.gone = true // should it come back to the queue, nobody would take the baton
	if r.state == queued {
		q.removeLocked(r)
	}
	if r.offered {
		q.handOnLocked()
	}
	return verdict{err: outcome}
}

func (q *sequencer) removeLocked(r *request) {
	for i, other := range q.queue {
		if other == r {
			q.queue = append(q.queue[:i], q.queue[i+1:]...)
			q.bytes -= len(r.records)
			break
		}
	}
	r.state = idle
}

// lead holds the baton until own is decided, or the journal leaves an outcome open.
func (s *Store) lead(ctx context.Context, own *request) {
	q := &s.sequencer
	var batch []*request
	led := false
	defer func() {
		if !led { // a clock or a logger of the program's panicked: others must not wait for ever
			q.abort(batch)
		}
	}()
	for {
		if q.many {
			runtime.Gosched() // those who were just acknowledged are about to come back: let them join
		}
		batch = q.take(&s.config)
		given := false
		switch {
		case len(batch) == 1 && batch[0] == own:
			given = s.commit(ctx, batch, own)
		case len(batch) > 0:
			given = s.commit(context.WithoutCancel(ctx), batch, own)
		}
		if given || q.handOver(own) {
			led = true
			return
		}
	}
}

// errPanicked is why a store takes no appends any more.
var errPanicked = errors.New("engine: a panic interrupted the writing of a frame")

// abort ends writing: what became of a batch is not known, nor whether the sequencer's state is of one piece.
func (q *sequencer) abort(batch []*request) {
	q.refuse(readOnly(errPanicked))
	q.mu.Lock()
	for _, r := range batch {
		if r.state != decided {
			r.decideLocked(verdict{err: &annals.OutcomeError{Unknown: true, Cause: errPanicked}})
		}
	}
	q.mu.Unlock()
	q.handOver(nil)
}

// take takes from the queue what fits into one frame.
func (q *sequencer) take(c *Config) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.decideLocked(q.queue, verdict{err: &annals.OutcomeError{Cause: annals.ErrClosed}})
		q.dropLocked(len(q.queue))
	} else if q.fault != nil {
		q.decideLocked(q.queue, verdict{err: q.fault})
		q.dropLocked(len(q.queue))
	}
	n, bytes, events := 0, 0, 0
	for n < len(q.queue) && (n == 0 || q.single == 0) {
		r := q.queue[n]
		if n > 0 && (bytes+len(r.records) > c.FrameBytes || events+len(r.events) > c.FrameEvents) {
			break
		}
		bytes += len(r.records)
		events += len(r.events)
		r.state = packed
		n++
	}
	batch := append([]*request(nil), q.queue[:n]...)
	q.dropLocked(n)
	q.single = max(q.single-1, 0)
	q.many = n > 1
	return batch
}

// dropLocked forgets the first n of the queue.
func (q *sequencer) dropLocked(n int) {
	for _, r := range q.queue[:n] {
		q.bytes -= len(r.records)
	}
	rest := copy(q.queue, q.queue[n:])
	clear(q.queue[rest:])
	q.queue = q.queue[:rest]
}

// requeue puts a batch back, to be packed one by one. Those whose callers have left have had their answer.
func (q *sequencer) requeue(batch []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch = slices.DeleteFunc(batch, func(r *request) bool { return r.gone })
	for _, r := range batch {
		r.state = queued
		q.bytes += len(r.records)
	}
	q.queue = append(batch, q.queue...)
	q.single = len(batch)
}

// handOver gives the baton away if own, which may be nil, is decided.
func (q *sequencer) handOver(own *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if own != nil && own.state != decided {
		return false
	}
	q.handOnLocked()
	return true
}

// handOnFrom gives the baton away if own has been packed, or decided.
func (q *sequencer) handOnFrom(own *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if own.state == queued {
		return false
	}
	q.handOnLocked()
	return true
}

// handOnLocked gives the baton to the next that waits, or lays it down.
func (q *sequencer) handOnLocked() {
	if len(q.queue) > 0 {
		next := q.queue[0]
		next.offered = true
		next.wakeUp()
		return
	}
	q.held = false
	q.idle.Broadcast()
}

// decide gives all of them the same verdict.
func (q *sequencer) decide(batch []*request, v verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.decideLocked(batch, v)
}

func (q *sequencer) decideLocked(batch []*request, v verdict) {
	for _, r := range batch {
		r.decideLocked(v)
	}
}

// decideLocked tells the caller, if it is still there: nobody else looks at r then.
func (r *request) decideLocked(v verdict) {
	r.state, r.verdict = decided, v
	r.wakeUp()
}

// wakeUp makes the caller look at its request. If it is about to anyway, that is enough.
func (r *request) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// unpack notes that these are in no frame.
func (q *sequencer) unpack(batch []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range batch {
		r.state = unpacked
	}
}

// refuse refuses all appends from now on.
func (q *sequencer) refuse(fault error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fault == nil {
		q.fault = fault
	}
}

func (q *sequencer) refusal() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refusalLocked()
}

func (q *sequencer) refusalLocked() error {
	if q.closed {
		return annals.ErrClosed
	}
	return q.fault
}

// close refuses everything and waits until the baton lies.
func (q *sequencer) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.held {
		q.idle.Wait()
	}
}

func (q *sequencer) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Queued: len(q.queue), ReadOnly: q.fault}
}
