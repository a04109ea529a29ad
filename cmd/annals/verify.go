package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

func newVerify() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every byte of a store's directory",
		Long: `Reads everything that is durable, and compares all checksums and hashes: of records, of frames and the chain between
them, of headers, footers and whole files; then the index with the log. Each damage is printed with its file, its offset and the
positions that it took. What differs in the index costs nothing but time: it is made anew when the store is used. The directory is
opened read-only: another process may have it open.

The exit code is 6 if anything is damaged.`,
		Example: `  annals verify annals-data/store
  annals verify annals-data/store -o ndjson`,
		Args: argsNamed("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return verify(cmd, &o, args[0]) },
	}
	o.flag(cmd)
	return cmd
}

func verify(cmd *cobra.Command, o *output, dir string) (err error) {
	if err := checkStore(dir); err != nil {
		return err
	}
	out, err := o.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	found, err := inspect(cmd.Context(), dir)
	if err != nil {
		return err
	}
	for _, loss := range found.Damage {
		out.damage(loss)
	}
	for _, differs := range found.Index {
		out.index(differs)
	}
	out.summary(dir, &found)
	if len(found.Damage) > 0 {
		return errDamaged
	}
	return nil
}

// findings are what was checked and what was found.
type findings struct {
	disk.Report
	disk.Recovery
	Damage []*annals.DataLossError
}

// inspect checks everything. Damage is not its error.
func inspect(ctx context.Context, dir string) (found findings, err error) {
	i, err := disk.Inspect(ctx, dir)
	// So much is damaged that nothing can be told of the rest.
	if loss, ok := errors.AsType[*annals.DataLossError](err); ok {
		found.Damage = []*annals.DataLossError{loss}
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer func() {
		if closing := i.Close(); err == nil {
			err = closing
		}
	}()
	found.Recovery = i.Recovery()
	found.Report, err = i.Verify(ctx)
	found.Damage = found.Report.Damage
	if err == nil && len(found.Damage) == 0 {
		found.Index, err = inspectIndex(ctx, dir)
	}
	return found, err
}

// inspectIndex compares the index with a log that is not damaged.
func inspectIndex(ctx context.Context, dir string) (differs []*disk.IndexDamageError, err error) {
	s, err := disk.OpenReadOnly(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := s.Close(); err == nil {
			err = closing
		}
	}()
	return s.VerifyIndex(ctx)
}

// indexJSON is a part of the index that differs from the log, as a line of JSON.
type indexJSON struct {
	Kind   string `json:"kind"` // index
	Reason string `json:"reason"`
}

func (p *printer) index(differs *disk.IndexDamageError) {
	if p.json != nil {
		p.object(indexJSON{Kind: "index", Reason: differs.Error()})
		return
	}
	p.line("INDEX    %s", printable(differs.Error()))
}

// damageJSON is a damage as a line of JSON. Positions and offset are left out where they are not known.
type damageJSON struct {
	Kind   string          `json:"kind"` // damage
	File   string          `json:"file"`
	Offset int64           `json:"offset,omitempty"`
	First  annals.Position `json:"first,omitzero"`
	Last   annals.Position `json:"last,omitzero"`
	Reason string          `json:"reason"`
}

func (p *printer) damage(loss *annals.DataLossError) {
	if p.json != nil {
		p.object(damageJSON{Kind: "damage", File: loss.File, Offset: loss.Offset, First: loss.First, Last: loss.Last, Reason: loss.Reason})
		return
	}
	place := loss.File
	if loss.Offset != 0 {
		place += fmt.Sprintf(" at offset %d", loss.Offset)
	}
	switch loss.First {
	case 0: // not known
	case loss.Last:
		place += fmt.Sprintf(", position %d", loss.First)
	default:
		place += fmt.Sprintf(", positions %d to %d", loss.First, loss.Last)
	}
	p.line("DAMAGED  %s: %s", printable(place), printable(loss.Reason))
}

// summaryJSON is the last line of JSON.
type summaryJSON struct {
	Kind     string          `json:"kind"` // summary
	Segments int             `json:"segments"`
	Frames   uint64          `json:"frames"`
	Records  uint64          `json:"records"`
	Last     annals.Position `json:"last"`
	Clean    bool            `json:"clean"`
	Damaged  int             `json:"damaged"`
}

func (p *printer) summary(dir string, f *findings) {
	if p.json != nil {
		p.object(summaryJSON{
			Kind: "summary", Segments: f.Segments, Frames: f.Report.Frames, Records: f.Events, Last: f.Positions,
			Clean: f.Clean, Damaged: len(f.Damage),
		})
		return
	}
	positions := "no position"
	if f.Positions > 0 {
		positions = fmt.Sprintf("positions 1 to %d", f.Positions)
	}
	p.line("%s: %d segments; %d frames and %d records verify; the log has %s", printable(dir), f.Segments, f.Report.Frames, f.Events, positions)
	if f.Damage == nil && !f.Clean {
		p.line("it was not closed: a process has it open, or was killed; what is durable is what counts")
	}
	if len(f.Damage) > 0 {
		p.line("%d damaged; what is undamaged can be read", len(f.Damage))
		return
	}
	p.line("no damage")
}
