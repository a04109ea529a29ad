package live

import "sync"

// inbox is the frames that are to be looked at. It is bounded: when frames come faster than they are looked at, it
// flows over, and all are dropped.
type inbox struct {
	bytesMax int
	work     chan struct{} // with room for one: there is something to do

	mu        sync.Mutex
	frames    []bulletin
	bytes     int
	overflown bool     // until the hub has dealt with it, nothing more is taken
	spare     [][]byte // buffers of frames that have been looked at
}

// bulletin is a frame that has become visible.
type bulletin struct {
	bytes []byte
	last  uint64 // its last position
}

// Buffers that are kept to be used again.
const (
	sparesMax     = 4
	spareBytesMax = 1 << 20
)

// put queues a copy of f.
func (b *inbox) put(last uint64, f []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.overflown {
		return
	}
	if b.bytes+len(f) > b.bytesMax {
		b.overflowLocked()
		return
	}
	var buf []byte
	if n := len(b.spare); n > 0 {
		buf, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	buf = append(buf[:0], f...)
	b.frames = append(b.frames, bulletin{buf, last})
	b.bytes += len(buf)
	b.signal()
}

func (b *inbox) overflow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.overflowLocked()
}

func (b *inbox) overflowLocked() {
	b.frames, b.bytes, b.overflown = nil, 0, true
	b.signal()
}

// take is the next frame, or says that frames were dropped, which is asked for once.
func (b *inbox) take() (f bulletin, overflown, some bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.overflown {
		b.overflown = false
		return bulletin{}, true, false
	}
	if len(b.frames) == 0 {
		return bulletin{}, false, false
	}
	f = b.frames[0]
	b.frames[0] = bulletin{}
	if b.frames = b.frames[1:]; len(b.frames) == 0 {
		b.frames = nil
	}
	b.bytes -= len(f.bytes)
	return f, false, true
}

// recycle takes back the buffer of a frame that nobody looks at any more.
func (b *inbox) recycle(f bulletin) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spare) < sparesMax && cap(f.bytes) <= spareBytesMax {
		b.spare = append(b.spare, f.bytes)
	}
}

func (b *inbox) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames, b.bytes, b.overflown, b.spare = nil, 0, false, nil
}

func (b *inbox) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

// signal wakes the hub's goroutine.
func (b *inbox) signal() {
	select {
	case b.work <- struct{}{}:
	default:
	}
}
