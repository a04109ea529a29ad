package orders_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
)

var (
	hashKey = []byte("a key of a test, long enough")
	schema  = orders.NewSchema(hashKey)

	ann   = annals.Principal{ID: "customer-1", Roles: []string{orders.RoleCustomer}}
	bob   = annals.Principal{ID: "customer-2", Roles: []string{orders.RoleCustomer}}
	clerk = annals.Principal{ID: "clerk", Roles: []string{orders.RoleClerk}}
	admin = annals.Principal{ID: "admin", Roles: []string{orders.RoleAdmin}}
)

type (
	created    = orders.OrderCreated
	added      = orders.ItemAdded
	removed    = orders.ItemRemoved
	placed     = orders.OrderPlaced
	paid       = orders.OrderPaid
	shipped    = orders.OrderShipped
	cancelled  = orders.OrderCancelled
	received   = orders.StockReceived
	registered = orders.CustomerRegistered
	updated    = orders.ProfileUpdated
	carted     = orders.ProductAddedToCart
	checkedOut = orders.CartCheckedOut
	lines      = orders.Lines
)

func eur(cents int64) orders.Money { return orders.Money{Amount: cents, Currency: "EUR"} }

func tea(count int) orders.Line { return orders.Line{Product: "tea", Count: count, Price: eur(450)} }

func pot(count int) orders.Line { return orders.Line{Product: "pot", Count: count, Price: eur(3900)} }

// Pasts that many tests begin with.
var (
	annIs     = registered{Customer: ann.ID, Name: "Ann", Email: "ann@example.com"}
	teaCame   = received{Product: "tea", Count: 5, Price: eur(450)}
	potCame   = received{Product: "pot", Count: 1, Price: eur(3900)}
	openPast  = []orders.Event{annIs, teaCame, potCame, created{Order: "1", Customer: ann.ID}}
	withTea   = append(slices.Clip(openPast), added{"1", tea(2)})
	placedTea = append(slices.Clip(withTea), placed{"1", lines{tea(2)}, eur(900)})
	paidTea   = append(slices.Clip(placedTea), paid{"1", eur(900)})
)

func when[C decider.Command[S, orders.Event], S decider.State[S, orders.Event]](t *testing.T, p annals.Principal, cmd C) *annalstest.Spec[S, orders.Event] {
	t.Helper()
	return annalstest.When(t, schema, cmd).As(p)
}

func TestAnOrderIsCreatedOnceForARegisteredCustomer(t *testing.T) {
	t.Parallel()
	create := orders.CreateOrder{Order: "1", Customer: ann.ID}
	for _, p := range []annals.Principal{ann, clerk, admin} {
		when(t, p, create).Given(annIs, created{"2", ann.ID}).Then(created{"1", ann.ID})
	}
	when(t, ann, create).ThenError(orders.ErrUnknownCustomer)
	when(t, ann, create).Given(openPast...).ThenError(orders.ErrOrderExists)
	when(t, bob, create).Given(annIs).ThenError(decider.ErrForbidden)
	when(t, annals.Principal{}, create).Given(annIs).ThenError(decider.ErrForbidden)
	when(t, annals.Principal{ID: ann.ID}, create).Given(annIs).ThenError(decider.ErrForbidden)
	when(t, clerk, orders.CreateOrder{}).ThenInvalid("order", "customer")
	when(t, clerk, orders.CreateOrder{Order: "a b", Customer: "é"}).ThenInvalid("order", "customer")
}

