// Package orders is a small order service on Annals: carts, orders, stock and customers behind HTTP. It is written
// against the public packages alone, as any application would be.
//
// # How to read it
//
// money.go, line.go: values. event.go: all that can happen, and the schema that stores it. Each field that an event is
// about says so in its tag, so no append can forget it.
//
// order.go, item.go, placing.go, fulfilment.go: the order, and one file for each kind of decision about it. A state says
// which events matter (Boundary) and what they come to (Evolve); a command says what is asked (its fields, Validate),
// who may ask it (Authorize) and what follows (Decide). Three decisions reach beyond one entity, with no lock and no
// saga, since a boundary may be any query:
//
//   - [PlaceOrder] looks at the order and at the stock of all its products, and so never oversells one;
//   - [CheckoutCart] reads a cart and writes a new order, and closes the cart in the same append;
//   - [RegisterCustomer] looks at everybody who ever had the e-mail address, by a tag that is a keyed hash of it.
//
// stock.go, customer.go, cart.go: the other entities. auth.go: the rules about who may do what, of which each command
// names one.
//
// payment.go: what the service does by itself. One process manager asks a payment provider for money, through a gateway that
// is answered from its record ever after, and gives back what came too late; another cancels what is not paid in time.
//
// views.go: the read model, one row for each order with the customer's name joined in, and the queries that it answers;
// past.go: the same row as it was. service.go puts it together and routes.go gives it URLs; openapi.yaml describes
// those. demo.go is a history to look at.
//
// # What it does not do
//
// Prices are those of the last delivery. The only provider that comes with it is a fake one; OrderPaid may also say that
// somebody told us so. Stock is not reserved before an order is placed.
package orders
