package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals/store/engine/segment"
)

// told is the history that a new store is given.
func told(t *testing.T) []string {
	t.Helper()
	data := t.TempDir()
	closed(t, opened(t, data))
	return eventsIn(t, data)
}

// killedBefore is a data directory whose dev was killed when the store had this many frames, or a few more, and not yet all of
// the events.
func killedBefore(t *testing.T, all []string, frames int) (data string) {
	t.Helper()
	for range 100 {
		data = t.TempDir()
		kill(t, data, frames)
		if len(eventsIn(t, data)) < len(all) {
			return data
		}
	}
	t.Fatal("no kill comes in the middle of the demo")
	return ""
}

// kill starts dev and kills it as soon as the store has this many frames.
func kill(t *testing.T, data string, frames int) {
	t.Helper()
	p := newProcess(t, nil, "--data", data)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); framesIn(t, data) < frames; {
		if time.Now().After(end) {
			p.kill()
			t.Fatalf("the demo is not told: %s", p.talk.String())
		}
	}
	p.kill()
}

// framesIn is how many frames the first segment begins with, as far as they have been written.
func framesIn(t *testing.T, data string) int {
	t.Helper()
	const enough = 256 << 10
	f, err := os.Open(filepath.Join(data, storeName, "00000001-001.seg"))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, enough))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte(segment.EnvelopeMagic))
}

func TestADemoThatWasKilledIsToldToItsEndAndOnce(t *testing.T) {
	t.Parallel()
	want := told(t)
	for _, frames := range []int{1, 8, 20} {
		data := killedBefore(t, want, frames)
		for range 2 {
			p := startDev(t, nil, "--data", data)
			if !strings.Contains(p.text, "/orders/1005/place") {
				t.Errorf("the greeting does not know the demo: %s", p.text)
			}
			p.kill()
			if got := eventsIn(t, data); !reflect.DeepEqual(got, want) {
				t.Fatalf("killed after about %d commands: got %v", frames, got)
			}
		}
	}
}

func TestADemoIsKnownAlsoIfItIsNotWanted(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	closed(t, opened(t, data))
	d := newDevIn(t, data)
	d.noDemo = true
	if err := d.Open(t.Context()); err != nil || !d.demo {
		t.Errorf("the demo is there: %v, %v", d.demo, err)
	}
	closed(t, d)
}

func TestADemoThatWasBegunStaysAsItIsIfTheStoreWasUsed(t *testing.T) {
	t.Parallel()
	data := killedBefore(t, told(t), 2)
	command(t, "", "append", filepath.Join(data, storeName), "", "Strange", "{}").is(exitOK)
	before := eventsIn(t, data)
	for range 2 {
		d := opened(t, data)
		if d.demo {
			t.Error("a part is taken for all")
		}
		closed(t, d)
	}
	if got := eventsIn(t, data); !reflect.DeepEqual(got, before) {
		t.Errorf("got %v", got)
	}
}