func TestAnItemIsAddedAtThePriceOfTheProduct(t *testing.T) {
	t.Parallel()
	add := orders.AddItem{Order: "1", Product: "tea", Count: 2}
	when(t, ann, add).Given(openPast...).Then(added{"1", tea(2)})
	when(t, clerk, add).Given(openPast...).
		Given(received{"tea", 1, eur(500)}).
		Then(added{"1", orders.Line{Product: "tea", Count: 2, Price: eur(500)}})
	when(t, ann, add).Given(withTea...).Given(received{"tea", 1, eur(500)}).
		ThenState(orders.Adding{
			Order:   orders.Order{ID: "1", Customer: ann.ID, Status: orders.StatusOpen, Lines: lines{{Product: "tea", Count: 4, Price: eur(500)}}},
			Product: orders.Product{ID: "tea", Known: true, Price: eur(500)},
		})
	when(t, clerk, add).Given(teaCame).ThenError(orders.ErrUnknownOrder)
	when(t, ann, add).Given(teaCame).ThenError(orders.ErrUnknownOrder) // nobody's order is no secret
	when(t, annals.Principal{ID: ann.ID}, add).Given(teaCame).ThenError(decider.ErrForbidden)
	when(t, bob, add).Given(openPast...).ThenError(decider.ErrForbidden)
	when(t, ann, add).Given(placedTea...).ThenError(orders.ErrNotOpen)
	when(t, ann, orders.AddItem{Order: "1", Product: "gold", Count: 1}).Given(openPast...).ThenError(orders.ErrUnknownProduct)
	when(t, ann, orders.AddItem{Order: "1", Product: "pot", Count: 1}).Given(withTea...).
		Given(added{"1", orders.Line{Product: "book", Count: 1, Price: orders.Money{Amount: 1, Currency: "USD"}}}).
		ThenError(orders.ErrCurrency)
	when(t, ann, orders.AddItem{Order: "1", Product: "tea", Count: orders.CountMax}).Given(withTea...).ThenError(orders.ErrTooManyPieces)
	when(t, ann, orders.AddItem{}).ThenInvalid("order", "product", "count")
	when(t, ann, orders.AddItem{Order: "1", Product: "tea", Count: orders.CountMax + 1}).ThenInvalid("count")
}

func TestAnOrderHasSoManyProductsAtMost(t *testing.T) {
	t.Parallel()
	past := slices.Clip(openPast)
	for i := range orders.LinesMax {
		past = append(past, added{"1", orders.Line{Product: fmt.Sprint("p", i), Count: 1, Price: eur(1)}})
	}
	when(t, ann, orders.AddItem{Order: "1", Product: "tea", Count: 1}).Given(past...).ThenError(orders.ErrTooManyLines)
	when(t, ann, orders.AddItem{Order: "1", Product: "p0", Count: 1}).Given(past...).Given(received{"p0", 1, eur(1)}).
		Then(added{"1", orders.Line{Product: "p0", Count: 1, Price: eur(1)}})
	stock := make([]orders.Event, orders.LinesMax)
	var all lines
	for i := range stock {
		p := fmt.Sprint("p", i)
		stock[i] = received{p, 1, eur(1)}
		all = append(all, orders.Line{Product: p, Count: 1, Price: eur(1)})
	}
	when(t, ann, orders.PlaceOrder{Order: "1"}).Given(stock...).Given(past...).Then(placed{"1", all, eur(orders.LinesMax)})
}

func TestAnItemIsRemovedFromAnOpenOrder(t *testing.T) {
	t.Parallel()
	remove := orders.RemoveItem{Order: "1", Product: "tea"}
	when(t, ann, remove).Given(withTea...).Then(removed{"1", "tea"})
	when(t, clerk, remove).Given(withTea...).Then(removed{"1", "tea"})
	when(t, ann, remove).Given(openPast...).ThenError(orders.ErrNoSuchItem)
	when(t, ann, remove).Given(placedTea...).ThenError(orders.ErrNotOpen)
	when(t, clerk, remove).ThenError(orders.ErrUnknownOrder)
	when(t, ann, remove).ThenError(orders.ErrUnknownOrder)
	when(t, bob, remove).Given(withTea...).ThenError(decider.ErrForbidden)
	when(t, ann, orders.RemoveItem{}).ThenInvalid("order", "product")
}

