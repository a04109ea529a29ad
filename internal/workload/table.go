package workload

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteTables writes the report in Markdown: a line about the machine, and a table for each workload.
func (r Report) WriteTables(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n", r.Machine)
	fmt.Fprintf(&out, "Medians of %d runs of %s; payload %s of %d bytes; %d events loaded; seed %d.\n",
		r.Options.Runs, r.Options.Duration.Round(time.Millisecond), r.Options.Payload, PayloadBytes, r.Options.Events, r.Options.Seed)
	for _, of := range r.byWorkload() {
		fmt.Fprintf(&out, "\n## %s: %s\n\n", of[0].Workload, of[0].Title)
		writeTable(&out, rowsOf(of))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Report) byWorkload() [][]Measurement {
	var all [][]Measurement
	for i, m := range r.Measurements {
		if i == 0 || m.Workload != r.Measurements[i-1].Workload {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], m)
	}
	return all
}

// rowsOf are the cells of a workload's table, the head first. A store that is not the first is compared with the first: how many times
// as good the first one is.
func rowsOf(of []Measurement) [][]string {
	first := ""
	for _, m := range of {
		if m.ToFloor > 0 || m.Target != floorName {
			first = m.Target
			break
		}
	}
	rows := [][]string{{"case", "store", "median", "unit", "least–most", "p50 µs", "p99 µs", "p99.9 µs", "÷ floor", first + " is better by"}}
	own := map[string]float64{}
	several := false
	for _, m := range of {
		if m.Target == first {
			own[m.Case] = m.Median
		}
		several = several || m.Target != first && m.Target != floorName
	}
	previous := ""
	for _, m := range of {
		name, better := m.Case, ""
		if name == previous {
			name = ""
		}
		previous = m.Case
		if o := own[m.Case]; o > 0 && m.Target != first && m.Target != floorName {
			factor := o / m.Median
			if m.LessIsBetter {
				factor = m.Median / o
			}
			better = figure(factor) + "×"
		}
		row := []string{
			name, m.Target, figure(m.Median), m.Unit, figure(m.Least()) + "–" + figure(m.Most()),
			optional(m.P50), optional(m.P99), optional(m.P999), ratio(m.ToFloor), better,
		}
		rows = append(rows, row)
	}
	if !several {
		for i := range rows {
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	return rows
}

func ratio(v float64) string {
	if v == 0 {
		return ""
	}
	if v < 0.1 {
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func optional(v float64) string {
	if v == 0 {
		return ""
	}
	return figure(v)
}

// figure writes three digits that count: more would be noise.
func figure(v float64) string {
	switch {
	case v >= 9_995_000:
		return strconv.FormatFloat(v/1e6, 'f', 1, 64) + "M"
	case v >= 999_500:
		return strconv.FormatFloat(v/1e6, 'f', 2, 64) + "M"
	case v >= 99_950:
		return strconv.FormatFloat(v/1e3, 'f', 0, 64) + "k"
	case v >= 9_995:
		return strconv.FormatFloat(v/1e3, 'f', 1, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func writeTable(out *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(out, "| %-*s ", widths[i], cell)
		}
		out.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i := range row {
			out.WriteString("| " + strings.Repeat("-", widths[i]) + " ")
		}
		out.WriteString("|\n")
	}
}
