package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// Report is what [Dir.Verify] found.
type Report struct {
	// Segments, Frames and Events are what was read and verified.
	Segments int
	Frames   uint64
	Events   uint64
	// Damage is everything that does not verify: what opening found, then the rest in the order of the log.
	Damage []*annals.DataLossError
	failed error
}

// Verify reads everything that is durable now: each frame and record with its sums, the chain of hashes, headers, footers,
// trailers and the sums of whole files. It lists all damage and does not stop at the first. The error is that of ctx, or
// annals.ErrClosed. It may run beside everything else, and takes two processors.
func (d *Dir) Verify(ctx context.Context, opts ...VerifyOption) (Report, error) {
	r := Report{Damage: slices.Clone(d.recovery.Damage)}
	head, _, err := d.state()
	if err != nil {
		return r, err
	}
	segments := d.holdAll()
	defer func() {
		for _, s := range segments {
			d.letGo(s)
		}
	}()
	p := d.progressOf(segments, opts)
	ctx, cancel := context.WithCancel(ctx)
	files := make([]fileReport, len(segments))
	sum := func() {
		for i, s := range segments {
			if files[i].err = ended(ctx); files[i].err != nil {
				return
			}
			files[i] = d.verifyFile(ctx, s, p)
		}
	}
	// The sums of the files are taken beside, since they take about as long as the frames do.
	var summing sync.WaitGroup
	defer summing.Wait()
	defer cancel()
	if !d.o.Foreground {
		summing.Go(sum)
	}
	frames := &reader{d: d, seq: 1, yield: func(f []byte, err error) bool { return r.count(f, err, p) }}
	for r.failed == nil && frames.seq <= head.seq {
		frames.upto(ctx, head.seq)
	}
	if r.failed != nil {
		return r, r.failed
	}
	if summing.Wait(); d.o.Foreground {
		sum()
	}
	for _, f := range files {
		if _, _, open := d.state(); errors.Is(f.err, annals.ErrClosed) && open == nil {
			continue // a spare segment, which a larger one has replaced meanwhile
		}
		if f.err != nil {
			return r, f.err
		}
		if f.loss != nil {
			r.add(f.loss)
		}
		r.Segments++
	}
	p.finish()
	return r, nil
}

// VerifyOption adjusts [Dir.Verify].
type VerifyOption func(*progress)

// Progress has do called as the work goes on, with how many bytes were read, and how many there are to be read: each file is read
// twice. It is called from several goroutines, one at a time, about a hundred times in all, and last with done equal to total.
func Progress(do func(done, total int64)) VerifyOption { return func(p *progress) { p.tell = do } }

// progress counts bytes. The zero progress tells nobody.
type progress struct {
	tell  func(done, total int64)
	total int64

	mu         sync.Mutex
	done, told int64
}

func (d *Dir) progressOf(segments []*segment, opts []VerifyOption) *progress {
	p := &progress{}
	for _, o := range opts {
		o(p)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range segments {
		p.total += s.bytes()
		if s.state == stateSealed {
			p.total += s.size
		}
	}
	return p
}

// bytes is how much of a segment is frames. The caller holds the lock of the Dir.
func (s *segment) bytes() int64 {
	switch s.state {
	case stateNext:
		return 0
	case stateActive:
		return s.end - headerBytes
	}
	return s.bodyEnd - headerBytes
}

const progressSteps = 100

func (p *progress) add(n int64) {
	if p.tell == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done = min(p.done+n, p.total); p.done-p.told > p.total/progressSteps && p.done < p.total {
		p.told = p.done
		p.tell(p.done, p.total)
	}
}

func (p *progress) finish() {
	if p.tell != nil {
		p.tell(p.total, p.total)
	}
}

// holdAll are the segments, the next one included, which stay until they are let go.
func (d *Dir) holdAll() []*segment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := slices.Clone(d.segments)
	if d.next != nil {
		all = append(all, d.next)
	}
	for _, s := range all {
		s.readers.Add(1)
	}
	return all
}

// fileReport is what the file of a segment shows beside its frames.
type fileReport struct {
	loss *annals.DataLossError
	err  error
}

