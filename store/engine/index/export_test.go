package index

import "github.com/annalsdb/annals/store/engine/index/run"

// Blind leaves bits of all terms out, so that names collide.
func Blind(c Config, bits uint64) Config {
	c.blind = bits
	return c
}

// Spill keeps no run in memory that is larger than so many events.
func Spill(c Config, events uint64) Config {
	c.inMemory = events
	return c
}

// Hashes is the hasher of an index.
func Hashes(c Config) Hasher {
	h := NewHasher(c.Identity.HashSeed)
	h.blind = c.blind
	return h
}

// Settle waits until there is nothing to do in the background.
func (x *Index) Settle() {
	b := &x.builder
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.seal.working || b.mend.working {
		b.idle.Wait()
	}
}

// Pieces is how many runs and epochs there are.
func (x *Index) Pieces() (runs, epochs int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.set.runs), len(x.set.epochs)
}

// Spans are the positions of the runs, and which of them are damaged.
func (x *Index) Spans() (spans [][2]uint64, damaged int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, p := range x.set.runs {
		spans = append(spans, [2]uint64{p.first, p.last})
		if p.damaged.Load() {
			damaged++
		}
	}
	return spans, damaged
}

// Break says of all runs that they are damaged.
func (x *Index) Break() {
	x.mu.RLock()
	runs := x.set.runs
	x.mu.RUnlock()
	for _, p := range runs {
		p.broken(run.ErrDamaged)
	}
}

// Owner is what runs say of whose they are.
func (c *Config) Owner() [16]byte { return c.owner() }

// Unite walks over what any of the cursors has.
func Unite(all ...Cursor) Cursor { return unite(all) }

// Safe goes on with every position of r where c fails.
func Safe(c Cursor, r Range) Cursor { return &safeCursor{Cursor: c, lists: directLists{}, rest: r} }
