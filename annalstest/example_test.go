package annalstest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
)

// printer is a testing.TB for the examples, which have none: in a test, it is the *testing.T.
type printer struct{ testing.TB }

func (printer) Helper()                           {}
func (printer) Cleanup(func())                    {}
func (printer) Context() context.Context          { return context.Background() }
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func ExampleProject() {
	var t printer
	annalstest.Project(t, schema, Shows).
		Given(ShowOpened{Show: "1", Seats: 3}, SeatTaken{Show: "1", By: []string{"ann"}}).
		ThenRow("1", ShowRow{Seats: 2, By: []string{"ann"}}).
		ThenNoRow("2")
	annalstest.Project(t, schema, Shows).Given(ShowOpened{Show: "1", Seats: 3}).ThenNoRow("1")
	// Output:
	// projection shows was to have no row "1", and has
	//   annalstest_test.ShowRow {"seats":3,"by":null}
}

func ExampleCheck() {
	var t printer
	annalstest.Check(t, schema, annalstest.Commands(func(r *rand.Rand) Enter {
		return Enter{Show: oneOf(r, "1", "2"), By: oneOf(r, "ann", "bob"), Wrong: "decide changes"}
	}))
	// Output:
	// annalstest: annalstest_test.Enter.Decide changes the state it is given
	// got  annalstest_test.Hall {"Show":"2","Wrong":"decide changes","Seats":2,"Guests":{"bob":1,"nobody":1},"Claps":0,"Stamp":0}
	// want annalstest_test.Hall {"Show":"2","Wrong":"decide changes","Seats":2,"Guests":{"bob":1},"Claps":0,"Stamp":0}
	// after the history
	//   1. annalstest_test.Enter {"Show":"2","By":"bob","Wrong":"decide changes"}
	//   2. annalstest_test.Enter {"Show":"2","By":"bob","Wrong":"decide changes"}
	//   3. annalstest_test.Enter {"Show":"2","By":"ann","Wrong":"decide changes"}
}

func ExampleSlice() {
	var t printer
	s := slice(t).Given(ShowOpened{Show: "1", Seats: 2})
	annalstest.Do(s, TakeSeat{Show: "1", By: "ann"}).Then(SeatTaken{Show: "1", By: []string{"ann"}})
	annalstest.ThenAnswer(s, GetShow{"1"}, ShowRow{Seats: 1, By: []string{"ann"}})
	annalstest.Do(s, TakeSeat{Show: "1", By: "bob"}).ThenError(decider.Rule("sold out"))
	// Output:
	// TakeSeat was refused otherwise:
	//  got TakeSeat rejected: no seat left
	// want sold out
}

func ExampleReact() {
	var t printer
	annalstest.React(t, schema, begin).
		Given(SeatTaken{Show: "1"}).
		When(SeatTaken{Show: "1"}).
		Then(annalstest.Sends(BeginShow{Show: "1"}))
	// Output:
	// the process manager "begin" does something else:
	// got:
	//     send annalstest_test.BeginShow {"Show":"1"}
	//     call lights with int 2
	//     cancel late
	//     complete
	// want:
	//     send annalstest_test.BeginShow {"Show":"1"}
}

func ExampleGolden() {
	var t printer
	dir := "testdata/nothing" // a directory that is not there
	annalstest.Golden(t, annals.NewSchema([]any{Applause{}}), dir)
	// Output:
	// annalstest: golden: Applause version 1 has no file in testdata/nothing: run the test with ANNALS_UPDATE=1, and commit what it writes
}
