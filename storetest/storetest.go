package storetest

import (
	"testing"
	"time"

	"github.com/annalsdb/annals"
)

// Option adjusts the suite to a store.
type Option func(*options)

type options struct {
	patience   time.Duration
	operations int
	system     bool
}

func newOptions(opts []Option) options {
	o := options{patience: 30 * time.Second, operations: 300, system: true}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Patience is how long the suite waits for something that must happen before it calls the promise broken. By default
// 30 s. No test takes longer because of it, unless it fails.
func Patience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// Operations is how many random operations [Model] does. By default 300.
func Operations(n int) Option { return func(o *options) { o.operations = n } }

// WithoutSystem declares that the store is no [annals.SystemStore]. The promises about system events are then skipped
// by name, and [Model] appends none.
func WithoutSystem() Option { return func(o *options) { o.system = false } }

// Run proves that the stores that open makes keep the promises of [annals.Store]: one subtest each, in groups by topic.
//
// Each call of open returns an empty store of its own, and leaves what has to be cleaned up to t.Cleanup. Stores with a
// Close method are closed by some tests, so Close must bear being called twice. Subtests run in parallel; all have
// ended when Run returns.
//
// What a store can do beyond that it claims by interface: if it is an [annals.Retainer] or an [annals.Tracker], it is held to
// their promises too; if not, it must refuse what they would do.
func Run(t *testing.T, open func(t *testing.T) annals.Store, opts ...Option) {
	t.Helper()
	o := newOptions(opts)
	for _, topic := range topics(open(t)) {
		t.Run(topic.name, func(t *testing.T) {
			for _, p := range topic.promises {
				t.Run(p.rule, func(t *testing.T) {
					t.Parallel()
					if topic.system && !o.system {
						t.Skip("declared: the store keeps no system events")
					}
					p.keep(&rig{T: t, store: open(t), rule: p.rule, options: o})
				})
			}
		})
	}
}

// promise is one sentence of the contract, and how to see whether it is kept.
type promise struct {
	rule string
	keep func(r *rig)
}

type topic struct {
	name     string
	promises []promise
	system   bool // needs an annals.SystemStore
}

// topics are what s promises: with the powers that it claims by what it implements.
func topics(s annals.Store) []topic {
	retention, tracking := noRetentionPromises(), noTrackingPromises()
	if _, ok := s.(annals.Retainer); ok {
		retention = retentionPromises()
	}
	if _, ok := s.(annals.Tracker); ok {
		tracking = trackingPromises()
	}
	return []topic{
		{name: "append", promises: appendPromises()},
		{name: "ids", promises: idPromises()},
		{name: "conditions", promises: conditionPromises()},
		{name: "queries", promises: queryPromises()},
		{name: "reads", promises: readPromises()},
		{name: "iterators", promises: iteratorPromises()},
		{name: "lending scans", promises: scanPromises()},
		{name: "bad input", promises: invalidPromises()},
		{name: "limits", promises: limitPromises()},
		{name: "system events", promises: systemPromises(), system: true},
		{name: "retention", promises: retention},
		{name: "tracking", promises: tracking},
		{name: "subscriptions", promises: subscribePromises()},
		{name: "races", promises: racePromises()},
		{name: "closing", promises: closePromises()},
		{name: "dcb.events examples", promises: dcbPromises()},
	}
}
