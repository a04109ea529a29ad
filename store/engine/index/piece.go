package index

import "sync/atomic"

// piece is a run and what the index knows of it.
type piece struct {
	first, last uint64
	sets        atomic.Int64
}

func (p *piece) release()                                             {}
func (p *piece) excludes(*item) bool                                  { return false }
func (p *piece) list(Term, Range) (Cursor, error)                     { return nil, nil }
func (p *piece) broken(error)                                         {}
func (p *piece) stream(string, Term, Range) (Cursor, numbered, error) { return nil, numbered{}, nil }
func (p *piece) nth(Term, int) (uint64, error)                        { return 0, nil }
func (v View) uptoTimeInRuns(int64) Range                             { return Range{} }

type builder struct{ lost bool }

func (b *builder) kick(*Index) {}
