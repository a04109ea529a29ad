package rules

import "github.com/annalsdb/annals"

// InvoiceIssued is an invoice with its number.
type InvoiceIssued struct {
	Invoice string `json:"invoice" annals:"invoice,stream"`
	// Series is the sequence that the number belongs to, such as a year.
	Series string `json:"series" annals:"series"`
	Number int    `json:"number"`
}

func (InvoiceIssued) isEvent() {}

// Series is a sequence of invoices: 1, 2, 3, and no number missing, as the tax office wants it.
type Series struct {
	Name string
	Last int
}

// Boundary is every invoice of the series. Short series, such as one a year, keep it short.
func (s Series) Boundary() annals.Query {
	return annals.Tags("series:" + s.Name).Types("InvoiceIssued")
}

// Evolve folds one event in.
func (s Series) Evolve(e Event) Series {
	if e, ok := e.(InvoiceIssued); ok {
		s.Last = e.Number
	}
	return s
}

// IssueInvoice issues an invoice under the next number of its series. Two that are issued at once cannot get the same one:
// the second finds that its boundary has changed, and is decided again.
type IssueInvoice struct{ Invoice, Series string }

// Initial is the series before anything happened.
func (c IssueInvoice) Initial() Series { return Series{Name: c.Series} }

// Decide takes the next number.
func (c IssueInvoice) Decide(s Series) ([]Event, error) {
	return []Event{InvoiceIssued{Invoice: c.Invoice, Series: c.Series, Number: s.Last + 1}}, nil
}