func TestAnOrderIsPlacedIfAllItsProductsAreThere(t *testing.T) {
	t.Parallel()
	place := orders.PlaceOrder{Order: "1"}
	both := append(slices.Clip(withTea), added{"1", pot(1)})
	when(t, ann, place).Given(both...).Then(placed{"1", lines{tea(2), pot(1)}, eur(4800)})
	when(t, clerk, place).Given(withTea...).Then(placed{"1", lines{tea(2)}, eur(900)})
	when(t, ann, place).Given(both...).Given(placed{"2", lines{pot(1)}, eur(3900)}).ThenError(orders.ErrSoldOut)
	when(t, ann, place).Given(both...).
		Given(placed{"2", lines{pot(1)}, eur(3900)}, cancelled{Order: "2", Returned: lines{pot(1)}}).
		Then(placed{"1", lines{tea(2), pot(1)}, eur(4800)})
	when(t, ann, place).Given(both...).
		Given(placed{"2", lines{pot(1)}, eur(3900)}, removed{"1", "pot"}).
		Then(placed{"1", lines{tea(2)}, eur(900)})
	when(t, ann, place).Given(withTea...).Given(added{"1", tea(4)}).ThenError(orders.ErrSoldOut)
	when(t, ann, place).Given(openPast...).ThenError(orders.ErrEmptyOrder)
	when(t, ann, place).Given(placedTea...).ThenError(orders.ErrNotOpen)
	when(t, clerk, place).ThenError(orders.ErrUnknownOrder)
	when(t, ann, place).ThenError(orders.ErrUnknownOrder)
	when(t, bob, place).Given(withTea...).ThenError(decider.ErrForbidden)
	when(t, ann, orders.PlaceOrder{}).ThenInvalid("order")
}

func TestAPlacedOrderIsPaid(t *testing.T) {
	t.Parallel()
	pay := orders.PayOrder{Order: "1"}
	when(t, ann, pay).Given(placedTea...).Then(paid{"1", eur(900)})
	when(t, clerk, pay).Given(placedTea...).Then(paid{"1", eur(900)})
	when(t, ann, pay).Given(withTea...).ThenError(orders.ErrNotPlaced)
	when(t, ann, pay).Given(paidTea...).ThenError(orders.ErrNotPlaced)
	when(t, clerk, pay).ThenError(orders.ErrUnknownOrder)
	when(t, ann, pay).ThenError(orders.ErrUnknownOrder)
	when(t, bob, pay).Given(placedTea...).ThenError(decider.ErrForbidden)
	when(t, ann, orders.PayOrder{}).ThenInvalid("order")
}

func TestAClerkShipsAPaidOrder(t *testing.T) {
	t.Parallel()
	ship := orders.ShipOrder{Order: "1"}
	when(t, clerk, ship).Given(paidTea...).Then(shipped{"1"})
	when(t, admin, ship).Given(paidTea...).Then(shipped{"1"})
	when(t, clerk, ship).Given(placedTea...).ThenError(orders.ErrNotPaid)
	when(t, clerk, ship).Given(paidTea...).Given(shipped{"1"}).ThenError(orders.ErrNotPaid)
	when(t, clerk, ship).ThenError(orders.ErrUnknownOrder)
	when(t, ann, ship).Given(paidTea...).ThenError(decider.ErrForbidden)
	when(t, clerk, orders.ShipOrder{}).ThenInvalid("order")
}

func TestAnOrderIsCancelledAndGivesItsStockBack(t *testing.T) {
	t.Parallel()
	cancel := orders.CancelOrder{Order: "1"}
	when(t, ann, cancel).Given(placedTea...).Then(cancelled{"1", lines{tea(2)}})
	when(t, clerk, cancel).Given(withTea...).Then(cancelled{Order: "1"})
	when(t, ann, cancel).Given(paidTea...).ThenError(orders.ErrNotCancellable)
	when(t, ann, cancel).Given(withTea...).Given(cancelled{Order: "1"}).ThenError(orders.ErrNotCancellable)
	when(t, clerk, cancel).ThenError(orders.ErrUnknownOrder)
	when(t, ann, cancel).ThenError(orders.ErrUnknownOrder)
	when(t, bob, cancel).Given(withTea...).ThenError(decider.ErrForbidden)
	when(t, ann, orders.CancelOrder{}).ThenInvalid("order")
}

