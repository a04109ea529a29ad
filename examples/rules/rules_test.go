package rules_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/rules"
	"github.com/annalsdb/annals/store/memory"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return noon.Add(d) }

func TestAUsernameIsUniqueAmongAllAccounts(t *testing.T) {
	t.Parallel()
	bob := rules.OpenAccount{Account: "2", Username: "ann", At: noon}
	opened := rules.AccountOpened{Account: "1", Username: "ann"}
	annalstest.When(t, rules.Schema, bob).Then(rules.AccountOpened{Account: "2", Username: "ann"})
	annalstest.When(t, rules.Schema, bob).Given(opened).ThenError(rules.ErrUsernameTaken)
	annalstest.When(t, rules.Schema, rules.OpenAccount{Account: "1", Username: "anne", At: noon}).Given(opened).ThenError(rules.ErrAccountOpen)
}

func TestAUsernameIsFreeAgainAWhileAfterItWasGivenUp(t *testing.T) {
	t.Parallel()
	given := []rules.Event{
		rules.AccountOpened{Account: "1", Username: "ann"},
		rules.AccountClosed{Account: "1", Username: "ann", At: noon},
	}
	open := func(account string, at time.Time) *annalstest.Spec[rules.Naming, rules.Event] {
		return annalstest.When(t, rules.Schema, rules.OpenAccount{Account: account, Username: "ann", At: at}).Given(given...)
	}
	open("2", after(rules.UsernameKept)).ThenError(rules.ErrUsernameTaken)
	open("2", after(rules.UsernameKept+1)).Then(rules.AccountOpened{Account: "2", Username: "ann"})
	open("1", after(1)).Then(rules.AccountOpened{Account: "1", Username: "ann"}) // it is kept for its owner
}

func TestAUsernameChanges(t *testing.T) {
	t.Parallel()
	opened := rules.AccountOpened{Account: "1", Username: "ann"}
	changed := rules.UsernameChanged{Account: "1", Username: "anne", Before: "ann", At: noon}
	change := rules.ChangeUsername{Account: "1", Username: "anne", At: noon}
	annalstest.When(t, rules.Schema, change).Given(opened).Then(changed)
	annalstest.When(t, rules.Schema, change).ThenError(rules.ErrUnknownAccount)
	annalstest.When(t, rules.Schema, change).Given(opened, changed).ThenError(rules.ErrSameUsername)
	annalstest.When(t, rules.Schema, change).Given(opened, rules.AccountOpened{Account: "2", Username: "anne"}).ThenError(rules.ErrUsernameTaken)

	take := func(name string, at time.Time) *annalstest.Spec[rules.Naming, rules.Event] {
		return annalstest.When(t, rules.Schema, rules.OpenAccount{Account: "2", Username: name, At: at}).Given(opened, changed)
	}
	take("anne", after(rules.UsernameKept+1)).ThenError(rules.ErrUsernameTaken)
	take("ann", after(rules.UsernameKept)).ThenError(rules.ErrUsernameTaken)
	take("ann", after(rules.UsernameKept+1)).Then(rules.AccountOpened{Account: "2", Username: "ann"})

	annalstest.When(t, rules.Schema, rules.CloseAccount{Account: "1", At: noon}).ThenError(rules.ErrUnknownAccount)
	annalstest.When(t, rules.Schema, rules.CloseAccount{Account: "1", At: noon}).Given(opened, changed).
		Then(rules.AccountClosed{Account: "1", Username: "anne", At: noon})
}

func TestManyWhoWantOneUsernameAtOnce(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), rules.Schema)
	errs := atOnce(30, func(i int) error {
		_, err := decider.Execute(t.Context(), log, rules.OpenAccount{Account: fmt.Sprint(i), Username: "ann", At: noon}, decider.Retry(100))
		return err
	})
	got := 0
	for _, err := range errs {
		switch {
		case err == nil:
			got++
		case !is(err, rules.ErrUsernameTaken):
			t.Error(err)
		}
	}
	if got != 1 {
		t.Errorf("%d accounts have the name", got)
	}
}

