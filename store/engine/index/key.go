package index

import "encoding/binary"

// Intersects reports whether some event may have part of what an alternative of p asks for, but not all: then a walk can be
// long before it comes to its first candidate.
func (p *Plan) Intersects() bool {
	for i := range p.items {
		it := &p.items[i]
		if n := len(it.all); n > 1 || n == 1 && len(it.types) > 0 {
			return true
		}
	}
	return false
}

// AppendKey appends to buf what tells p from every plan of the same hasher that asks for something else.
func (p *Plan) AppendKey(buf []byte) []byte {
	if p.hides {
		buf = append(buf, 1)
	} else {
		buf = append(buf, 0)
	}
	for i := range p.items {
		it := &p.items[i]
		buf = append(buf, it.id[:]...)
		buf = appendTerms(buf, it.all)
		buf = appendTerms(buf, it.types)
	}
	return buf
}

// appendTerms writes how many there are first, so that no two lists of lists look the same.
func appendTerms(buf []byte, terms []Term) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(terms)))
	for _, t := range terms {
		buf = binary.LittleEndian.AppendUint64(buf, t)
	}
	return buf
}
