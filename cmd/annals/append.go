package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// appendFlags are what `annals append` can be asked for.
type appendFlags struct {
	output           output
	create           bool
	tags             []string
	expect, id, meta string
	contentType      string
	version          uint16
}

// eventFlags are those that describe the one event of a command line.
var eventFlags = []string{"tag", "expect", "id", "metadata", "content-type", "schema-version"}

func newAppend() *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append DIR [STREAM TYPE DATA]",
		Short: "Append events to a store's directory",
		Long: `Appends one event, or what the standard input says, and prints where it went when it is durable. No other process may
have the directory open.

STREAM may be "" for an event without one. DATA is JSON, or - to read it from the standard input.

Without them each line of the standard input is one append, all or nothing, in JSON: an event in the form that read prints, or
several, and the conditions that must hold. Position, revision and time are given anew, and ids kept.

  {"type":"OrderShipped","stream":"order-42","tags":["order:42"],"data":{"order":"42"}}
  {"events":[{"type":"A","data":1},{"type":"B"}],"conditions":[{"stream":"order-42","revision":2}]}

Conditions are {"stream":S,"revision":N}, {"stream":S,"exists":true or false}, and {"noneSince":"POSITION","query":[ITEMS]}: no
event after the position matches any of the items, such as {"types":["A","B"],"tags":["order:42"],"stream":S,"category":C}.

The first line that cannot be appended ends the command; those before it are stored. To give events ids makes it safe to send
them again.`,
		Example: `  annals append ./store order-42 OrderShipped '{"order":"42"}' --tag order:42 --expect 2
  annals read ./store --stream order-42 -o ndjson | annals append --create ./copy`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 4 {
				return wrongArgs(cmd, args, "DIR, or DIR STREAM TYPE DATA")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.output.flag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.create, "create", false, "make a new store if there is none")
	flags.StringArrayVar(&f.tags, "tag", nil, "a `TAG` of the event; may be given again")
	flags.StringVar(&f.expect, "expect", "any", "the last `REVISION` that the stream must have: a number, none, exists, or any")
	flags.StringVar(&f.id, "id", "", "the event's `ID`, so that the command can be repeated without a second effect")
	flags.StringVar(&f.meta, "metadata", "", "the event's metadata, a `JSON` object")
	flags.StringVar(&f.contentType, "content-type", "", "the media `TYPE` of DATA, if it is not JSON")
	flags.Uint16Var(&f.version, "schema-version", 1, "the schema `VERSION` of DATA")
	return cmd
}

func (f *appendFlags) run(cmd *cobra.Command, args []string) (err error) {
	in := interruptible(cmd.Context(), cmd.InOrStdin())
	appends := readAppends(in)
	if len(args) == 1 {
		for _, name := range eventFlags {
			if cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s is for the event of the command line; a line of the input says it itself", name)}
			}
		}
	} else {
		a, err := f.one(cmd, in, args[1:])
		if err != nil {
			return err
		}
		appends = func(yield func(appendOf, error) bool) { yield(a, nil) }
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return f.withStore(cmd.Context(), args[0], func(s annals.Store) error {
		for a, err := range appends {
			if err == nil {
				err = a.send(cmd.Context(), s, out)
			}
			if err != nil {
				return a.at(err)
			}
		}
		return nil
	})
}

// withStore opens the store: a directory, which nobody else may have open meanwhile, or one on a server.
func (f *appendFlags) withStore(ctx context.Context, dir string, use func(annals.Store) error) (err error) {
	if isServer(dir) {
		return withServer(ctx, dir, use)
	}
	if err := checkStore(dir); err != nil {
		none, ok := errors.AsType[*noStoreError](err)
		switch {
		case ok && !f.create && none.vacant:
			return fmt.Errorf("%w: --create makes a new store", err)
		case !ok || !f.create:
			return err
		}
	}
	s, err := disk.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		if closing := s.Close(); err == nil {
			err = closing
		}
	}()
	return use(s)
}