func (d *Dir) verifyFile(ctx context.Context, s *segment, p *progress) fileReport {
	v, err := d.view(ctx, s)
	if err != nil {
		return reportOf(s, err)
	}
	if s.absent {
		return fileReport{} // opening has said so
	}
	b := make([]byte, headerBytes)
	n, err := v.file.ReadAt(b, 0)
	if err == nil || errors.Is(err, io.EOF) {
		var h header
		h, err = decodeHeader(v.name(), b[:n])
		if err == nil && (h.salt != v.salt || h.no != v.no || h.generation != v.generation) {
			err = damaged("this is another segment than the manifest's")
		}
	}
	if err == nil && v.state == stateSealed {
		err = verifySealed(ctx, v, p)
	}
	if cause := ended(ctx); cause != nil {
		return fileReport{err: cause}
	}
	return reportOf(s, err)
}

func reportOf(s *segment, err error) fileReport {
	switch err := closedError(err); {
	case err == nil:
		return fileReport{}
	case errors.Is(err, annals.ErrClosed):
		return fileReport{err: err}
	default:
		return fileReport{loss: &annals.DataLossError{File: s.name(), Reason: err.Error()}}
	}
}

// verifySealed compares the footer with the frames, and the sum of the file with the manifest.
func verifySealed(ctx context.Context, v *view, p *progress) error {
	b := make([]byte, v.size-v.bodyEnd)
	if n, err := v.file.ReadAt(b, v.bodyEnd); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return damaged("the file ends")
		}
		return err
	}
	t, err := decodeTrailer(b[max(0, len(b)-trailerBytes):])
	if err != nil {
		return err
	}
	footer := b[:len(b)-trailerBytes]
	sum, err := sumOf(counted{ctx, v.file, p}, v.bodyEnd, footer)
	p.add(v.size - v.bodyEnd)
	switch {
	case err != nil:
		return err
	case sum != v.sum || !t.seals(v.entry) || t.sum != v.sum:
		return damaged("the sum of the file")
	case !bytes.Equal(footer, encodeFooter(&v.table, v.bodyEnd)):
		return damaged("the footer is not that of the frames")
	}
	return nil
}

// counted tells of what is read, until ctx ends.
type counted struct {
	ctx context.Context //nolint:containedctx // of one call
	io.ReaderAt
	p *progress
}

func (c counted) ReadAt(b []byte, off int64) (int, error) {
	if err := ended(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.ReaderAt.ReadAt(b, off)
	c.p.add(int64(n))
	return n, err
}

// sumOf is the SHA-256 of the first bytes of a file and those that follow.
func sumOf(f io.ReaderAt, size int64, more []byte) (sum [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, min(size, politeBytes))
	n, err := io.CopyBuffer(politeWriter{h}, onlyReader{io.NewSectionReader(f, 0, size)}, buf)
	if err == nil && n < size {
		err = damaged("the file ends")
	}
	_, _ = h.Write(more) // hashes never fail
	return [32]byte(h.Sum(nil)), err
}

// politeBytes is how much background work does before it lets others on: an append that comes back from the device
// would wait for a processor for as long as ten milliseconds, if all were busy with it.
const politeBytes = 64 << 10

// politeWriter lets others on, and onlyReader keeps io.CopyBuffer from finding a way around the buffer.
type (
	politeWriter struct{ io.Writer }
	onlyReader   struct{ io.Reader }
)

func (w politeWriter) Write(b []byte) (int, error) {
	runtime.Gosched()
	return w.Writer.Write(b)
}

// count notes a frame, or its loss.
func (r *Report) count(f []byte, err error, p *progress) bool {
	p.add(int64(len(f)) + envelopeBytes)
	var loss *annals.DataLossError
	switch {
	case errors.As(err, &loss):
		r.add(loss)
	case err != nil:
		r.failed = err
		return false
	default:
		h, _ := frame.ParseHeader(f) // it was verified
		r.Frames++
		r.Events += uint64(h.EventCount)
	}
	return true
}

// add lists a damage once.
func (r *Report) add(loss *annals.DataLossError) {
	known := slices.ContainsFunc(r.Damage, func(l *annals.DataLossError) bool {
		return l.File == loss.File && l.First == loss.First && l.Last == loss.Last
	})
	if !known {
		r.Damage = append(r.Damage, loss)
	}
}
