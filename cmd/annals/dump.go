package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

// How deep a dump goes.
const (
	depthSegments = "segments"
	depthFrames   = "frames"
	depthRecords  = "records"
)

// dumpFlags are what `annals dump` can be asked for.
type dumpFlags struct {
	output output
	depth  string
	file   string
}

func newDump() *cobra.Command {
	var f dumpFlags
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print what lies where in a store's directory",
		Long: `Prints the physical structure of a store: manifests, segments, frames with their envelopes, records, footers. It shows
what is there and goes on where something does not verify; annals verify judges. What events hold is not printed: see annals
read. The directory is opened read-only: another process may have it open, and frames that are not durable yet are left out.`,
		Example: `  annals dump annals-data/store --depth segments
  annals dump annals-data/store --file 00000001-001.seg`,
		Args: argsNamed("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.output.flag(cmd)
	cmd.Flags().StringVar(&f.depth, "depth", depthRecords, "how deep to go, a `LEVEL`: segments, frames or records")
	cmd.Flags().StringVar(&f.file, "file", "", "this `FILE` of the directory only")
	return cmd
}

func (f *dumpFlags) run(cmd *cobra.Command, dir string) (err error) {
	if !slices.Contains([]string{depthSegments, depthFrames, depthRecords}, f.depth) {
		return usageError{fmt.Errorf("--depth %q: there are segments, frames and records", f.depth)}
	}
	if err := checkStore(dir); err != nil {
		return err
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	d := &dumper{dir: dir, depth: f.depth, out: out}
	if d.last, err = lastDurable(cmd.Context(), dir); err != nil {
		return err
	}
	return d.all(cmd.Context(), f.file)
}

// lastDurable is the number of the last frame that is durable. Where damage leaves that in doubt all there is counts: a
// dump is to show it.
func lastDurable(ctx context.Context, dir string) (uint64, error) {
	i, err := disk.Inspect(ctx, dir)
	if errors.Is(err, annals.ErrDataLoss) {
		return math.MaxUint64, nil
	}
	if err != nil {
		return 0, err
	}
	r := i.Recovery()
	if len(r.Damage) > 0 {
		r.Frames = math.MaxUint64
	}
	return r.Frames, i.Close()
}

// dumper prints files. It only reads them.
type dumper struct {
	dir, depth string
	last       uint64 // no frame after this one is printed
	out        *printer
}

// all prints the files of the directory, or the only one.
func (d *dumper) all(ctx context.Context, only string) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	if only != "" && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == only }) {
		return usageError{fmt.Errorf("--file %q: there is no such file in %s", only, d.dir)}
	}
	for _, e := range entries {
		if only != "" && e.Name() != only {
			continue
		}
		err := d.file(ctx, e)
		if errors.Is(err, fs.ErrNotExist) { // its writer has removed it meanwhile
			continue
		}
		if err != nil {
			return err
		}
		if d.out.err != nil {
			return d.out.err
		}
	}
	return nil
}

func (d *dumper) file(ctx context.Context, e os.DirEntry) error {
	name := e.Name()
	switch {
	case segment.IsManifest(name):
		return d.manifest(name)
	case segment.IsSegment(name):
		return d.segment(ctx, name)
	case e.IsDir():
		return nil
	}
	info, err := e.Info()
	if err == nil {
		d.print(0, &otherDump{Kind: "file", File: name, Size: info.Size()})
	}
	return err
}

func (d *dumper) manifest(name string) error {
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return err
	}
	m, problem := segment.ReadManifest(b)
	line := &manifestDump{Kind: "manifest", File: name, Problem: text(problem)}
	if m != nil {
		line.manifestFields = manifestOf(m)
	}
	d.print(0, line)
	return nil
}

func (d *dumper) segment(ctx context.Context, name string) error {
	f, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return err
	}
	s := &segmentDumper{dumper: d, f: f, name: name}
	err = s.run(ctx)
	return errors.Join(err, f.Close())
}

// print writes a line: of a tree for people, or an object.
func (d *dumper) print(depth int, l line) {
	if d.out.json != nil {
		d.out.object(l)
		return
	}
	d.out.line("%*s%s", 2*depth, "", printable(l.text()))
	if m, ok := l.(*manifestDump); ok && m.manifestFields != nil {
		for _, s := range m.Segments {
			d.out.line("  %s", s.text())
		}
	}
}

