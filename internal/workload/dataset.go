package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
)

// dataset is what is loaded to be read: event i is a function of the seed and of i alone.
//
//   - Six events of ten belong to streams of 10, two to streams of 100, two to streams of 1000. The events of a stream are
//     spread over the whole log.
//   - Each event has three tags. Two are of families in which a tag has about 1000 events, independent of each other, so
//     that one of each meet about once in a million events. The third is hot:a for a quarter of the events, hot:b for
//     another, which never meet, and for the others an item, which has 10 events.
//   - Each event has one of twenty types, so that a type and a tag of 1000 events meet in about 50.
type dataset struct {
	seed    uint64
	payload Payload
	events  int
}

const (
	datasetTypes = 20
	// The parts of ten events that belong to streams of each length, and the lengths.
	streamClasses = 3
	// The number of events of a tag.
	itemEvents, courseEvents = 10, 1000
	hotA, hotB               = "hot:a", "hot:b"
)

var (
	streamLengths = [streamClasses]int{10, 100, 1000}
	streamShares  = [streamClasses]int{6, 2, 2}
)

func isStreamLength(n int) bool { return streamClass(n) < streamClasses }

func streamClass(length int) int {
	for c, n := range streamLengths {
		if n == length {
			return c
		}
	}
	return streamClasses
}

// mix is a hash of i, other for each salt.
func (d *dataset) mix(i int, salt uint64) uint64 {
	x := uint64(i)*0x9e3779b97f4a7c15 + d.seed*0xd1342543de82ef95 + salt<<56
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// event is the i-th, from 0. Its payload comes from src.
func (d *dataset) event(i int, src *source) annals.Event {
	return annals.Event{
		ID: annals.MakeID(time.UnixMilli(1_700_000_000_000+int64(i)), d.randomness(i)), Type: typeName(d.typeOf(i)), Stream: d.streamOf(i),
		Tags: []string{courseTag(d.course(i)), d.third(i), studentTag(d.student(i))}, Data: src.data(),
	}
}

func (d *dataset) randomness(i int) (random [10]byte) {
	for at := range random {
		random[at] = byte(d.mix(i, 4+uint64(at/8)) >> (8 * (at % 8)))
	}
	return random
}

func (d *dataset) typeOf(i int) int { return int(d.mix(i, 3) % datasetTypes) }

func typeName(n int) string { return fmt.Sprintf("OrderChanged%02d", n) }

// courses is the number of tags in each of the two families of frequent ones. There are at least two.
func (d *dataset) courses() int { return max(2, d.events/courseEvents) }

func (d *dataset) course(i int) int { return int(d.mix(i, 1) % uint64(d.courses())) }

func (d *dataset) student(i int) int { return int(d.mix(i, 2) % uint64(d.courses())) }

func courseTag(n int) string { return fmt.Sprintf("course:%06d", n) }

func studentTag(n int) string { return fmt.Sprintf("student:%06d", n) }

// third is the tag that is hot or an item.
func (d *dataset) third(i int) string {
	switch i % 4 {
	case 0:
		return hotA
	case 1:
		return hotB
	}
	return itemTag((i/4*2 + i%4 - 2) % d.items())
}

func itemTag(n int) string { return fmt.Sprintf("item:%08x", scrambled(n)) }

// withItem is the number of events that have an item.
func (d *dataset) withItem() int { return d.events/4*2 + max(0, d.events%4-2) }

func (d *dataset) items() int { return max(1, d.withItem()/itemEvents) }

// itemEvents is how many events the n-th item has.
func (d *dataset) itemEvents(n int) int { return shareOf(d.withItem(), d.items(), n) }

// shareOf is how many of total things the n-th of so many gets, if they are dealt like cards.
func shareOf(total, among, n int) int {
	share := total / among
	if n < total%among {
		share++
	}
	return share
}

// scrambled keeps names from sorting as they were written. It is one to one.
func scrambled(n int) uint32 { return uint32(n) * 2654435761 }

// streamOf is the stream of event i.
func (d *dataset) streamOf(i int) string {
	place := i % 10
	for c, share := range streamShares {
		if place < share {
			return streamName(c, (i/10*share+place)%d.streams(c))
		}
		place -= share
	}
	panic("workload: the shares of the streams are ten")
}

func streamName(class, n int) string {
	return fmt.Sprintf("order%d-%08x", streamLengths[class], scrambled(n))
}

// inStreams is how many events belong to streams of a class.
func (d *dataset) inStreams(class int) int {
	before := 0
	for c := range class {
		before += streamShares[c]
	}
	share := streamShares[class]
	return d.events/10*share + min(share, max(0, d.events%10-before))
}

func (d *dataset) streams(class int) int { return max(1, d.inStreams(class)/streamLengths[class]) }

// streamEvents is how many events the n-th stream of a class has.
func (d *dataset) streamEvents(class, n int) int {
	return shareOf(d.inStreams(class), d.streams(class), n)
}

// loadBatch is how many events are loaded at once: fewer than every store accepts.
const loadBatch = 900

// load appends all events.
func (d *dataset) load(ctx context.Context, s Store) error {
	src := newSource(d.seed, 0, d.payload)
	batch := make([]annals.Event, 0, loadBatch)
	for i := range d.events {
		batch = append(batch, d.event(i, src))
		if len(batch) < loadBatch && i < d.events-1 {
			continue
		}
		if err := s.Append(ctx, batch); err != nil {
			return fmt.Errorf("load event %d: %w", i, err)
		}
		batch = batch[:0]
	}
	return mustHold(ctx, s, int64(d.events))
}
