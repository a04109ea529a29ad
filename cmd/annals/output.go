package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

const (
	formatTable  = "table"
	formatNDJSON = "ndjson"
)

// output is where findings go, and in which form.
type output struct{ format string }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "the `FORMAT`: table, or ndjson, one JSON object a line (default table on a terminal, else ndjson)")
}

// to opens the output. The caller closes it, also after an error: what was found before is to be seen.
func (o *output) to(w io.Writer) (*printer, error) {
	p := &printer{w: bufio.NewWriter(w)}
	switch {
	case o.format == formatNDJSON, o.format == "" && !isTerminal(w):
		p.json = json.NewEncoder(p.w)
		p.json.SetEscapeHTML(false)
	case o.format != formatTable && o.format != "":
		return nil, usageError{fmt.Errorf("--output %q: there are table and ndjson", o.format)}
	}
	return p, nil
}

// isTerminal tells whether people look at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printer writes lines, for people or for programs. It remembers the first error of writing and does nothing from then on.
type printer struct {
	w    *bufio.Writer
	json *json.Encoder // nil if people read it
	err  error
}

// object writes a line for programs.
func (p *printer) object(v any) {
	if p.err == nil {
		p.err = p.json.Encode(v)
	}
}

// line writes a line for people. Texts from a store must be [printable].
func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// flush writes what is buffered, and gives the first error of writing.
func (p *printer) flush() error {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

// close writes what is buffered. err is what ended the work before; if the output failed, nobody reads the other.
func (p *printer) close(err error) error {
	if writing := p.flush(); writing != nil {
		return fmt.Errorf("write the output: %w", writing)
	}
	return err
}

// printable makes text fit for a terminal: what a store holds must not move its cursor.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, text)
}
