package faultlane_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/annalsdb/annals/internal/faultlane"
)

var kills = count("kills", 25, 4, "how often to kill the writing process")

// livesPerStore is how many processes write to a store before a new one is begun, so that checking does not become slow.
const livesPerStore = 20

func TestWhatAKilledProcessAcknowledgedIsThere(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seedFlag, 1))
	var restarts []time.Duration
	acked, kept, opening := 0, 0, 0
	for done := 0; done < *kills; {
		dir := filepath.Join(t.TempDir(), "store")
		l := faultlane.NewLedger()
		for life := 0; life < livesPerStore && done < *kills; life++ {
			c := startChild(t, os.Args[0], "write", dir, life)
			if !killSomeTime(t, c, l, rng) {
				opening++
			}
			done++
			if done < *kills && life < livesPerStore-1 && rng.IntN(4) == 0 {
				continue // the next process finds the log as the kill left it
			}
			start := time.Now()
			s := openStore(t, dir)
			restarts = append(restarts, time.Since(start))
			kept += verify(t, s, l, rng).Kept
			closeStore(t, s)
		}
		acked += l.Acked()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(restarts)
	report(t, "kill", "kills=%d while_opening=%d acked=%d kept_unacked=%d lost=0 phantom=0 gaps=0 restart_p99=%v",
		*kills, opening, acked, kept, restarts[len(restarts)*99/100])
}

// killSomeTime kills the process after so many answers, or after some time, which may be before it has opened the store. It
// tells whether it had.
func killSomeTime(t *testing.T, c *child, l *faultlane.Ledger, rng *rand.Rand) (opened bool) {
	t.Helper()
	lines := rng.IntN(1500)
	if rng.IntN(4) == 0 {
		lines = -1
		time.AfterFunc(time.Duration(rng.IntN(60_000))*time.Microsecond, func() { _ = c.Process.Kill() }) // it may have ended
	}
	for n := 0; c.out.Scan(); n++ {
		opened = opened || c.out.Text() == "open"
		enter(t, l, c.out.Text(), "")
		if n == lines {
			c.kill(t, l)
			return opened
		}
	}
	c.drain(t, l)
	return opened
}
