package engine

import "github.com/annalsdb/annals/store/engine/index"

// LookUpAlways and ScanAlways force a way to read.
func LookUpAlways(c *Config) { c.plan = lookUpAlways }

// ScanAlways forces the other.
func ScanAlways(c *Config) { c.plan = scanAlways }

// Index is the store's.
func (s *Store) Index() *index.Index { return s.index }

// HeavyAlways remembers what every condition of several names has looked through, and makes it wait for its turn.
func HeavyAlways(c *Config) { c.heavy = heavyAlways }

// HoldTurns takes all turns of those who walk far, until they are given back.
func (s *Store) HoldTurns() (release func()) {
	for range cap(s.barren.turns) {
		s.barren.turns <- struct{}{}
	}
	return func() {
		for range cap(s.barren.turns) {
			<-s.barren.turns
		}
	}
}