func TestAClerkReceivesStock(t *testing.T) {
	t.Parallel()
	receive := orders.ReceiveStock{Product: "tea", Count: 5, Price: eur(450)}
	when(t, clerk, receive).Then(teaCame)
	when(t, admin, receive).Given(received{"tea", 1, eur(100)}).Then(teaCame)
	when(t, clerk, receive).Given(received{"tea", 1, orders.Money{Amount: 1, Currency: "USD"}}).ThenError(orders.ErrCurrency)
	when(t, ann, receive).ThenError(decider.ErrForbidden)
	when(t, clerk, orders.ReceiveStock{Price: orders.Money{Amount: -1, Currency: "€"}}).
		ThenInvalid("product", "count", "price.amount", "price.currency")
}

func TestACustomerRegistersOnceUnderAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	register := orders.RegisterCustomer{Customer: ann.ID, Name: "Ann", Email: "ann@example.com"}
	when(t, ann, register).Given(registered{bob.ID, "Bob", "bob@example.com"}).Then(annIs)
	when(t, clerk, register).Then(annIs)
	when(t, ann, orders.RegisterCustomer{Customer: ann.ID, Name: "Ann", Email: "Ann@Example.com"}).Then(annIs)
	when(t, ann, register).Given(registered{ann.ID, "Ann", "else@example.com"}).ThenError(orders.ErrCustomerExists)
	when(t, ann, register).Given(registered{bob.ID, "Bob", "ann@example.com"}).ThenError(orders.ErrEmailTaken)
	when(t, bob, register).ThenError(decider.ErrForbidden)
	when(t, clerk, orders.RegisterCustomer{}).ThenInvalid("customer", "name", "email")
	when(t, ann, orders.RegisterCustomer{Customer: ann.ID, Name: " ", Email: "Ann <ann@example.com>"}).ThenInvalid("name", "email")
}

func TestACustomerChangesTheirName(t *testing.T) {
	t.Parallel()
	update := orders.UpdateProfile{Customer: ann.ID, Name: "Anna"}
	when(t, ann, update).Given(annIs).Then(updated{ann.ID, "Anna"})
	when(t, clerk, update).Given(annIs).Then(updated{ann.ID, "Anna"})
	when(t, ann, update).Given(annIs, updated{ann.ID, "Anna"}).ThenNothing()
	when(t, ann, update).ThenError(orders.ErrUnknownCustomer)
	when(t, bob, update).Given(annIs).ThenError(decider.ErrForbidden)
	when(t, ann, orders.UpdateProfile{}).ThenInvalid("customer", "name")
}

func TestAProductIsAddedToTheCustomersOwnCart(t *testing.T) {
	t.Parallel()
	add := orders.AddProductToCart{Cart: "c", Customer: ann.ID, Product: "tea", Count: 2}
	inCart := carted{"customer-1:c", ann.ID, tea(2)}
	when(t, ann, add).Given(annIs, teaCame).Then(inCart)
	when(t, clerk, add).Given(annIs, teaCame, inCart).Then(inCart)
	when(t, ann, add).Given(teaCame).ThenError(orders.ErrUnknownCustomer)
	when(t, ann, add).Given(annIs).ThenError(orders.ErrUnknownProduct)
	when(t, ann, add).Given(annIs, teaCame, inCart, checkedOut{"customer-1:c", "1"}).ThenError(orders.ErrCheckedOut)
	when(t, ann, add).Given(annIs, teaCame, carted{"customer-2:c", bob.ID, tea(1)}, checkedOut{"customer-2:c", "1"}).Then(inCart)
	when(t, ann, add).Given(annIs, teaCame, carted{"customer-1:c", ann.ID, tea(orders.CountMax)}).ThenError(orders.ErrTooManyPieces)
	when(t, bob, add).Given(annIs, teaCame).ThenError(decider.ErrForbidden)
	when(t, ann, orders.AddProductToCart{}).ThenInvalid("cart", "customer", "product", "count")
}