// one is the event of the command line: a stream, a type and data.
func (f *appendFlags) one(cmd *cobra.Command, in io.Reader, args []string) (appendOf, error) {
	e := annals.Event{
		ID: annals.NewID(), Stream: args[0], Type: args[1], Version: f.version, Tags: f.tags,
		ContentType: f.contentType, Data: []byte(args[2]), Metadata: []byte(f.meta),
	}
	var err error
	if args[2] == "-" {
		if e.Data, err = io.ReadAll(in); err != nil {
			return appendOf{}, fmt.Errorf("read the data: %w", err)
		}
	}
	if cmd.Flags().Changed("id") {
		if e.ID, err = annals.ParseID(f.id); err != nil {
			return appendOf{}, usageError{fmt.Errorf("--id: %s", message(err))}
		}
	}
	if isJSON(f.contentType) && !json.Valid(e.Data) {
		return appendOf{}, usageError{errors.New("DATA is not JSON: give its --content-type if that is meant")}
	}
	if f.meta != "" && json.Unmarshal(e.Metadata, new(map[string]any)) != nil {
		return appendOf{}, usageError{errors.New("--metadata is not a JSON object")}
	}
	conds, err := f.conditions(e.Stream)
	return appendOf{events: []annals.Event{e}, conditions: conds}, err
}

func (f *appendFlags) conditions(stream string) ([]annals.Condition, error) {
	switch f.expect {
	case "any":
		return nil, nil
	case "none":
		return []annals.Condition{annals.NoStream(stream)}, nil
	case "exists":
		return []annals.Condition{annals.StreamExists(stream)}, nil
	}
	n, err := strconv.ParseUint(f.expect, 10, 64)
	if err != nil {
		return nil, usageError{fmt.Errorf("--expect %q: there are a number, none, exists and any", f.expect)}
	}
	return []annals.Condition{annals.StreamAt(stream, annals.Revision(n))}, nil
}

// appendOf is one append: events and the conditions that must hold.
type appendOf struct {
	line       int // of the input, from 1; 0 if it is the command line's
	events     []annals.Event
	conditions []annals.Condition
}

// at tells which line an error is about.
func (a *appendOf) at(err error) error {
	switch a.line {
	case 0:
		return err
	case 1:
		return fmt.Errorf("line 1 of the input: %w", trimmed{err})
	}
	return fmt.Errorf("line %d of the input: %w (the lines before it are stored)", a.line, trimmed{err})
}

// trimmed is an error without the name of the package in front, for the middle of a sentence.
type trimmed struct{ error }

func (e trimmed) Error() string { return message(e.error) }
func (e trimmed) Unwrap() error { return e.error }

// receiptJSON is where an append went.
type receiptJSON struct {
	First     annals.Position  `json:"first,omitzero"`
	Last      annals.Position  `json:"last,omitzero"`
	Head      annals.Position  `json:"head"`
	Revision  *annals.Revision `json:"revision,omitempty"`
	Time      time.Time        `json:"time,omitzero"`
	IDs       []annals.ID      `json:"ids,omitempty"`
	Duplicate bool             `json:"duplicate,omitempty"`
}

// send appends, and tells where the events went at once: whoever sends lines one by one waits for it.
func (a *appendOf) send(ctx context.Context, s annals.Store, out *printer) error {
	receipt, err := s.Append(ctx, a.events, a.conditions...)
	if errors.Is(err, annals.ErrUnknownOutcome) {
		return fmt.Errorf("%w: ids %s", err, joined(a.ids()))
	}
	if err != nil {
		return err
	}
	answer := receiptJSON{
		First: receipt.First, Last: receipt.Last, Head: receipt.Head, Time: receipt.Time, IDs: a.ids(), Duplicate: receipt.Duplicate,
	}
	if receipt.Revision != annals.NoRevision {
		answer.Revision = &receipt.Revision
	}
	if out.json != nil {
		out.object(answer)
	} else {
		out.line("%s", answer.text())
	}
	return out.flush()
}

func (a *appendOf) ids() []annals.ID {
	ids := make([]annals.ID, len(a.events))
	for i := range a.events {
		ids[i] = a.events[i].ID
	}
	return ids
}

func joined(ids []annals.ID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, " ")
}

func (r *receiptJSON) text() string {
	if r.First == 0 {
		return fmt.Sprintf("the conditions hold, as of position %d", r.Head)
	}
	text := fmt.Sprintf("position %d", r.First)
	if r.Last != r.First {
		text = fmt.Sprintf("positions %d to %d", r.First, r.Last)
	}
	if r.Revision != nil {
		text += fmt.Sprintf(", revision %d", *r.Revision)
	}
	if r.Duplicate {
		text += ", stored before"
	}
	return text + ", id " + joined(r.IDs)
}
