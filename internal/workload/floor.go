package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// floorName is what results call the floor.
const floorName = "floor"

// floorBytes is the size of the floor's file for a second and more. Its blocks are written with zeros before the measurement, as a
// good log does, and it begins again at its start when it is full: nobody reads it.
const floorBytes = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// floorLog is the least that a durable log does, which no store can do without: frames of length, checksum and data,
// one write and one fdatasync for all that wait, and everybody waits for the sync that covers his own. It keeps no index, checks
// nothing and cannot be read. The first of a group writes for the others, so that a lone writer wakes nobody.
type floorLog struct {
	file vfs.File
	size int64

	// writing is held by whoever writes a group, over the write and the sync: that is what makes groups.
	writing sync.Mutex
	off     int64 // guarded by writing

	mu     sync.Mutex
	group  *floorGroup // which still takes frames; nil if none waits
	unused [][]byte    // buffers of groups that are written
}

type floorGroup struct {
	frames []byte
	done   chan struct{}
	err    error // readable once done is closed
}

func openFloorLog(dir string, size int64) (*floorLog, error) {
	f, err := vfs.OS{}.Create(filepath.Join(dir, "floor.log"))
	if err != nil {
		return nil, fmt.Errorf("workload: make the floor's log: %w", err)
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		_, err = f.WriteAt(zeros, off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = vfs.OS{}.SyncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("workload: prepare the floor's log: %w", errors.Join(err, f.Close()))
	}
	return &floorLog{file: f, size: size}, nil
}

// append returns once the data of the events are durable.
func (l *floorLog) append(events []annals.Event) error {
	l.mu.Lock()
	g, leads := l.group, l.group == nil
	if leads {
		g = &floorGroup{done: make(chan struct{})}
		if n := len(l.unused); n > 0 {
			g.frames, l.unused = l.unused[n-1][:0], l.unused[:n-1]
		}
		l.group = g
	}
	for i := range events {
		data := events[i].Data
		g.frames = binary.LittleEndian.AppendUint32(g.frames, uint32(len(data)))
		g.frames = binary.LittleEndian.AppendUint32(g.frames, crc32.Checksum(data, castagnoli))
		g.frames = append(g.frames, data...)
	}
	l.mu.Unlock()
	if !leads {
		<-g.done
		return g.err
	}
	l.write(g)
	close(g.done)
	return g.err
}

func (l *floorLog) write(g *floorGroup) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	l.group = nil // whoever comes now waits for the next
	l.mu.Unlock()
	if l.off+int64(len(g.frames)) > l.size {
		l.off = 0
	}
	if _, g.err = l.file.WriteAt(g.frames, l.off); g.err == nil {
		g.err = l.file.Sync()
	}
	l.off += int64(len(g.frames))
	l.mu.Lock()
	l.unused = append(l.unused, g.frames)
	l.mu.Unlock()
}

func (l *floorLog) Close() error { return l.file.Close() }

// appendFloor measures the floor under appends of so many events by so many writers.
func (b *bench) appendFloor(writers, batch int) measure {
	return func(ctx context.Context) (Sample, error) {
		return b.inFreshDir("floor", func(dir string) (s Sample, err error) {
			l, err := openFloorLog(dir, b.floorSize())
			if err != nil {
				return Sample{}, err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			return b.drive(ctx, writers, func(w int) step {
				src := b.source(w)
				return func(context.Context) (int, error) {
					events := make([]annals.Event, batch)
					for i := range events {
						events[i].Data = src.data()
					}
					return batch, l.append(events)
				}
			})
		})
	}
}

// floorSize spares short measurements the zeros.
func (b *bench) floorSize() int64 {
	const mebibyte = 1 << 20
	return min(max(int64(b.Duration.Seconds()*floorBytes), mebibyte), floorBytes) / mebibyte * mebibyte
}
