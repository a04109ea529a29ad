package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/annalsdb/annals"
)

// greeting is what `annals dev` says when it is ready. Every indented line works when it is pasted, and also a second
// time: what changes something has an idempotency key. Paths are absolute, so that only `go run` ties a line to a directory.
type greeting struct {
	URL, Store string
	// Annals is this program, as a shell finds it.
	Annals string
	Head   annals.Position
	Demo   bool
	// InDirectory says that the store is in a directory, and not on a server.
	InDirectory bool
	// NoCommands is why the store takes none, if it does not.
	NoCommands string
}

var greetingText = template.Must(template.New("greeting").Funcs(template.FuncMap{"quote": quote}).Parse(`
The order service listens on {{.URL}}
Its store is {{.Store}}, with {{.Head}} events. Ctrl-C stops it.
{{- with .NoCommands}}
It takes no commands: {{.}}
{{- end}}
Tokens: demo-customer-1, demo-customer-2, demo-clerk, demo-admin

Is it alive, and does it serve?
  curl -si '{{.URL}}/livez'
  curl -si '{{.URL}}/readyz'
{{if or .Demo .NoCommands}}
All orders, from the read model:
  curl -s -H 'Authorization: Bearer demo-clerk' '{{.URL}}/orders'
{{- end}}
{{- if .Demo}}
One order as it is, as it was at its revision 2, and what happened to it:
  curl -s -H 'Authorization: Bearer demo-customer-1' '{{.URL}}/orders/1001'
  curl -s -H 'Authorization: Bearer demo-customer-1' '{{.URL}}/orders/1001?revision=2'
  curl -s -H 'Authorization: Bearer demo-customer-1' '{{.URL}}/orders/1001/history'
{{- end}}
{{- if .NoCommands}}
{{else if .Demo}}
Add to an open order, and place it:
  curl -si -X POST -H 'Authorization: Bearer demo-customer-1' -H 'Idempotency-Key: more-tea' -H 'Content-Type: application/json' -d '{"product":"tea","count":1}' '{{.URL}}/orders/1005/items'
  curl -si -X POST -H 'Authorization: Bearer demo-customer-1' -H 'Idempotency-Key: that-is-all' '{{.URL}}/orders/1005/place'
Have a payment provider take the money (the card "declined" is refused, "slow" needs a second try), and see what came of it:
  curl -si -X POST -H 'Authorization: Bearer demo-customer-1' -H 'Idempotency-Key: my-card' -H 'Content-Type: application/json' -d '{"card":"mine"}' '{{.URL}}/orders/1005/charge'
  curl -s -H 'Authorization: Bearer demo-customer-1' '{{.URL}}/orders/1005/history'
Break a permission, and a rule:
  curl -si -X POST -H 'Authorization: Bearer demo-customer-2' '{{.URL}}/orders/1001/cancel'
  curl -si -X POST -H 'Authorization: Bearer demo-clerk' '{{.URL}}/orders/1002/pay'
{{else}}
Register a customer, take in stock, and create an order:
  curl -si -X POST -H 'Authorization: Bearer demo-customer-1' -H 'Idempotency-Key: here-i-am' -H 'Content-Type: application/json' -d '{"name":"Ann Archer","email":"ann@example.com"}' '{{.URL}}/customers'
  curl -si -X POST -H 'Authorization: Bearer demo-clerk' -H 'Idempotency-Key: first-tea' -H 'Content-Type: application/json' -d '{"product":"tea","count":10,"price":{"amount":450,"currency":"EUR"}}' '{{.URL}}/stock'
  curl -si -X POST -H 'Authorization: Bearer demo-customer-1' -H 'Idempotency-Key: my-first-order' -H 'Content-Type: application/json' -d '{}' '{{.URL}}/orders'
{{end}}
The events below all of it:
  {{.Annals}} read {{quote .Store}} --limit 10
{{- if .InDirectory}}
  {{.Annals}} verify {{quote .Store}}
  {{.Annals}} dump {{quote .Store}} --depth frames
{{- end}}
`))

// greet writes everything at once: whoever reads the first lines only must not end the program with that.
func greet(w io.Writer, g greeting) error {
	var text bytes.Buffer
	if err := greetingText.Execute(&text, g); err != nil {
		return err
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write the greeting: %w", err)
	}
	return nil
}

// program is how this program is called. What `go run` has built is gone when it ends, and it is called the same way again.
func program() string {
	exe, err := os.Executable()
	if err != nil {
		return "annals"
	}
	if filepath.Base(exe) == "annals" && strings.Contains(exe, "go-build") {
		return "go run ./cmd/annals"
	}
	return quote(exe)
}

var plain = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// quote writes text so that a shell reads it as one word.
func quote(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
