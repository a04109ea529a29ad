package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// SectorBytes is what a device writes at once.
const SectorBytes = 512

// Crash is what a power cut, now, might leave: a file system of its own, without locks. Every unsynced sector is kept, lost,
// torn or garbled, and a later write may survive without an earlier one; every unsynced change of a directory is
// kept or lost; a file may have its new size and zeros in it.
//
// Powersafe overwrite is assumed: a sector that holds synced bytes ends as it was, as it was to be, or partly so, and
// bytes that are the same in both survive. Only sectors without synced bytes are garbled.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{rng: rng, files: map[*memFile]*memFile{}}
	c.mood = c.rng.IntN(4)
	return &Mem{root: c.node(m.root), locks: map[string]bool{}}
}

// Kill is what the end of the process leaves: everything that was written is there, what was not synced still is not, and
// locks are free.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{files: map[*memFile]*memFile{}}
	return &Mem{root: c.node(m.root), locks: map[string]bool{}}
}

// crash clones a file system. Without rng nothing happens to it.
type crash struct {
	rng *rand.Rand
	// mood makes the plain cases frequent: everything unsynced is lost, or everything is kept.
	mood  int
	files map[*memFile]*memFile
}

const (
	moodLose = iota
	moodKeep
)

func (c *crash) keep() bool {
	switch c.mood {
	case moodLose:
		return false
	case moodKeep:
		return true
	}
	return c.rng.IntN(2) == 0
}

func (c *crash) node(n *memNode) *memNode {
	if n.file != nil {
		return &memNode{file: c.file(n.file)}
	}
	if c.rng == nil {
		return c.killedDir(n)
	}
	entries := maps.Clone(n.durable)
	for _, op := range n.ops {
		if c.keep() {
			applyDir(entries, op)
		}
	}
	d := newMemDir()
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		d.live[name] = c.node(entries[name])
	}
	d.durable = maps.Clone(d.live)
	return d
}

// killedDir clones a directory with what is not durable yet.
func (c *crash) killedDir(n *memNode) *memNode {
	d := newMemDir()
	clones := map[*memNode]*memNode{}
	clone := func(n *memNode) *memNode {
		if n != nil && clones[n] == nil {
			clones[n] = c.node(n)
		}
		return clones[n]
	}
	for name, e := range n.live {
		d.live[name] = clone(e)
	}
	for name, e := range n.durable {
		d.durable[name] = clone(e)
	}
	for _, op := range n.ops {
		var copied dirOp
		for _, s := range op {
			copied = append(copied, dirSet{s.name, clone(s.node)})
		}
		d.ops = append(d.ops, copied)
	}
	return d
}

func (c *crash) file(f *memFile) *memFile {
	if made := c.files[f]; made != nil {
		return made
	}
	made := &memFile{}
	switch {
	case c.rng == nil:
		f.shared = true
		*made = *f
		made.ops = slices.Clone(f.ops)
	case len(f.ops) == 0:
		// What reads and what is durable differ after a failed sync.
		f.shared = true
		made.data, made.durable, made.shared = f.durable, f.durable, true
	default:
		made.durable = c.surviving(f)
		made.data = slices.Clone(made.durable)
	}
	c.files[f] = made
	return made
}

// surviving is the content that the device has.
func (c *crash) surviving(f *memFile) []byte {
	b := slices.Clone(f.durable)
	synced := int64(len(f.durable))
	for _, o := range f.ops {
		if !o.size {
			b = c.write(b, o, synced)
		} else if c.keep() {
			b = o.apply(b)
			synced = min(synced, o.off)
		}
	}
	if len(b) < len(f.data) && c.keep() {
		b = resize(b, int64(len(f.data)))
	}
	return b
}

// write lets some sectors of a write reach the device.
func (c *crash) write(b []byte, o fileOp, synced int64) []byte {
	for done := int64(0); done < int64(len(o.data)); {
		at := o.off + done
		n := min(SectorBytes-at%SectorBytes, int64(len(o.data))-done)
		part := fileOp{off: at, data: o.data[done : done+n]}
		done += n
		if c.mood <= moodKeep {
			if c.keep() {
				b = part.apply(b)
			}
			continue
		}
		switch c.rng.IntN(5) {
		case 0, 1:
			b = part.apply(b)
		case 2:
			part.data = part.data[:c.rng.IntN(len(part.data)+1)]
			b = part.apply(b)
		case 3:
			if sector := at - at%SectorBytes; sector >= synced {
				b = c.garble(b, sector)
			}
		}
	}
	return b
}

func (c *crash) garble(b []byte, sector int64) []byte {
	noise := make([]byte, SectorBytes)
	for i := range noise {
		noise[i] = byte(c.rng.Uint32())
	}
	return fileOp{off: sector, data: noise}.apply(b)
}
