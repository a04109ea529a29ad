package peer

import (
	"context"
	"sync"

	"github.com/annalsdb/annals"
)

// committer commits for all who wait, one transaction after the other: what came while the last was synced goes into the
// next. Nobody waits for a timer.
type committer struct {
	requests chan *request
	ended    sync.WaitGroup
}

// request is an append that waits.
type request struct {
	events  []annals.Event
	records [][]byte // the events as bytes, made by whoever appends
	conds   []annals.Condition
	err     error // written before done is closed
	done    chan struct{}
}

// commitMost is how many appends one transaction takes.
const commitMost = 1024

// newCommitter begins. Commit makes the requests durable, and sets the error of each that it refuses; what it returns is the
// error of all.
func newCommitter(commit func([]*request) error) *committer {
	c := &committer{requests: make(chan *request, commitMost)}
	c.ended.Go(func() {
		var group []*request
		for first := range c.requests {
			group = append(group[:0], first)
			for more := true; more && len(group) < commitMost; {
				select {
				case r, ok := <-c.requests:
					if more = ok; ok {
						group = append(group, r)
					}
				default:
					more = false
				}
			}
			err := commit(group)
			for _, r := range group {
				if err != nil {
					r.err = err
				}
				close(r.done)
			}
		}
	})
	return c
}

// append waits for the commit. An append that was handed over is not taken back.
func (c *committer) append(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	select {
	case c.requests <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-r.done
	return r.err
}

// close ends it. Nobody may append any more.
func (c *committer) close() {
	close(c.requests)
	c.ended.Wait()
}

// encodeAll makes the records of an append.
func encodeAll(events []annals.Event) [][]byte {
	records := make([][]byte, len(events))
	for i := range events {
		records[i] = encode(&events[i])
	}
	return records
}

// heads are the lengths of streams, kept by the one who writes. Those it does not know it looks up.
type heads struct {
	known  map[string]uint64
	lookUp func(stream string) (events uint64, err error)
}

func newHeads(lookUp func(string) (uint64, error)) *heads {
	return &heads{known: map[string]uint64{}, lookUp: lookUp}
}

func (h *heads) of(stream string) (uint64, error) {
	if n, ok := h.known[stream]; ok {
		return n, nil
	}
	n, err := h.lookUp(stream)
	if err == nil {
		h.known[stream] = n
	}
	return n, err
}

// check evaluates the conditions on streams. Others are annals.ErrUnsupported.
func (h *heads) check(conds []annals.Condition) error {
	for _, c := range conds {
		n, err := h.of(c.Stream())
		if err != nil {
			return err
		}
		holds := false
		switch c.Kind() {
		case annals.KindNoStream:
			holds = n == 0
		case annals.KindStreamExists:
			holds = n > 0
		case annals.KindStreamAt:
			holds = n > 0 && uint64(c.Revision()) == n-1
		default:
			return annals.ErrUnsupported
		}
		if !holds {
			return annals.ErrConflict
		}
	}
	return nil
}

// next counts one more event of a stream, and tells its revision.
func (h *heads) next(stream string) (revision uint64, err error) {
	n, err := h.of(stream)
	if err == nil {
		h.known[stream] = n + 1
	}
	return n, err
}

// forget is for transactions that failed.
func (h *heads) forget() { clear(h.known) }

// soleItem is the one alternative of a query; others are not asked for by the workloads.
func soleItem(q annals.Query) (annals.Item, bool) {
	items := q.Items()
	if len(items) != 1 {
		return annals.Item{}, false
	}
	return items[0], items[0].Category == "" && items[0].ID.IsZero()
}
