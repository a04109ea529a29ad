package index

import (
	"log/slog"
	"time"
)

// Config is what an index is made of.
type Config struct {
	// Seed is the secret under which names are hashed.
	Seed [16]byte
	// EpochEvents is how many events are kept in memory before they are written to a run. By default 65,536.
	EpochEvents int
	// Logger is told of what an operator should know. Required.
	Logger *slog.Logger
}

const defaultEpochEvents = 64 << 10

// Tail is the frame up to which a piece of the index goes.
type Tail struct {
	Seq   uint64
	Hash  [32]byte
	Epoch uint64
	Time  time.Time
}

// Open makes an empty index.
func Open(c Config) *Index {
	if c.EpochEvents <= 0 {
		c.EpochEvents = defaultEpochEvents
	}
	x := &Index{hasher: NewHasher(c.Seed), config: c}
	x.changeLocked(nil, []*epoch{newEpoch(1)})
	return x
}
