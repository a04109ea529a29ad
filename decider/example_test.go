package decider_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

type CustomerRegistered struct {
	Customer string `json:"customer" annals:"customer,stream"`
	Email    string `json:"email" annals:"email"`
}

const ErrTaken = decider.Rule("e-mail is taken")

// Email is one e-mail address, across all customers.
type Email struct {
	Address string
	Taken   bool
}

func (m Email) Boundary() annals.Query { return annals.Tags("email:" + m.Address) }
func (m Email) Evolve(any) Email       { m.Taken = true; return m }

type RegisterCustomer struct{ Customer, Email string }

func (c RegisterCustomer) Initial() Email { return Email{Address: c.Email} }

func (c RegisterCustomer) Decide(m Email) ([]any, error) {
	if m.Taken {
		return nil, ErrTaken
	}
	return []any{CustomerRegistered(c)}, nil
}

// An e-mail address is unique across all customers: the boundary is a tag, not a stream.
func ExampleExecute() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{CustomerRegistered{}}))
	res, err := decider.Execute(ctx, log, RegisterCustomer{"1", "ann@example.com"})
	fmt.Println(res.Position, err)
	_, err = decider.Execute(ctx, log, RegisterCustomer{"2", "ann@example.com"})
	fmt.Println(err, errors.Is(err, ErrTaken))
	// Output:
	// 1 <nil>
	// RegisterCustomer rejected: e-mail is taken true
}

// A command that is sent twice under a key takes effect once.
func ExampleIdempotencyKey() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{CustomerRegistered{}}))
	for range 2 {
		res, err := decider.Execute(ctx, log, RegisterCustomer{"1", "ann@example.com"}, decider.IdempotencyKey("form-17"))
		fmt.Println(res.Events, res.Position, res.Duplicate, err)
	}
	// Output:
	// [{1 ann@example.com}] 1 false <nil>
	// [{1 ann@example.com}] 1 true <nil>
}

// A state can be loaded without a command, and updated with a function.
func ExampleUpdate() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{CustomerRegistered{}}))
	_, err := decider.Update(ctx, log, Email{Address: "ann@example.com"}, func(Email) ([]any, error) {
		return []any{CustomerRegistered{"1", "ann@example.com"}}, nil
	})
	fmt.Println(err)
	now, err := decider.Load(ctx, log, Email{Address: "ann@example.com"})
	fmt.Println(now.State.Taken, err)
	then, err := decider.Load(ctx, log, Email{Address: "ann@example.com"}, annals.AsOf(0))
	fmt.Println(then.State.Taken, err)
	// Output:
	// <nil>
	// true <nil>
	// false <nil>
}
