package orders

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/annalsdb/annals/decider"
)

const (
	// LinesMax is how many products an order may have. Placing it tags one event with all of them, and every store takes
	// at least 64 tags.
	LinesMax = 60
	// CountMax is how many pieces a line may have.
	CountMax = 10_000
)

// The rules of lines.
const (
	ErrTooManyLines  = decider.Rule("too many products")
	ErrTooManyPieces = decider.Rule("too many pieces of a product")
)

// Line is so many pieces of a product, at a price for one.
type Line struct {
	Product string `json:"product" annals:"product"`
	Count   int    `json:"count"`
	Price   Money  `json:"price"`
}

// Lines are those of an order or a cart, one for each product. Methods return new lines: states of the past stay as they
// were.
type Lines []Line

// Add puts more of a product in. The line takes today's price as a whole.
func (ls Lines) Add(l Line) Lines {
	i := ls.index(l.Product)
	ls = slices.Clone(ls)
	if i < 0 {
		return append(ls, l)
	}
	ls[i] = Line{Product: l.Product, Count: ls[i].Count + l.Count, Price: l.Price}
	return ls
}

// Without is the lines without a product.
func (ls Lines) Without(product string) Lines {
	return slices.DeleteFunc(slices.Clone(ls), func(l Line) bool { return l.Product == product })
}

// Has reports whether there is a line of the product.
func (ls Lines) Has(product string) bool { return ls.index(product) >= 0 }

// Total is the price of everything.
func (ls Lines) Total() (Money, error) {
	var total Money
	for _, l := range ls {
		price, err := l.Price.Times(l.Count)
		if err != nil {
			return Money{}, err
		}
		if total, err = total.Add(price); err != nil {
			return Money{}, err
		}
	}
	return total, nil
}

// mayAdd says what is against one more line.
func (ls Lines) mayAdd(l Line) error {
	more := ls.Add(l)
	if len(more) > LinesMax {
		return fmt.Errorf("%w: %d are the most", ErrTooManyLines, LinesMax)
	}
	if count := more[more.index(l.Product)].Count; count > CountMax {
		return fmt.Errorf("%w: %d of %s, %d are the most", ErrTooManyPieces, count, l.Product, CountMax)
	}
	_, err := more.Total()
	return err
}

func (ls Lines) index(product string) int {
	return slices.IndexFunc(ls, func(l Line) bool { return l.Product == product })
}

var identifierRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// checkID notes what is wrong with an id.
func checkID(v *decider.Invalid, field, id string) {
	v.Check(id != "", field, "is required")
	v.Check(id == "" || identifierRule.MatchString(id), field, "must be 1 to 64 letters, digits, dots, dashes and underscores")
}

// checkCount notes what is wrong with a number of pieces.
func checkCount(v *decider.Invalid, count int) {
	v.Check(count >= 1 && count <= CountMax, "count", fmt.Sprintf("must be from 1 to %d", CountMax))
}