// segmentDumper prints one segment.
type segmentDumper struct {
	*dumper
	f    *os.File
	name string
	buf  []byte

	store frame.StoreID
	salt  [16]byte
	prev  *frame.Header // of the frame before, nil if it is not known
}

func (s *segmentDumper) run(ctx context.Context) error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	b, err := s.at(0, segment.HeaderBytes)
	if err != nil {
		return err
	}
	h, problem := segment.ReadHeader(b)
	line := &segmentDump{Kind: "segment", File: s.name, Size: info.Size(), Problem: text(problem)}
	if h == nil {
		s.print(0, line)
		return nil // without its salt nothing in it can be told
	}
	s.salt, s.store = h.Salt, h.Store
	line.segmentFields = &segmentFields{
		Number: h.Number, Generation: h.Generation, Format: h.Format, Store: h.Store[:], Incarnation: h.Incarnation,
		Salt: h.Salt[:], Capacity: h.Capacity,
	}
	s.print(0, line)
	if s.depth == depthSegments {
		return nil
	}
	end, trailer, err := s.end(info.Size())
	if err != nil {
		return err
	}
	if err := s.body(ctx, end); err != nil {
		return err
	}
	return s.footer(end, info.Size(), trailer)
}

// at reads n bytes, or fewer at the end of the file, which are lent until the next call.
func (s *segmentDumper) at(off int64, n int) ([]byte, error) {
	s.buf = slices.Grow(s.buf[:0], n)[:n]
	n, err := s.f.ReadAt(s.buf, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return s.buf[:n], err
}

// end is where the frames end at the latest: before the footer, if there is one.
func (s *segmentDumper) end(size int64) (int64, *trailerLine, error) {
	if size < segment.HeaderBytes+segment.TrailerBytes {
		return size, nil, nil
	}
	b, err := s.at(size-segment.TrailerBytes, segment.TrailerBytes)
	if err != nil {
		return 0, nil, err
	}
	t, problem := segment.ReadTrailer(b)
	if t == nil || t.FooterSize > size-segment.TrailerBytes-segment.HeaderBytes {
		return size, nil, nil
	}
	return size - segment.TrailerBytes - t.FooterSize, &trailerLine{t, problem}, nil
}

// trailerLine is a trailer, and what is wrong with it.
type trailerLine struct {
	*segment.TrailerLayout
	problem error
}

// body prints the frames, and what lies between them.
func (s *segmentDumper) body(ctx context.Context, end int64) error {
	for off := int64(segment.HeaderBytes); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, problem, err := s.envelope(off, end)
		if err != nil {
			return err
		}
		if problem != nil {
			if off, err = s.gap(off, end, problem); err != nil {
				return err
			}
			continue
		}
		b, err := s.at(off+segment.EnvelopeBytes, e.Size)
		if err != nil {
			return err
		}
		if e.Frame > s.last {
			s.later(off, end, e, b)
			return nil
		}
		s.frame(off, e, b)
		off += segment.EnvelopeBytes + int64(e.Size)
	}
	return nil
}

func (s *segmentDumper) envelope(off, end int64) (e segment.EnvelopeLayout, problem, err error) {
	b, err := s.at(off, int(min(segment.EnvelopeBytes+frame.HeaderBytes, end-off)))
	if err != nil {
		return e, nil, err
	}
	e, problem = segment.ReadEnvelope(b, s.salt, off)
	if problem == nil && int64(e.Size) > end-off-segment.EnvelopeBytes {
		problem = fmt.Errorf("envelope of a frame of %d bytes, which does not fit", e.Size)
	}
	return e, problem, nil
}

// later prints that something follows the last durable frame: what somebody writes now, or could not write to its end.
func (s *segmentDumper) later(off, end int64, e segment.EnvelopeLayout, b []byte) {
	state := "verifies, and is not known to be durable"
	if _, problem := frame.Verify(b, s.store); problem != nil {
		state = "is not written to its end: " + problem.Error()
	}
	s.print(1, &gapDump{
		Kind: "later", File: s.name, Offset: off, Size: end - off,
		Reason: fmt.Sprintf("the log ends with frame %d; frame %d %s", s.last, e.Frame, state),
	})
}

