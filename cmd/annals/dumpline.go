package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/segment"
)

// line is a line of a dump: an object for programs, and a text for people. What cannot be read of a thing is left out.
type line interface{ text() string }

type manifestDump struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Problem string `json:"problem,omitempty"`
	*manifestFields
}

type manifestFields struct {
	Number      uint64        `json:"number"`
	Format      uint16        `json:"format"`
	Store       hexBytes      `json:"store"`
	Incarnation uint32        `json:"incarnation"`
	Epoch       uint64        `json:"epoch"`
	Clean       *endFields    `json:"clean,omitempty"` // absent: the log is in use, or was not closed
	Segments    []entryFields `json:"segments"`
}

// endFields say where the log ended when it was closed.
type endFields struct {
	Frame    uint64          `json:"frame"`
	Position annals.Position `json:"position"`
	Segment  uint64          `json:"segment"`
	Offset   int64           `json:"offset"`
	Hash     hexBytes        `json:"hash"`
}

// entryFields are what a manifest says of a segment. The last five are known when no frame is added any more.
type entryFields struct {
	File          string          `json:"file"`
	State         string          `json:"state"`
	Size          int64           `json:"size"`
	Salt          hexBytes        `json:"salt"`
	FirstFrame    uint64          `json:"firstFrame,omitempty"`
	FirstPosition annals.Position `json:"firstPosition,omitzero"`
	BodyEnd       int64           `json:"bodyEnd,omitempty"`
	LastFrame     uint64          `json:"lastFrame,omitempty"`
	LastPosition  annals.Position `json:"lastPosition,omitzero"`
	LastHash      hexBytes        `json:"lastHash,omitempty"`
	SHA256        hexBytes        `json:"sha256,omitempty"`
}

func manifestOf(m *segment.ManifestLayout) *manifestFields {
	fields := &manifestFields{
		Number: m.Number, Format: m.Format, Store: m.Store[:], Incarnation: m.Incarnation, Epoch: m.Epoch,
	}
	if c := m.Clean; c != nil {
		fields.Clean = &endFields{Frame: c.Last.Seq, Position: c.Position, Segment: c.Segment, Offset: c.Offset, Hash: c.Last.Hash[:]}
	}
	for _, e := range m.Segments {
		fields.Segments = append(fields.Segments, entryFields{
			File: e.File, State: e.State, Size: e.Size, Salt: e.Salt[:], FirstFrame: e.FirstFrame, FirstPosition: e.FirstPosition,
			BodyEnd: e.BodyEnd, LastFrame: e.LastFrame, LastPosition: e.LastPosition, LastHash: known(e.LastHash), SHA256: known(e.SHA256),
		})
	}
	return fields
}

// known is a hash, nil if it is not known.
func known(hash [32]byte) hexBytes {
	if zero(hash[:]) {
		return nil
	}
	return hash[:]
}

func (m *manifestDump) text() string {
	t := m.File
	if m.manifestFields != nil {
		t += fmt.Sprintf("  manifest %d, format %d, store %s, incarnation %d, epoch %d", m.Number, m.Format, m.Store, m.Incarnation, m.Epoch)
		if m.Clean == nil {
			t += ", not closed"
		} else {
			t += fmt.Sprintf(", closed after frame %d and position %d, in segment %d at offset %d", m.Clean.Frame, m.Clean.Position, m.Clean.Segment, m.Clean.Offset)
		}
	}
	return t + problemText(m.Problem)
}

func (e *entryFields) text() string {
	t := fmt.Sprintf("%s  %s, %d bytes", e.File, e.State, e.Size)
	if e.LastFrame != 0 {
		t += fmt.Sprintf(", frames %d to %d, positions %d to %d, which end at offset %d, last hash %s",
			e.FirstFrame, e.LastFrame, e.FirstPosition, e.LastPosition, e.BodyEnd, e.LastHash)
	} else if e.FirstFrame != 0 {
		t += fmt.Sprintf(", from frame %d, position %d", e.FirstFrame, e.FirstPosition)
	}
	return t
}

type segmentDump struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Size    int64  `json:"size"`
	Problem string `json:"problem,omitempty"`
	*segmentFields
}

type segmentFields struct {
	Number      uint64   `json:"number"`
	Generation  uint32   `json:"generation"`
	Format      uint16   `json:"format"`
	Store       hexBytes `json:"store"`
	Incarnation uint32   `json:"incarnation"`
	Salt        hexBytes `json:"salt"`
	Capacity    int64    `json:"capacity"`
}

func (s *segmentDump) text() string {
	t := fmt.Sprintf("%s  %d bytes", s.File, s.Size)
	if s.segmentFields != nil {
		t += fmt.Sprintf(", segment %d, generation %d, format %d, store %s, incarnation %d, salt %s, capacity %d",
			s.Number, s.Generation, s.Format, s.Store, s.Incarnation, s.Salt, s.Capacity)
	}
	return t + problemText(s.Problem)
}

