package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

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
// annals.ErrClosed. It may run beside everything else.
func (d *Dir) Verify(ctx context.Context) (Report, error) {
	r := Report{Damage: slices.Clone(d.recovery.Damage)}
	head, _, err := d.state()
	if err != nil {
		return r, err
	}
	frames := &reader{d: d, seq: 1, yield: func(f []byte, err error) bool { return r.count(f, err) }}
	for r.failed == nil && frames.seq <= head.seq {
		frames.upto(ctx, head.seq)
	}
	if r.failed != nil {
		return r, r.failed
	}
	for _, s := range d.all() {
		if err := ended(ctx); err != nil {
			return r, err
		}
		err := d.verifyFile(ctx, s, &r)
		if _, _, open := d.state(); errors.Is(err, annals.ErrClosed) && open == nil {
			continue // a spare segment, which a larger one has replaced meanwhile
		}
		if err != nil {
			return r, err
		}
		r.Segments++
	}
	return r, nil
}

func (d *Dir) verifyFile(ctx context.Context, s *segment, r *Report) error {
	v, err := d.view(ctx, s)
	if err != nil {
		err = closedError(err)
		if errors.Is(err, annals.ErrClosed) {
			return err
		}
		r.add(&annals.DataLossError{File: s.name(), Reason: err.Error()})
		return nil
	}
	if s.absent {
		return nil // opening has said so
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
		err = verifySealed(v)
	}
	if err := closedError(err); errors.Is(err, annals.ErrClosed) {
		return err
	}
	if err != nil {
		r.add(&annals.DataLossError{File: v.name(), Reason: err.Error()})
	}
	return nil
}

// verifySealed compares the footer with the frames, and the sum of the file with the manifest.
func verifySealed(v *view) error {
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
	sum, err := sumOf(v.file, v.bodyEnd, footer)
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

// sumOf is the SHA-256 of the first bytes of a file and those that follow.
func sumOf(f io.ReaderAt, size int64, more []byte) (sum [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, min(size, blockBytes))
	n, err := io.CopyBuffer(onlyWriter{h}, onlyReader{io.NewSectionReader(f, 0, size)}, buf)
	if err == nil && n < size {
		err = damaged("the file ends")
	}
	_, _ = h.Write(more) // hashes never fail
	return [32]byte(h.Sum(nil)), err
}

// onlyWriter and onlyReader keep io.CopyBuffer from finding a way around the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// count notes a frame, or its loss.
func (r *Report) count(f []byte, err error) bool {
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