// frame prints the frame b and its records.
func (s *segmentDumper) frame(off int64, e segment.EnvelopeLayout, b []byte) {
	h, problem := frame.ParseHeader(b)
	line := &frameDump{Kind: "frame", File: s.name, Offset: off, Size: e.Size, Frame: e.Frame, Durable: e.Durable, Problem: text(problem)}
	if problem != nil {
		s.print(1, line)
		s.prev = nil
		return
	}
	if _, problem = frame.Verify(b, s.store); problem == nil && s.prev != nil && (h.Seq != s.prev.Seq+1 || h.PrevHash != s.prev.Hash) {
		problem = fmt.Errorf("it does not follow frame %d", s.prev.Seq)
	}
	line.Problem = text(problem)
	line.frameFields = &frameFields{
		Epoch: h.Epoch, FirstPosition: h.FirstPosition, LastPosition: h.LastPosition(), Time: h.Time,
		PreviousHash: h.PrevHash[:], Hash: h.Hash[:],
	}
	s.prev = &h
	s.print(1, line)
	if s.depth == depthRecords {
		for at, r := range frame.Records(b) {
			s.record(off+segment.EnvelopeBytes+int64(at), r)
		}
	}
}

func (s *segmentDumper) record(off int64, b []byte) {
	r, _, problem := frame.DecodeRecord(b, s.store)
	line := &recordDump{Kind: "record", File: s.name, Offset: off, Size: len(b), Problem: text(problem)}
	if problem == nil {
		line.recordFields = &recordFields{
			Position: r.Position, ID: r.ID, Type: r.Type, Version: r.Version, Stream: r.Stream, Tags: r.Tags, ContentType: r.ContentType,
			DataBytes: len(r.Data), MetadataBytes: len(r.Metadata), LastOfAppend: r.Flags&frame.FlagLast != 0, System: r.Flags&frame.FlagSystem != 0,
		}
		if r.Revision != annals.NoRevision {
			line.Revision = &r.Revision
		}
	}
	s.print(2, line)
}

// gap prints what is no frame, and gives the place of the next one, or the end.
func (s *segmentDumper) gap(off, end int64, reason error) (next int64, err error) {
	const chunkBytes = 1 << 20
	onlyZeros := true
	next = end
search:
	for at := off; at < end; {
		b, err := s.at(at, int(min(chunkBytes, end-at)))
		if err != nil {
			return 0, err
		}
		if len(b) == 0 { // the file was cut off meanwhile
			break
		}
		b = bytes.Clone(b) // looking at an envelope reads elsewhere
		for i := 0; i+len(segment.EnvelopeMagic) <= len(b); i += segment.FrameAlign {
			if at+int64(i) == off || !bytes.HasPrefix(b[i:], []byte(segment.EnvelopeMagic)) {
				continue
			}
			_, problem, err := s.envelope(at+int64(i), end)
			if err != nil {
				return 0, err
			}
			if problem == nil {
				next = at + int64(i)
				onlyZeros = onlyZeros && zero(b[:i])
				break search
			}
		}
		onlyZeros = onlyZeros && zero(b)
		at += int64(len(b))
	}
	line := &gapDump{Kind: "unreadable", File: s.name, Offset: off, Size: next - off, Reason: reason.Error()}
	if onlyZeros {
		line.Kind, line.Reason = "zeros", ""
	} else {
		s.prev = nil
	}
	s.print(1, line)
	return next, nil
}

// footer prints the sections of the footer, and the trailer.
func (s *segmentDumper) footer(off, size int64, t *trailerLine) error {
	if t == nil {
		return nil
	}
	b, err := s.at(off, int(t.FooterSize))
	if err != nil {
		return err
	}
	sections, problem := segment.ReadFooter(b, off)
	s.print(1, &footerDump{Kind: "footer", File: s.name, Offset: off, Size: t.FooterSize, Problem: text(problem)})
	for _, section := range sections {
		s.print(2, &footerDump{
			Kind: "section", File: s.name, Offset: section.Offset, Size: section.Size, Section: section.Section, Problem: text(section.Problem),
		})
	}
	s.print(1, &trailerDump{
		Kind: "trailer", File: s.name, Offset: size - segment.TrailerBytes, LastFrame: t.LastFrame, LastPosition: t.LastPosition,
		LastTime: t.LastTime, LastHash: t.LastHash[:], SHA256: t.SHA256[:], Problem: text(t.problem),
	})
	return nil
}

// text is what is wrong, "" if nothing is.
func text(problem error) string {
	if problem == nil {
		return ""
	}
	return problem.Error()
}
