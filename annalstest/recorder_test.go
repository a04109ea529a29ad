package annalstest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
)

// recorder is a testing.TB that notes its failures instead of being one.
type recorder struct {
	testing.TB
	messages []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool     { return len(r.messages) > 0 }

func (r *recorder) Errorf(format string, args ...any) {
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// record runs a test and returns what it complained of.
func record(t *testing.T, test func(*recorder)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	for _, f := range r.cleanups {
		f()
	}
	return strings.Join(r.messages, "\n")
}

// Tickets for shows.

type (
	ShowOpened struct {
		Show  string `json:"show" annals:"show,stream"`
		Seats int    `json:"seats"`
	}
	SeatTaken struct {
		Show  string   `json:"show" annals:"show,stream"`
		By    []string `json:"by"`
		Gifts []string `json:"gifts,omitempty"`
		note  string
	}
	Applause struct{ Volume int }
)

var schema = annals.NewSchema([]any{ShowOpened{}, SeatTaken{}, Applause{}})
