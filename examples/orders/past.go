package orders

import (
	"context"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// answerOrder answers GetOrder: from the read model, or as it was.
func (s *Service) answerOrder(ctx context.Context, q GetOrder) (OrderView, error) {
	switch {
	case q.Revision != nil && q.At != nil:
		var v decider.Invalid
		v.Check(false, "at", "cannot be given together with revision")
		return OrderView{}, v.Err()
	case q.Revision != nil:
		return s.past(ctx, q, annals.AsOfRevision(*q.Revision))
	case q.At != nil:
		return s.past(ctx, q, annals.AsOfTime(*q.At))
	}
	return s.orders.Get(ctx, q.Order)
}

// past is the row as the read model showed it when the order was there: the same projection, folded up to then.
func (s *Service) past(ctx context.Context, q GetOrder, then annals.ReadOption) (OrderView, error) {
	now, err := s.load(ctx, q.Order)
	if err != nil {
		return OrderView{}, err
	}
	// Who may not see the order is not to learn how far it has come either.
	if err := ownerOrStaff(annals.PrincipalFrom(ctx), now.State.Customer); err != nil {
		return OrderView{}, &decider.ForbiddenError{Command: "GetOrder", Err: err}
	}
	at, err := s.load(ctx, q.Order, then)
	if err != nil {
		return OrderView{}, err
	}
	return projection.AsOf(ctx, s.log, Orders, q.Order, annals.AsOf(at.Position))
}

// load finds an order and the position that an option leads to. A revision is that of one stream, and the row is made
// of several: the order's and the customers'.
func (s *Service) load(ctx context.Context, order string, opts ...annals.ReadOption) (decider.Loaded[Order], error) {
	if p := annals.AtLeastFrom(ctx); p > 0 {
		opts = append(opts, annals.AtLeast(p))
	}
	loaded, err := decider.Load(ctx, s.log, Order{ID: order}, opts...)
	if err != nil {
		return loaded, err
	}
	if !loaded.Found {
		return loaded, &projection.NotFoundError{Projection: Orders.Name, Key: order}
	}
	return loaded, nil
}