func TestACheckoutMakesAnOrderOfACart(t *testing.T) {
	t.Parallel()
	checkout := orders.CheckoutCart{Cart: "c", Customer: ann.ID, Order: "1"}
	full := []orders.Event{annIs, teaCame, potCame, carted{"customer-1:c", ann.ID, tea(2)}, carted{"customer-1:c", ann.ID, pot(1)}}
	when(t, ann, checkout).Given(full...).
		Then(created{"1", ann.ID}, added{"1", tea(2)}, added{"1", pot(1)}, checkedOut{"customer-1:c", "1"})
	when(t, clerk, checkout).Given(full[:4]...).Then(created{"1", ann.ID}, added{"1", tea(2)}, checkedOut{"customer-1:c", "1"})
	when(t, ann, checkout).Given(full...).Given(checkedOut{"customer-1:c", "7"}).ThenError(orders.ErrCheckedOut)
	when(t, ann, checkout).Given(full...).Given(created{"1", ann.ID}).ThenError(orders.ErrOrderExists)
	when(t, clerk, checkout).ThenError(orders.ErrEmptyCart)
	when(t, ann, checkout).ThenError(orders.ErrEmptyCart)
	when(t, ann, checkout).Given(carted{"customer-2:c", bob.ID, tea(2)}).ThenError(orders.ErrEmptyCart)
	when(t, annals.Principal{}, checkout).ThenError(decider.ErrForbidden)
	when(t, bob, checkout).Given(full...).ThenError(decider.ErrForbidden)
	when(t, ann, orders.CheckoutCart{}).ThenInvalid("cart", "customer", "order")
}

func TestMoneyOfTwoCurrenciesIsNotAdded(t *testing.T) {
	t.Parallel()
	if sum, err := eur(1).Add(eur(2)); err != nil || sum != eur(3) {
		t.Errorf("1 + 2 = %v, %v", sum, err)
	}
	if sum, err := (orders.Money{}).Add(eur(2)); err != nil || sum != eur(2) {
		t.Errorf("0 + 2 = %v, %v", sum, err)
	}
	if _, err := eur(1).Add(orders.Money{Amount: 1, Currency: "USD"}); !is(err, orders.ErrCurrency) {
		t.Errorf("EUR + USD: %v", err)
	}
	if _, err := eur(1 << 62).Add(eur(1 << 62)); !is(err, orders.ErrAmount) {
		t.Errorf("2^62 + 2^62: %v", err)
	}
	if _, err := eur(1 << 62).Times(3); !is(err, orders.ErrAmount) {
		t.Errorf("2^62 * 3: %v", err)
	}
}

func TestStatesComeOutTheSameHoweverTheyAreReplayed(t *testing.T) {
	t.Parallel()
	store := memory.New()
	service, err := orders.New(config(store, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orders.Demo(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	log := orders.NewLog(store, hashKey)
	for _, id := range []string{"1001", "1002", "1003", "1004", "1005"} {
		annalstest.Replay(t, log, orders.Order{ID: id})
		annalstest.Replay(t, log, orders.Placing{Order: orders.Order{ID: id}})
	}
	annalstest.Replay(t, log, orders.Cart{Customer: bob.ID, Name: "bob"})
	annalstest.Replay(t, log, orders.Product{ID: "tea"})
	annalstest.Replay(t, log, orders.Registration{Customer: orders.Customer{ID: ann.ID}, Email: "bob@example.com"})
}