func TestInvoiceNumbersHaveNoGaps(t *testing.T) {
	t.Parallel()
	const invoices = 30
	log := annals.NewLog(memory.New(), rules.Schema)
	errs := atOnce(invoices, func(i int) error {
		_, err := decider.Execute(t.Context(), log, rules.IssueInvoice{Invoice: fmt.Sprint(i), Series: "2026"}, decider.Retry(100))
		return err
	})
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	next := 1
	for e, err := range log.Read(t.Context(), annals.Types("InvoiceIssued")) {
		if err != nil {
			t.Fatal(err)
		}
		if issued, ok := e.Value.(rules.InvoiceIssued); !ok || issued.Number != next {
			t.Errorf("after %d comes %+v", next-1, e.Value)
		}
		next++
	}
	if next != invoices+1 {
		t.Errorf("the last number is %d", next-1)
	}
	annalstest.When(t, rules.Schema, rules.IssueInvoice{Invoice: "i", Series: "2027"}).
		Given(rules.InvoiceIssued{Invoice: "h", Series: "2026", Number: 1}).
		Then(rules.InvoiceIssued{Invoice: "i", Series: "2027", Number: 1})
}

func TestATokenWorksOnceAndInTime(t *testing.T) {
	t.Parallel()
	requested, confirmed := rules.SignUpRequested{Token: "t", User: "ann", At: noon}, rules.SignUpConfirmed{Token: "t", User: "ann"}
	confirm := func(at time.Time) *annalstest.Spec[rules.Token, rules.Event] {
		return annalstest.When(t, rules.Schema, rules.ConfirmSignUp{Token: "t", At: at})
	}
	confirm(noon).ThenError(rules.ErrUnknownToken)
	confirm(after(rules.TokenLife)).Given(requested).Then(confirmed)
	confirm(after(rules.TokenLife + 1)).Given(requested).ThenError(rules.ErrTokenExpired)
	confirm(noon).Given(requested, confirmed).ThenError(rules.ErrTokenUsed)
}

func TestAPriceIsHonouredForAWhile(t *testing.T) {
	t.Parallel()
	given := []rules.Event{
		rules.PriceSet{Product: "tea", Cents: 450, At: after(-time.Hour)},
		rules.PriceSet{Product: "tea", Cents: 480, At: noon},
		rules.PriceSet{Product: "coffee", Cents: 890, At: noon},
	}
	order := func(at time.Time, offers ...rules.Offer) *annalstest.Spec[rules.Prices, rules.Event] {
		return annalstest.When(t, rules.Schema, rules.OrderProducts{Offers: offers, At: at}).Given(given...)
	}
	tea, oldTea, coffee := rules.Offer{Product: "tea", Cents: 480}, rules.Offer{Product: "tea", Cents: 450}, rules.Offer{Product: "coffee", Cents: 890}
	// Orders are no part of the boundary, for they do not change a price: only the price that was shown must be good still.
	for at, offers := range map[time.Time][]rules.Offer{noon: {tea, coffee}, after(rules.PriceHonoured): {coffee, oldTea}} {
		order(at, offers...).Unguarded(rules.ProductsOrdered{}).Then(rules.ProductsOrdered{Offers: offers})
	}
	order(after(rules.PriceHonoured+1), coffee, oldTea).ThenError(rules.ErrOtherPrice)
	order(noon, rules.Offer{Product: "coffee", Cents: 1}).ThenError(rules.ErrOtherPrice)
	order(noon, rules.Offer{Product: "milk", Cents: 100}).ThenError(rules.ErrUnknownProduct)
	order(noon).ThenInvalid("offers")
}

func TestAFormIsSubmittedOnce(t *testing.T) {
	t.Parallel()
	submit := func(text string) *annalstest.Spec[rules.Submission, rules.Event] {
		return annalstest.When(t, rules.Schema, rules.SubmitForm{Submission: "s1", Text: text})
	}
	submit("hello").Given(rules.FormSubmitted{Submission: "s2", Text: "hello"}).Then(rules.FormSubmitted{Submission: "s1", Text: "hello"})
	submit("again").Given(rules.FormSubmitted{Submission: "s1", Text: "hello"}).ThenError(rules.ErrSubmitted)
}

func TestARuleIsThatOfTheDayWhenTheEventHappened(t *testing.T) {
	t.Parallel()
	log := annals.NewLog(memory.New(), rules.Schema)
	july := time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)
	weighed := func(at time.Time) rules.Event { return rules.ParcelWeighed{Sender: "ann", Grams: 1000, At: at} }
	if _, err := log.Append(t.Context(), []rules.Event{weighed(july.Add(-1)), weighed(july)}); err != nil {
		t.Fatal(err)
	}
	owed, err := decider.Load(t.Context(), log, rules.Postage{Sender: "ann"})
	if want := 400 + 750; err != nil || owed.State.Cents != want {
		t.Errorf("got %d cents, %v; want %d", owed.State.Cents, err, want)
	}
	annalstest.Replay(t, log, rules.Postage{Sender: "ann"})
}

// atOnce does something n times at once.
func atOnce(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errs
}
