package engine

import "github.com/annalsdb/annals/store/engine/index"

// LookUpAlways and ScanAlways force a way to read.
func LookUpAlways(c *Config) { c.plan = lookUpAlways }

// ScanAlways forces the other.
func ScanAlways(c *Config) { c.plan = scanAlways }

// Index is the store's.
func (s *Store) Index() *index.Index { return s.index }
