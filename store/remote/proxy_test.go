package remote_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy passes bytes on, and cuts connections: some time after they were made, at any byte, in either direction.
type proxy struct {
	listener net.Listener
	to       atomic.Pointer[string]
	cuts     atomic.Int64
	down     atomic.Bool // connections are cut at once

	mu   sync.Mutex
	rng  *rand.Rand // guarded by mu
	open map[net.Conn]struct{}
	all  sync.WaitGroup
}

// newProxy passes on to an address. Connections live for up to longest; 0 never cuts by itself.
func newProxy(t *testing.T, to string, seed uint64, longest time.Duration) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, rng: rand.New(rand.NewPCG(seed, 0)), open: map[net.Conn]struct{}{}}
	p.to.Store(&to)
	p.all.Go(func() { p.accept(longest) })
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept(longest time.Duration) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.down.Load() {
			_ = c.Close() // that is what is wanted
			continue
		}
		server, err := net.Dial("tcp", *p.to.Load())
		if err != nil {
			_ = c.Close() // as a server that is not there
			continue
		}
		p.mu.Lock()
		p.open[c], p.open[server] = struct{}{}, struct{}{}
		life := time.Duration(0)
		if longest > 0 {
			life = time.Duration(p.rng.Int64N(int64(longest)))
		}
		p.mu.Unlock()
		if life > 0 {
			timer := time.AfterFunc(life, func() {
				p.cuts.Add(1)
				_, _ = c.Close(), server.Close() // whichever it is that dies first
			})
			_ = timer
		}
		p.all.Go(func() { p.pass(c, server) })
		p.all.Go(func() { p.pass(server, c) })
	}
}

// pass copies until either end is closed, and closes both.
func (p *proxy) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from) // an error is an end
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, from)
}

// cut cuts all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			continue // it is gone by itself
		}
	}
}
