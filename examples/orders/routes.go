package orders

import (
	"net/http"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/rest"
)

// routes are the URLs. A wildcard fills the field of its name.
func (s *Service) routes(authenticate func(*http.Request) (annals.Principal, error), hashKey []byte) http.Handler {
	b, newOrder, unknownOrder := s.bus, rest.NewID("order", hashKey), rest.NotFound(ErrUnknownOrder)
	mux := http.NewServeMux()

	mux.Handle("POST /orders", rest.Command[CreateOrder](b, newOrder, rest.Fill("customer", customerOf), rest.Created("/orders/{order}")))
	mux.Handle("GET /orders", rest.Query[ListOrders, OrderPage](b, rest.Position(func(p OrderPage) annals.Position { return p.Position })))
	mux.Handle("GET /orders/{order}", rest.Query[GetOrder, OrderView](b, rest.Revision(func(o OrderView) annals.Revision { return o.Revision })))
	mux.Handle("GET /orders/{order}/history", rest.History(s.log, orderIn, maySee, rest.ShowStates()))
	mux.Handle("POST /orders/{order}/items", rest.Command[AddItem](b, unknownOrder))
	mux.Handle("DELETE /orders/{order}/items/{product}", rest.Command[RemoveItem](b, rest.NotFound(ErrUnknownOrder, ErrNoSuchItem)))
	mux.Handle("POST /orders/{order}/place", rest.Command[PlaceOrder](b, unknownOrder))
	mux.Handle("POST /orders/{order}/pay", rest.Command[PayOrder](b, unknownOrder))
	mux.Handle("POST /orders/{order}/charge", rest.Command[ChargeOrder](b, unknownOrder))
	mux.Handle("POST /orders/{order}/ship", rest.Command[ShipOrder](b, unknownOrder))
	mux.Handle("POST /orders/{order}/cancel", rest.Command[CancelOrder](b, unknownOrder))

	mux.Handle("POST /customers", rest.Command[RegisterCustomer](b, rest.Fill("customer", customerOf), rest.Created("/customers/{customer}/profile")))
	mux.Handle("PUT /customers/{customer}/profile", rest.Command[UpdateProfile](b, rest.NotFound(ErrUnknownCustomer)))

	mux.Handle("POST /carts/{cart}/products", rest.Command[AddProductToCart](b, rest.Fill("customer", customerOf)))
	mux.Handle("POST /carts/{cart}/checkout", rest.Command[CheckoutCart](b, newOrder, rest.Fill("customer", customerOf), rest.Created("/orders/{order}")))

	mux.Handle("POST /stock", rest.Command[ReceiveStock](b))

	if s.sales != nil {
		mux.Handle("GET /customers/{customer}/spending", rest.Query[GetSpending, SpendingView](b))
		mux.Handle("GET /revenue", rest.Query[GetRevenue, RevenueView](b))
	}
	mux.Handle("GET /projections", rest.Query[ListProjections, ProjectionPage](b))
	mux.Handle("GET /audit", rest.Query[ListCommands, CommandPage](b))

	health := http.NewServeMux() // for whoever asks
	health.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	health.HandleFunc("GET /readyz", s.readyz)

	all := http.NewServeMux()
	all.Handle("/", rest.Correlate(rest.Authenticate(authenticate)(rest.Routes(mux))))
	all.Handle("/livez", rest.Routes(health))
	all.Handle("/readyz", rest.Routes(health))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.ServeHTTP(w, r.WithContext(rest.WithLogger(r.Context(), s.logger)))
	})
}

func (s *Service) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.Ready(r.Context()); err != nil {
		rest.WriteProblem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func orderIn(r *http.Request) Order { return Order{ID: r.PathValue("order")} }

func maySee(p annals.Principal, o Order) error { return o.mayBeUsedBy(p) }
