package toolkit

import (
	"encoding/json"
	"testing"
	"time"

	experiment "github.com/go-json-experiment/json"
	goccy "github.com/goccy/go-json"
	segmentio "github.com/segmentio/encoding/json"
)

// placed is an event with lines in it.
type placed struct {
	Order    string    `json:"order"`
	Customer string    `json:"customer"`
	Lines    []line    `json:"lines"`
	At       time.Time `json:"at"`
}

type line struct {
	Product string `json:"product"`
	Count   int    `json:"count"`
	Price   price  `json:"price"`
}

type price struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// BenchmarkJSON compares packages for JSON, see docs/adr/0007-codec.md.
func BenchmarkJSON(b *testing.B) {
	events := map[string]func() any{"small": func() any { return new(Deposited) }, "lines": func() any { return new(placed) }}
	values := map[string]any{
		"small": Deposited{"order-123456", 2},
		"lines": placed{
			"order-123456", "customer-1",
			[]line{{"tea", 2, price{450, "EUR"}}, {"coffee", 1, price{890, "EUR"}}},
			time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
		},
	}
	for _, p := range []struct {
		name      string
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
	}{
		{"std", json.Marshal, json.Unmarshal},
		{"goccy", goccy.Marshal, goccy.Unmarshal},
		{"segmentio", segmentio.Marshal, segmentio.Unmarshal},
		{
			"experiment", func(v any) ([]byte, error) { return experiment.Marshal(v) },
			func(data []byte, v any) error { return experiment.Unmarshal(data, v) },
		},
	} {
		for _, size := range []string{"small", "lines"} {
			data, err := p.marshal(values[size])
			if err != nil {
				b.Fatal(err)
			}
			b.Run("decode/"+size+"/"+p.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := p.unmarshal(data, events[size]()); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("encode/"+size+"/"+p.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.marshal(values[size]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
