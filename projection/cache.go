package projection

// rowCache is the rows that a runner has read or written last: nobody else writes them as long as the checkpoint is where the runner left
// it, which every batch makes sure of. It is used by one goroutine.
type rowCache struct {
	limit int // bytes
	bytes int
	rows  map[slot][]byte // nil is a row that is not there
	// complete says that every row of the table is here: one that is not is not there either.
	complete bool
}

// rowOverhead is about what the map takes for a row, beside key and document.
const rowOverhead = 96

// begin forgets everything. Of an empty table all is known.
func (c *rowCache) begin(limit int, empty bool) {
	*c = rowCache{limit: limit, rows: map[slot][]byte{}, complete: empty}
}

// get is the document; nil if there is none. It tells whether that is known.
func (c *rowCache) get(at slot) (doc []byte, known bool) {
	doc, known = c.rows[at]
	return doc, known || c.complete
}

// keep remembers what a batch has read and written, once it is committed.
func (c *rowCache) keep(p *pending) {
	for name, part := range p.parts {
		if name == partParked {
			continue
		}
		for key, row := range part.rows {
			at := slot{name, key}
			if old, known := c.rows[at]; known {
				c.bytes -= len(old)
			} else {
				c.bytes += rowOverhead + len(key)
			}
			c.rows[at] = row.json
			c.bytes += len(row.json)
		}
	}
	if c.bytes > c.limit { // begin anew: cheaper than to know which row was used last
		c.begin(c.limit, false)
	}
}
