package projection

import (
	"bytes"
	"context"
	"fmt"

	"github.com/annalsdb/annals"
)

// Comparison is what [Compare] has found.
type Comparison[V any] struct {
	// Same, Differ, OnlyA and OnlyB count rows by what has become of them.
	Same, Differ, OnlyA, OnlyB int
	// Samples are the first rows that are not the same, in the order of their keys.
	Samples []Difference[V]
}

// Equal reports whether all rows are the same.
func (c Comparison[V]) Equal() bool { return c.Differ == 0 && c.OnlyA == 0 && c.OnlyB == 0 }

// String writes the counts for people.
func (c Comparison[V]) String() string {
	return fmt.Sprintf("same %d, differ %d, only in the first %d, only in the second %d", c.Same, c.Differ, c.OnlyA, c.OnlyB)
}

// Difference is a row that is not the same in two views. A or B is nil where there is none.
type Difference[V any] struct {
	Key  string
	A, B *V
}

// Compare looks at every row of two views, of whatever backends, versions and logs, and tells where they differ, with at most so
// many samples. Rows are the same if their JSON is. It reads page by page: what changes meanwhile may be seen or not.
func Compare[V any](ctx context.Context, a, b *View[V], samples int) (Comparison[V], error) {
	var c Comparison[V]
	from, with := pages[V]{view: a}, pages[V]{view: b}
	for {
		x, err := from.first(ctx)
		if err != nil {
			return Comparison[V]{}, err
		}
		y, err := with.first(ctx)
		if err != nil {
			return Comparison[V]{}, err
		}
		switch { // the lower key comes first
		case x == nil && y == nil:
			return c, nil
		case x != nil && y != nil && x.Key < y.Key:
			y = nil
		case x != nil && y != nil && y.Key < x.Key:
			x = nil
		}
		same := x != nil && y != nil && bytes.Equal(x.JSON, y.JSON)
		switch {
		case same:
			c.Same++
		case y == nil:
			c.OnlyA++
		case x == nil:
			c.OnlyB++
		default:
			c.Differ++
		}
		if !same && len(c.Samples) < samples {
			var d Difference[V]
			if d.A, err = from.value(x, &d.Key); err != nil {
				return Comparison[V]{}, err
			}
			if d.B, err = with.value(y, &d.Key); err != nil {
				return Comparison[V]{}, err
			}
			c.Samples = append(c.Samples, d)
		}
		from.pass(x)
		with.pass(y)
	}
}

// pages are the rows of a view in the order of their keys.
type pages[V any] struct {
	view *View[V]
	docs []Document
	from *Place // where the next page begins
	end  bool
}

// first is the next row; nil at the end.
func (p *pages[V]) first(ctx context.Context) (*Document, error) {
	if len(p.docs) == 0 && !p.end {
		s := Selection{Limit: limitMax, From: p.from}
		err := p.view.read(ctx, annals.AtLeastFrom(ctx), func(t shown) (err error) {
			p.docs, err = t.List(ctx, s)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("projection: %s: compare: %w", p.view.shape, err)
		}
		if p.end = len(p.docs) < limitMax; len(p.docs) > 0 {
			p.from = &Place{Key: p.docs[len(p.docs)-1].Key}
		}
	}
	if len(p.docs) == 0 {
		return nil, nil
	}
	return &p.docs[0], nil
}

// pass goes on behind a row, if there is one.
func (p *pages[V]) pass(d *Document) {
	if d != nil {
		p.docs = p.docs[1:]
	}
}

// value is that of a row, and its key; nil if there is none.
func (p *pages[V]) value(d *Document, key *string) (*V, error) {
	if d == nil {
		return nil, nil
	}
	*key = d.Key
	v := new(V)
	if err := decodeRow(d.JSON, v); err != nil {
		return nil, fmt.Errorf("projection: %s: compare: %q: %w", p.view.shape, d.Key, err)
	}
	return v, nil
}
