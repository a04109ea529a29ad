package orders

import (
	"context"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// answerOrder answers GetOrder: from the read model, or as it was.
func (s *Service) answerOrder(ctx context.Context, q GetOrder) (OrderView, error) {
	switch {
	case q.Revision != nil:
		return s.past(ctx, q.Order, annals.AsOfRevision(*q.Revision))
	case q.At != nil:
		return s.past(ctx, q.Order, annals.AsOfTime(*q.At))
	}
	return s.orders.Get(ctx, q.Order)
}

// past is the row as the read model showed it when the order was there: the same projection, folded up to then.
func (s *Service) past(ctx context.Context, order string, then annals.ReadOption) (OrderView, error) {
	fresh := annals.AtLeast(annals.AtLeastFrom(ctx))
	row, err := projection.AsOf(ctx, s.log, Orders, order, then, fresh)
	if !errors.Is(err, projection.ErrNotFound) && !errors.Is(err, annals.ErrAhead) {
		return row, err
	}
	// There was none then. Whose it became decides who is told so, see [GetOrder.Authorize].
	now, loadErr := decider.Load(ctx, s.log, Order{ID: order}, fresh)
	if loadErr != nil {
		return OrderView{}, loadErr
	}
	return OrderView{ID: order, Customer: now.State.Customer, Status: now.State.Status}, err
}
