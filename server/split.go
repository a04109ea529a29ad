package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// preface is how a connection of HTTP/2 begins, and so of gRPC. No method of HTTP/1.1 does.
	preface = "PRI"
	// The names of the protocols in TLS.
	protocolGRPC, protocolHTTP = "h2", "http/1.1"
	// prefaceTimeout is how long a client may take to say the first bytes.
	prefaceTimeout = 10 * time.Second
	// acceptPause is after what time accepting is tried again, when it fails for a reason that passes: no file handle is left.
	acceptPause = 50 * time.Millisecond
)

// splitter takes connections of one listener apart: those of gRPC and those of HTTP/1.1. gRPC has its own transport, which is
// twice as fast as being a guest of net/http.
type splitter struct {
	listener   net.Listener
	grpc, http *branch
	tls        *tls.Config   // nil: connections are not encrypted
	room       chan struct{} // a token for each connection
	done       chan struct{} // closed by close
	once       sync.Once
	looking    sync.WaitGroup
}

func newSplitter(l net.Listener, connections int, encrypt *tls.Config) *splitter {
	s := &splitter{listener: l, tls: negotiating(encrypt), room: make(chan struct{}, connections), done: make(chan struct{})}
	s.grpc, s.http = newBranch(l.Addr()), newBranch(l.Addr())
	return s
}

// run accepts connections until the listener fails.
func (s *splitter) run() error {
	defer s.looking.Wait()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.done:
				return net.ErrClosed
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			select { // it may pass
			case <-time.After(acceptPause):
				continue
			case <-s.done:
				return net.ErrClosed
			}
		}
		select {
		case s.room <- struct{}{}:
			s.looking.Go(func() { s.look(&counted{Conn: c, room: s.room}) })
		default:
			_ = c.Close() // there is no room
		}
	}
}

// negotiating is a configuration by which clients get the protocol that is theirs. Clients of gRPC offer HTTP/2 alone; browsers offer it too, and
// are given HTTP/1.1.
func negotiating(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	plain, fast := c.Clone(), c.Clone()
	plain.NextProtos, fast.NextProtos = []string{protocolHTTP}, []string{protocolGRPC}
	fast.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 0 || slices.Contains(hello.SupportedProtos, protocolHTTP) {
			return plain, nil
		}
		return fast, nil
	}
	return fast
}

// look finds out what a connection is, and hands it on.
func (s *splitter) look(c *counted) {
	if s.tls != nil {
		s.shake(c)
		return
	}
	first := make([]byte, len(preface))
	_ = c.SetReadDeadline(time.Now().Add(prefaceTimeout)) // a connection that has no deadlines fails at the read
	stop := closeWith(s.done, c)
	n := 0
	for n < len(first) {
		m, err := c.Read(first[n:])
		if n += m; err != nil {
			stop()
			_ = c.Close()
			return
		}
	}
	if !stop() || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close()
		return
	}
	to := s.http
	if string(first) == preface {
		to = s.grpc
	}
	to.hand(&replayed{counted: c, first: first})
}

// shake does the handshake of TLS, which says what the connection is.
func (s *splitter) shake(c *counted) {
	encrypted := tls.Server(c, s.tls)
	ctx, cancel := context.WithTimeout(context.Background(), prefaceTimeout)
	defer cancel()
	stop := closeWith(s.done, c)
	err := encrypted.HandshakeContext(ctx)
	if !stop() || err != nil {
		_ = c.Close() // the client has been told by an alert
		return
	}
	to := s.http
	if encrypted.ConnectionState().NegotiatedProtocol == protocolGRPC {
		to = s.grpc
	}
	to.hand(encrypted)
}

// closeWith closes a connection once done is closed, unless it is stopped before, which stop tells.
func closeWith(done <-chan struct{}, c net.Conn) (stop func() bool) {
	stopped, ended := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-done:
			_ = c.Close()
			ended <- false
		case <-stopped:
			ended <- true
		}
	}()
	return func() bool {
		close(stopped)
		return <-ended
	}
}

// close ends accepting, and what is being looked at.
func (s *splitter) close() {
	s.once.Do(func() {
		close(s.done)
		_ = s.listener.Close() // there is nothing to do about it
	})
}

// counted is a connection that has a token.
type counted struct {
	net.Conn

	room chan struct{}
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { <-c.room })
	return c.Conn.Close()
}

// replayed is a connection whose first bytes were read.
type replayed struct {
	*counted

	first []byte
}

func (c *replayed) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.counted.Read(b)
}

// branch is a listener of the connections of one kind.
type branch struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newBranch(addr net.Addr) *branch {
	return &branch{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (b *branch) hand(c net.Conn) {
	select {
	case b.conns <- c:
	case <-b.done:
		_ = c.Close() // nobody serves it
	}
}

// Accept implements net.Listener.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (b *branch) Close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

// Addr implements net.Listener.
func (b *branch) Addr() net.Addr { return b.addr }
