package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"unsafe"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// replayLog is the least that replaying the dataset takes: records of it in one file, read from end to end, a MiB at a
// time, verified by their checksum and decoded into one event, whose names and data are lent.
type replayLog struct {
	file    vfs.File
	bytes   []byte // of the file
	records int
}

// Sizes of the floor's records and of its reads.
const (
	replayHeader = 40 // u32 size, u32 crc, 16B id, u64 position, u8 type, u8 stream, u8 tags, 1B, u32 data
	replayWindow = 1 << 20
	// replayRecords bounds the file, since a rate does not get better with more.
	replayRecords = 1_000_000
)

func (b *bench) openReplayLog() (_ *replayLog, err error) {
	if b.replay != nil {
		return b.replay, nil
	}
	f, err := vfs.OS{}.Create(filepath.Join(b.Dir, "floor-replay.log"))
	if err != nil {
		return nil, fmt.Errorf("workload: make the floor's log: %w", err)
	}
	l := &replayLog{file: f, records: min(b.Events, replayRecords)}
	d, src := b.data(), newSource(b.Seed, 0, b.Payload)
	for i := range l.records {
		e := d.event(i, src)
		l.bytes = appendReplay(l.bytes, &e, uint64(i+1))
	}
	for off := 0; off < len(l.bytes) && err == nil; off += replayWindow {
		_, err = f.WriteAt(l.bytes[off:min(off+replayWindow, len(l.bytes))], int64(off))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("workload: write the floor's log: %w", errors.Join(err, f.Close()))
	}
	b.replay = l
	return l, nil
}

func appendReplay(dst []byte, e *annals.Event, position uint64) []byte {
	start := len(dst)
	le := binary.LittleEndian
	dst = append(dst, make([]byte, replayHeader)...)
	dst = append(append(dst, e.Type...), e.Stream...)
	for _, t := range e.Tags {
		dst = append(append(dst, byte(len(t))), t...)
	}
	dst = append(dst, e.Data...)
	r := dst[start:]
	le.PutUint32(r, uint32(len(r)))
	copy(r[8:], e.ID[:])
	le.PutUint64(r[24:], position)
	r[32], r[33], r[34] = byte(len(e.Type)), byte(len(e.Stream)), byte(len(e.Tags))
	le.PutUint32(r[36:], uint32(len(e.Data)))
	le.PutUint32(r[4:], crc32.Checksum(r[8:], castagnoli))
	return dst
}

// decodeReplay decodes the record that begins b into e, which lives as long as b does not change. It gives 0 if b ends before.
func decodeReplay(b []byte, e *annals.Event, position *uint64) (size int, err error) {
	le := binary.LittleEndian
	if len(b) < replayHeader || int(le.Uint32(b)) > len(b) {
		return 0, nil
	}
	r := b[:le.Uint32(b)]
	if crc32.Checksum(r[8:], castagnoli) != le.Uint32(r[4:]) {
		return 0, fmt.Errorf("%w: the floor's record has another checksum", errWrong)
	}
	e.ID = annals.ID(r[8:24])
	*position = le.Uint64(r[24:])
	rest := r[replayHeader:]
	take := func(n byte) string {
		s := lend(rest[:n])
		rest = rest[n:]
		return s
	}
	e.Type, e.Stream = take(r[32]), take(r[33])
	e.Tags = e.Tags[:0]
	for range r[34] {
		n := rest[0]
		rest = rest[1:]
		e.Tags = append(e.Tags, take(n))
	}
	e.Data = rest
	return len(r), nil
}

// lend is a string that changes with b.
func lend(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the floor lends, as no store could do more cheaply
}

// scan reads all, and tells how many events there were.
func (l *replayLog) scan(ctx context.Context, window []byte, visit func(*annals.Event)) (n int, err error) {
	var e annals.Event
	var position uint64
	kept := 0
	for off := int64(0); ; {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		read, err := l.file.ReadAt(window[kept:], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		off += int64(read)
		filled := window[:kept+read]
		for {
			size, err := decodeReplay(filled, &e, &position)
			if err != nil {
				return n, err
			}
			if size == 0 {
				break
			}
			visit(&e)
			n++
			filled = filled[size:]
		}
		if read == 0 {
			return n, nil
		}
		kept = copy(window, filled)
	}
}

// replayFloor measures a scan; a cold one reads the file once from the device.
func (b *bench) replayFloor(isCold bool) measure {
	return func(ctx context.Context) (Sample, error) {
		l, err := b.openReplayLog()
		if err != nil {
			return Sample{}, err
		}
		window := make([]byte, replayWindow)
		once := func(ctx context.Context) (int, error) {
			var seen tasted
			n, err := l.scan(ctx, window, seen.taste)
			if err == nil && n != l.records {
				err = fmt.Errorf("%w: the floor has %d records, and %d were read", errWrong, l.records, n)
			}
			return n, err
		}
		if !isCold {
			return b.drive(ctx, 1, func(int) step { return once })
		}
		if err := l.file.DropCache(); err != nil {
			return Sample{}, err
		}
		return cold(func() (Sample, error) { return timed(ctx, once) })
	}
}

// overBytes measures something that is done to the bytes of the records in memory, in records a second.
func (b *bench) overBytes(work func(bytes []byte)) measure {
	return func(ctx context.Context) (Sample, error) {
		l, err := b.openReplayLog()
		if err != nil {
			return Sample{}, err
		}
		return b.drive(ctx, 1, func(int) step {
			return func(context.Context) (int, error) {
				for at := 0; at < len(l.bytes); at += replayWindow {
					work(l.bytes[at:min(at+replayWindow, len(l.bytes))])
				}
				return l.records, nil
			}
		})
	}
}

func (l *replayLog) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// coldReadFloor measures reads of 4 KiB at random places that are not cached, one at a time.
func (b *bench) coldReadFloor() measure {
	const page = 4096
	return func(ctx context.Context) (Sample, error) {
		l, err := b.openReplayLog()
		if err != nil {
			return Sample{}, err
		}
		src, block := b.source(0), make([]byte, page)
		pages := uint64(max(1, len(l.bytes)/page))
		return cold(func() (Sample, error) {
			return timedEach(ctx, b.Duration, coldLoads, l.file.DropCache, func(context.Context) (int, error) {
				off := int64(src.random.Uint64()%pages) * page
				_, err := l.file.ReadAt(block[:min(page, len(l.bytes))], off)
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return 1, err
			})
		})
	}
}

// tasted is what a reader makes of events, so that nobody can leave the data unread.
type tasted struct {
	events int
	sum    uint64
}

func (t *tasted) taste(e *annals.Event) {
	t.events++
	t.sum += uint64(len(e.Type)+len(e.Stream)+len(e.Tags)+len(e.Data)) + uint64(e.Data[0])
}
