package orders_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"

	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	store := memory.New()
	service, err := orders.New(orders.Config{
		Store: store, Views: projection.NewMemory(), HashKey: []byte("sixteen bytes, or more"), Authenticate: orders.DemoTokens(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- service.Run(ctx) }()
	if _, err := orders.Demo(ctx, service); err != nil {
		fmt.Println(err)
	}
	head, err := store.Head(ctx)
	if err != nil {
		fmt.Println(err)
	}

	r := httptest.NewRequestWithContext(ctx, "GET", "/orders?customer=customer-2&status=placed", nil)
	r.Header.Set("Authorization", "Bearer demo-clerk")
	r.Header.Set("Annals-At-Least", head.String())
	w := httptest.NewRecorder()
	service.Handler().ServeHTTP(w, r)
	var page orders.OrderPage
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		fmt.Println(err)
	}
	for _, o := range page.Orders {
		fmt.Println(w.Code, o.ID, o.CustomerName, o.Status, o.Total.Amount, o.Total.Currency)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// 200 1004 Robert Baker placed 4180 EUR
	// <nil>
}
