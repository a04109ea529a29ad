package rpc

import (
	"sync"

	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// callsMax is how many appends are remembered after they were answered.
const callsMax = 1 << 16

// calls remembers appends by the number that the client gave to the call, so that one that is sent again, since its answer was lost, is
// given the same answer: the store knows events by their ids, but not who has written them, and what has no event it does not know at
// all. After a restart nothing is remembered, and the store answers as to anybody.
type calls struct {
	mu   sync.Mutex
	open map[string]*call // guarded by mu
	ring [callsMax]string // those that were answered, guarded by mu
	next int
}

// call is an append that is under way, or was answered.
type call struct {
	done   chan struct{}
	answer *annalsv1.AppendResponse // nil if it failed; set before done is closed
}

// once calls f, unless the same call was answered before, or is under way: then it is waited for. One that failed is tried again.
func (c *calls) once(store string, number []byte, f func() (*annalsv1.AppendResponse, error)) (*annalsv1.AppendResponse, error) {
	if len(number) == 0 {
		return f()
	}
	key := store + "/" + string(number)
	for {
		before, mine := c.begin(key)
		if before == nil {
			answer, err := f()
			c.end(key, mine, answer)
			return answer, err
		}
		<-before.done // as long as an append takes
		if before.answer != nil {
			return before.answer, nil
		}
	}
}

// begin is the call of this number, if there is one, or a new one.
func (c *calls) begin(key string) (before, mine *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before = c.open[key]; before != nil {
		return before, nil
	}
	if c.open == nil {
		c.open = map[string]*call{}
	}
	mine = &call{done: make(chan struct{})}
	c.open[key] = mine
	return nil, mine
}

func (c *calls) end(key string, mine *call, answer *annalsv1.AppendResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mine.answer = answer; answer == nil {
		delete(c.open, key)
	} else {
		delete(c.open, c.ring[c.next])
		c.ring[c.next] = key
		c.next = (c.next + 1) % callsMax
	}
	close(mine.done)
}
