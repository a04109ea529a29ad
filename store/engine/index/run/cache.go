package run

import (
	"sync"
	"sync/atomic"
)

// Cache keeps blocks that are used often, of several readers. It is safe for concurrent use. What it holds of a reader that
// is given up goes when there is need for the room.
type Cache struct {
	readers atomic.Uint64
	shards  [cacheShards]cacheShard
}

// cacheShards keeps those who look something up at the same time out of each other's way.
const cacheShards = 16

// cacheShard gives every block that was used since it was looked at last a second chance.
type cacheShard struct {
	mu    sync.Mutex
	where map[cacheKey]int
	slots []cacheSlot
	most  int
	hand  int
}

type cacheKey struct {
	reader uint64
	number uint32
}

type cacheSlot struct {
	key  cacheKey
	b    *block // not written to: others may be looking at it
	used bool
}

// NewCache makes a cache of at most so many bytes of blocks, and about 2 % more to find them. With less than 64 KiB it
// holds nothing.
func NewCache(bytes int64) *Cache {
	c := &Cache{}
	for i := range c.shards {
		c.shards[i].most = int(max(0, bytes/blockBytes/cacheShards))
		c.shards[i].where = map[cacheKey]int{}
	}
	return c
}

func (c *Cache) newReader() uint64 { return c.readers.Add(1) }

func (c *Cache) shard(k cacheKey) *cacheShard {
	return &c.shards[(uint64(k.number)+k.reader*7)%cacheShards]
}

func (c *Cache) get(reader uint64, number uint32) *block {
	k := cacheKey{reader, number}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, there := s.where[k]
	if !there {
		return nil
	}
	s.slots[i].used = true
	return s.slots[i].b
}

func (c *Cache) put(reader uint64, number uint32, b *block) {
	k := cacheKey{reader, number}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.where[k]; there || s.most == 0 {
		return
	}
	if len(s.slots) < s.most {
		s.where[k] = len(s.slots)
		s.slots = append(s.slots, cacheSlot{key: k, b: b})
		return
	}
	for s.slots[s.hand].used {
		s.slots[s.hand].used = false
		s.hand = (s.hand + 1) % len(s.slots)
	}
	delete(s.where, s.slots[s.hand].key)
	s.slots[s.hand] = cacheSlot{key: k, b: b}
	s.where[k] = s.hand
	s.hand = (s.hand + 1) % len(s.slots)
}
