package run

import "iter"

// scanner goes over all terms, in order. It reads the file once, in blocks of its own.
type scanner struct {
	r       *Reader
	tree    *walk
	block   *block
	terms   terms
	i       int
	last    uint64 // the term before
	any     bool
	entry   Entry // its inner lies in the block
	lists   walk  // of the positions of long lists
	leaf    *block
	scratch []uint32

	termBlocks, listBlocks uint32 // that were read
}

func (r *Reader) scan() *scanner {
	s := &scanner{r: r, block: new(block), leaf: new(block)}
	if r.trailer.dictionaryBlocks > 0 {
		s.tree = r.walk(r.trailer.dictionary, kindTermTree)
	}
	return s
}

// next goes to the next term.
func (s *scanner) next() (bool, error) {
	if s.tree == nil {
		return false, nil
	}
	if s.i == s.terms.n {
		i, ok, err := s.tree.next()
		if err != nil || !ok {
			return false, err
		}
		number := le.Uint32(i[8:])
		if err := s.r.read(s.block, number, kindTerms); err != nil {
			return false, err
		}
		if s.terms, err = asTerms(s.block, number, &s.r.trailer.meta, s.r.valueBytes); err != nil {
			return false, err
		}
		if s.tree.root.levels > 0 && le.Uint64(i[:]) != s.terms.first {
			return false, damaged(number, "the tree says something else of it")
		}
		s.i = 0
		s.termBlocks++
	}
	if err := s.terms.entry(s.i, &s.entry); err != nil {
		return false, err
	}
	if s.any && s.entry.Term <= s.last {
		return false, damaged(s.terms.number, "terms do not ascend")
	}
	s.last, s.any = s.entry.Term, true
	s.i++
	return true, nil
}

// positions gives the positions of the entry, in pieces that are valid until the next one.
func (s *scanner) positions(yield func([]uint32) error) error {
	if !s.entry.long {
		return s.short(yield)
	}
	s.lists = walk{r: s.r, kind: kindListTree, root: s.entry.tree, nodes: s.lists.nodes[:0]}
	defer s.lists.close()
	index, before := uint32(0), none
	for {
		i, ok, err := s.lists.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		number := le.Uint32(i[8:])
		if err := s.r.read(s.leaf, number, kindPostings); err != nil {
			return err
		}
		l, err := asPostings(s.leaf, number, &s.r.trailer.meta)
		if err != nil {
			return err
		}
		if l.index != index || l.before != before {
			return damaged(number, "another part of the list is missing")
		}
		if s.lists.root.levels > 0 && (le.Uint32(i[:]) != l.last(l.n-1) || le.Uint32(i[4:]) != l.index) {
			return damaged(number, "the tree says something else of it")
		}
		s.listBlocks++
		for g := range l.n {
			if s.scratch, err = l.decode(s.scratch[:0], g, s.entry.Count); err != nil {
				return err
			}
			if index == 0 && uint64(s.scratch[0]) != s.entry.First-s.r.trailer.meta.First {
				return damaged(number, "the list begins elsewhere")
			}
			index += uint32(len(s.scratch))
			before = s.scratch[len(s.scratch)-1]
			if err := yield(s.scratch); err != nil {
				return err
			}
		}
	}
	if index != s.entry.Count || uint64(before) != s.entry.Last-s.r.trailer.meta.First {
		return damaged(s.terms.number, "a list ends elsewhere")
	}
	return nil
}

func (s *scanner) short(yield func([]uint32) error) (err error) {
	if s.entry.inner != nil {
		if _, err := s.terms.innerBytes(&s.entry); err != nil {
			return err
		}
	}
	if s.scratch, err = s.r.appendShort(s.scratch[:0], &s.entry); err != nil {
		return err
	}
	return yield(s.scratch)
}

func (s *scanner) close() {
	if s.tree != nil {
		s.tree.close()
	}
}

// Terms gives all lists in order of their terms, reading one block after the other. An error is the last thing it gives,
// with a zero Entry. Ranging again reads again.
func (r *Reader) Terms() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s := r.scan()
		defer s.close()
		for {
			ok, err := s.next()
			if err == nil && !ok {
				return
			}
			e := s.entry
			if err == nil {
				err = s.terms.keep(&e)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
