package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/timetravel"
)

// bisectFlags are what `annals bisect` can be asked for.
type bisectFlags struct {
	output output
	past   pastFlags
}

func newBisect() *cobra.Command {
	var f bisectFlags
	cmd := &cobra.Command{
		Use:   "bisect DIR STREAM EXPRESSION",
		Short: "Find the event after which something is not true any more of a stream's state",
		Long: `Finds the event after which an expression does not hold any more, of the state that annals state prints, by halving the past. It must hold before
the first event, and not hold today. The state's members are those of state; one that is not there is nil, and x ?? 0 stands for 0 then.
See https://expr-lang.org for the language.`,
		Example: `  annals bisect annals-data/store account-7 '(state.balance ?? 0) >= 0'
  annals bisect annals-data/store order-1001 'state["$type"] != "OrderCancelled"'`,
		Args: argsNamed("DIR", "STREAM", "EXPRESSION"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1], args[2]) },
	}
	f.output.flag(cmd)
	f.past.flag(cmd)
	return cmd
}

// brokenJSON is an answer as a line of JSON.
type brokenJSON struct {
	Event  recordedJSON    `json:"event"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Folds  int             `json:"folds"`
}

func (f *bisectFlags) run(cmd *cobra.Command, dir, stream, expression string) (err error) {
	opts, err := f.past.options(cmd)
	if err != nil {
		return err
	}
	holds, err := newPredicate(expression)
	if err != nil {
		return err
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return withReadOnly(cmd.Context(), dir, func(s annals.Store) error {
		if _, err := loadMerged(cmd, s, stream, opts); err != nil {
			return err
		}
		b, err := timetravel.Bisect(cmd.Context(), merged(s), timetravel.Merged{Stream: stream}, holds.of, opts...)
		if holds.err != nil {
			return holds.err
		}
		if err != nil {
			return err
		}
		before, err := b.Before.MarshalJSON()
		if err != nil {
			return err
		}
		after, err := b.After.MarshalJSON()
		if err != nil {
			return err
		}
		if out.json != nil {
			out.object(brokenJSON{toJSON(b.Event.Recorded), before, after, b.Folds})
			return nil
		}
		e := b.Event
		out.line("not any more since %s @%d at position %d, %s%s", printable(e.Type), e.Revision, e.Position, e.Time.Format(time.RFC3339), by(e.Meta()))
		changes, err := timetravel.Changes(before, after)
		for _, c := range changes {
			out.line("  %s", changeLine(c))
		}
		return err
	})
}

// predicate is an expression about a state. It remembers its first error, and holds from then on.
type predicate struct {
	program *vm.Program
	err     error
}

func newPredicate(text string) (*predicate, error) {
	program, err := expr.Compile(text, expr.Env(map[string]any{"state": map[string]any{}}), expr.AsBool())
	if err != nil {
		return nil, usageError{fmt.Errorf("the expression: %w", err)}
	}
	return &predicate{program: program}, nil
}

func (p *predicate) of(m timetravel.Merged) bool {
	doc, err := m.MarshalJSON()
	state := map[string]any{}
	if err == nil {
		err = json.Unmarshal(doc, &state)
	}
	var answer any
	if err == nil {
		answer, err = expr.Run(p.program, map[string]any{"state": state})
	}
	holds, ok := answer.(bool)
	if err == nil && !ok {
		err = errors.New("it is neither true nor false")
	}
	if err != nil && p.err == nil {
		p.err = usageError{fmt.Errorf("the expression, of %s: %w", preview(doc), err)}
	}
	return holds || err != nil
}