type frameDump struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Offset  int64  `json:"offset"` // of the envelope
	Size    int    `json:"size"`   // without the envelope
	Frame   uint64 `json:"frame"`
	Durable uint64 `json:"durable"`
	Problem string `json:"problem,omitempty"`
	*frameFields
}

type frameFields struct {
	Epoch         uint64          `json:"epoch"`
	FirstPosition annals.Position `json:"firstPosition"`
	LastPosition  annals.Position `json:"lastPosition"`
	Time          time.Time       `json:"time"`
	PreviousHash  hexBytes        `json:"previousHash"`
	Hash          hexBytes        `json:"hash"`
}

func (f *frameDump) text() string {
	t := fmt.Sprintf("%8d  frame %d, %d bytes, durable %d", f.Offset, f.Frame, f.Size, f.Durable)
	if f.frameFields != nil {
		t += fmt.Sprintf(", positions %d to %d, epoch %d, %s, hash %s after %s",
			f.FirstPosition, f.LastPosition, f.Epoch, f.Time.Format(time.RFC3339Nano), f.Hash, f.PreviousHash)
	}
	return t + problemText(f.Problem)
}

type recordDump struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Offset  int64  `json:"offset"`
	Size    int    `json:"size"`
	Problem string `json:"problem,omitempty"`
	*recordFields
}

type recordFields struct {
	Position      annals.Position  `json:"position"`
	Revision      *annals.Revision `json:"revision,omitempty"`
	ID            annals.ID        `json:"id"`
	Type          string           `json:"type"`
	Version       uint16           `json:"version"`
	Stream        string           `json:"stream,omitempty"`
	Tags          []string         `json:"tags,omitempty"`
	ContentType   string           `json:"contentType,omitempty"`
	DataBytes     int              `json:"dataBytes"`
	MetadataBytes int              `json:"metadataBytes"`
	LastOfAppend  bool             `json:"lastOfAppend,omitempty"`
	System        bool             `json:"system,omitempty"`
}

func (r *recordDump) text() string {
	t := fmt.Sprintf("%8d  record, %d bytes", r.Offset, r.Size)
	if r.recordFields != nil {
		t += fmt.Sprintf(", position %d, %s %d", r.Position, r.Type, r.Version)
		if r.Revision != nil {
			t += fmt.Sprintf(", stream %s, revision %d", r.Stream, *r.Revision)
		}
		if len(r.Tags) > 0 {
			t += ", tags " + strings.Join(r.Tags, " ")
		}
		t += fmt.Sprintf(", data %d, metadata %d, id %s", r.DataBytes, r.MetadataBytes, r.ID)
	}
	return t + problemText(r.Problem)
}

// gapDump is a part of a segment that is no frame: unreadable, zeros, or later than what is durable.
type gapDump struct {
	Kind   string `json:"kind"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	Reason string `json:"reason,omitempty"`
}

func (g *gapDump) text() string {
	t := fmt.Sprintf("%8d  %s, %d bytes", g.Offset, g.Kind, g.Size)
	if g.Reason != "" {
		t += ": " + g.Reason
	}
	return t
}

// footerDump is a footer, or a section of one.
type footerDump struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Offset  int64  `json:"offset"`
	Size    int64  `json:"size"`
	Section string `json:"section,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func (f *footerDump) text() string {
	t := fmt.Sprintf("%8d  %s", f.Offset, f.Kind)
	if f.Section != "" {
		t += " " + f.Section
	}
	return t + fmt.Sprintf(", %d bytes", f.Size) + problemText(f.Problem)
}

type trailerDump struct {
	Kind         string          `json:"kind"`
	File         string          `json:"file"`
	Offset       int64           `json:"offset"`
	LastFrame    uint64          `json:"lastFrame"`
	LastPosition annals.Position `json:"lastPosition"`
	LastTime     time.Time       `json:"lastTime"`
	LastHash     hexBytes        `json:"lastHash"`
	SHA256       hexBytes        `json:"sha256"`
	Problem      string          `json:"problem,omitempty"`
}

func (t *trailerDump) text() string {
	return fmt.Sprintf("%8d  trailer, last frame %d, last position %d, %s, hash %s, file %s",
		t.Offset, t.LastFrame, t.LastPosition, t.LastTime.Format(time.RFC3339Nano), t.LastHash, t.SHA256) + problemText(t.Problem)
}

// otherDump is a file whose content is not part of the log.
type otherDump struct {
	Kind string `json:"kind"`
	File string `json:"file"`
	Size int64  `json:"size"`
}

func (o *otherDump) text() string { return fmt.Sprintf("%s  %d bytes", o.File, o.Size) }

func problemText(problem string) string {
	if problem == "" {
		return ""
	}
	return "  PROBLEM: " + problem
}

// hexBytes are bytes that are shown in hexadecimal.
type hexBytes []byte

// MarshalText writes the digits, in JSON as a string.
func (b hexBytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(b)), nil }

// String writes the first digits: enough to tell one from another.
func (b hexBytes) String() string { return fmt.Sprintf("%x", []byte(b[:min(4, len(b))])) }

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
