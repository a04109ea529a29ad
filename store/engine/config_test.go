package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
)

// widest are the limits up to which a record has room.
func widest() annals.Limits {
	l := annals.MinLimits()
	l.EventBytes, l.AppendBytes, l.AppendEvents = 16<<20, 64<<20, 100_000
	l.TypeBytes, l.StreamBytes, l.TagBytes, l.EventTags = 32<<10, 32<<10, 32<<10, 255
	return l
}

func TestLimitsThatTheFormatHasNoRoomForAreRefused(t *testing.T) {
	t.Parallel()
	for name, field := range map[string]func(*annals.Limits) *int{
		"EventBytes":   func(l *annals.Limits) *int { return &l.EventBytes },
		"AppendBytes":  func(l *annals.Limits) *int { return &l.AppendBytes },
		"AppendEvents": func(l *annals.Limits) *int { return &l.AppendEvents },
		"TypeBytes":    func(l *annals.Limits) *int { return &l.TypeBytes },
		"StreamBytes":  func(l *annals.Limits) *int { return &l.StreamBytes },
		"TagBytes":     func(l *annals.Limits) *int { return &l.TagBytes },
		"EventTags":    func(l *annals.Limits) *int { return &l.EventTags },
	} {
		c := config(newJournal())
		c.Limits = widest()
		*field(&c.Limits)++
		s, err := engine.Open(t.Context(), c)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s one over: got %v", name, err)
		}
	}
}

func TestWhatTheWidestLimitsLetInCanBeRead(t *testing.T) {
	t.Parallel()
	l := widest()
	j := newJournal()
	s := start(t, j, func(c *engine.Config) { c.Limits = l })
	long := strings.Repeat("x", 32<<10)
	e := annals.Event{ID: annals.NewID(), Type: long[:l.TypeBytes], Stream: long[:l.StreamBytes], Data: []byte("{}")}
	for i := range l.EventTags {
		e.Tags = append(e.Tags, fmt.Sprint("t:", i))
	}
	wide := annals.Event{ID: annals.NewID(), Type: "A", Tags: []string{"t:" + long[:l.TagBytes-2]}, Data: make([]byte, l.EventBytes/2)}
	es := []annals.Event{e, wide}
	if _, err := s.Append(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*engine.Store{s, start(t, j, func(c *engine.Config) { c.Limits = l })} {
		got, err := read(t, s, annals.All())
		if err != nil || len(got) != 2 || !got[0].SameContent(e.Canonical()) || !got[1].SameContent(wide.Canonical()) {
			t.Errorf("read %d events, %v", len(got), err)
		}
	}
}
