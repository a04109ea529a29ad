package cqrsotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/cqrs/cqrsotel"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

// Rang is an event, and Ring a command that rings a bell once.
type (
	Rang struct {
		Bell string `json:"bell" annals:"bell,stream"`
	}
	Bell struct {
		ID   string
		Rang bool
	}
	Ring    struct{ Bell string }
	WhoRang struct{ Fail error }
)

const errRang = decider.Rule("it rang already")

func (b Bell) Boundary() annals.Query { return annals.Stream("bell-" + b.ID) }
func (b Bell) Evolve(any) Bell        { b.Rang = true; return b }
func (c Ring) Initial() Bell          { return Bell{ID: c.Bell} }
func (c Ring) Decide(b Bell) ([]any, error) {
	if b.Rang {
		return nil, errRang
	}
	return []any{Rang(c)}, nil
}

func newBus(mw ...cqrs.Middleware) *cqrs.Bus[any] {
	bus := cqrs.New(annals.NewLog(memory.New(), annals.NewSchema([]any{Rang{}})), mw...)
	cqrs.Answer(bus, func(_ context.Context, q WhoRang) (string, error) { return "nobody", q.Fail })
	return bus
}

func TestEachMessageIsASpanAndEventsNameIt(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	bus := newBus(cqrsotel.Tracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	ctx := annals.WithMetadata(t.Context(), annals.Metadata{CorrelationID: "c1"})
	for range 2 {
		if _, err := cqrs.Do(ctx, bus, Ring{"1"}); err != nil && !errors.Is(err, errRang) {
			t.Fatal(err)
		}
	}
	if _, err := cqrs.Ask[string](ctx, bus, WhoRang{errors.New("no idea")}); err == nil {
		t.Fatal("the query is answered")
	}
	want := []string{
		"command Ring Unset annals.message.name=Ring annals.message.kind=command annals.correlation_id=c1 annals.outcome=ok",
		"command Ring Unset annals.message.name=Ring annals.message.kind=command annals.correlation_id=c1 annals.outcome=rejected",
		"query WhoRang Error annals.message.name=WhoRang annals.message.kind=query annals.correlation_id=c1 annals.outcome=failed",
	}
	if got := printed(spans); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	first := spans.Ended()[0].SpanContext()
	for e, err := range bus.Log().Read(t.Context(), annals.All()) {
		if parent := e.Meta().Traceparent; err != nil || parent != fmt.Sprintf("00-%s-%s-01", first.TraceID(), first.SpanID()) {
			t.Errorf("the event names %q, %v", parent, err)
		}
	}
}

// printed is what is compared of spans.
func printed(spans *tracetest.SpanRecorder) (lines []string) {
	for _, s := range spans.Ended() {
		line := s.Name() + " " + s.Status().Code.String()
		for _, a := range s.Attributes() {
			line += " " + string(a.Key) + "=" + a.Value.AsString()
		}
		lines = append(lines, line)
	}
	return lines
}

func TestWhatAnEventCausedIsLinkedToItsSpan(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	bus := newBus(cqrsotel.Tracing(provider))
	const cause = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	caused := annals.WithMetadata(t.Context(), annals.Metadata{Traceparent: cause})
	if _, err := cqrs.Do(caused, bus, Ring{"1"}); err != nil {
		t.Fatal(err)
	}
	within, span := provider.Tracer("test").Start(caused, "around")
	if _, err := cqrs.Do(within, bus, Ring{"2"}); err != nil {
		t.Fatal(err)
	}
	span.End()
	if _, err := cqrs.Do(annals.WithMetadata(t.Context(), annals.Metadata{Traceparent: "nonsense"}), bus, Ring{"3"}); err != nil {
		t.Fatal(err)
	}
	ended := spans.Ended()
	if links := ended[0].Links(); len(links) != 1 || links[0].SpanContext.SpanID().String() != "b7ad6b7169203331" || ended[0].Parent().IsValid() {
		t.Errorf("got links %+v", links)
	}
	if ended[1].Parent().SpanID() != span.SpanContext().SpanID() || len(ended[1].Links()) != 0 {
		t.Errorf("within a span: parent %v, links %+v", ended[1].Parent(), ended[1].Links())
	}
	if len(ended[3].Links()) != 0 {
		t.Errorf("nonsense is linked: %+v", ended[3].Links())
	}
}

func TestAPanicIsAnErrorOfTheSpan(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	explode := func(cqrs.Handler) cqrs.Handler {
		return func(context.Context, cqrs.Message) (any, error) { panic("oh") }
	}
	bus := newBus(cqrs.Recover(), cqrsotel.Tracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))), explode)
	if _, err := cqrs.Do(t.Context(), bus, Ring{"1"}); !errors.Is(err, cqrs.ErrPanic) {
		t.Fatal(err)
	}
	want := []string{"command Ring Error annals.message.name=Ring annals.message.kind=command annals.outcome=failed"}
	if got := printed(spans); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestMessagesAreMeasured(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	metrics, err := cqrsotel.Metrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	panics := func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			if m.Query {
				panic("oh")
			}
			return next(ctx, m)
		}
	}
	bus := newBus(cqrs.Recover(), metrics, panics)
	for range 3 {
		if _, err := cqrs.Do(t.Context(), bus, Ring{"1"}); err != nil && !errors.Is(err, errRang) {
			t.Fatal(err)
		}
	}
	if _, err := cqrs.Ask[string](t.Context(), bus, WhoRang{}); !errors.Is(err, cqrs.ErrPanic) {
		t.Fatal(err)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				name, _ := p.Attributes.Value("annals.message.name")
				outcome, _ := p.Attributes.Value("annals.outcome")
				got[m.Name+" "+name.AsString()+" "+outcome.AsString()] = p.Count
			}
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				if p.Value != 0 {
					t.Errorf("%s is %d when all is over", m.Name, p.Value)
				}
			}
		}
	}
	want := map[string]uint64{
		"annals.message.duration Ring ok": 1, "annals.message.duration Ring rejected": 2, "annals.message.duration WhoRang failed": 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v", got)
	}
}
