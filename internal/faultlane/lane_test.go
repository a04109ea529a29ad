package faultlane_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/faultlane"
	"github.com/annalsdb/annals/internal/pgtest"
	"github.com/annalsdb/annals/store/disk"
)

// count is a flag for how much a lane does. The race detector makes everything slow and finds races in a little as well.
func count(name string, short, race int, usage string) *int {
	if underRace {
		short = race
	}
	return flag.Int(name, short, usage)
}

var seedFlag = flag.Uint64("seed", 0, "the seed of what is random; the simulation and the metamorphic lane run this one only, and tell more")

// report prints the one line of a lane. `make long` looks for it.
func report(t *testing.T, lane, format string, args ...any) {
	t.Helper()
	t.Logf("lane %s: %s", lane, fmt.Sprintf(format, args...))
}

// cannot ends a lane that the machine gives no means for. In CI that is a failure.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("this lane must run in CI: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// The test binary executes itself, to have a process that can be killed.
const (
	childDir  = "ANNALS_LANE_DIR"
	childLife = "ANNALS_LANE_LIFE"
	childDo   = "ANNALS_LANE_DO"
)

// children are what a process can be made to do, beside running tests.
var children = map[string]func(ctx context.Context, dir string, life int) error{"write": writeForEver, "project": projectForEver}

func TestMain(m *testing.M) {
	if do := children[os.Getenv(childDo)]; do != nil {
		life, err := strconv.Atoi(os.Getenv(childLife))
		if err == nil {
			err = do(context.Background(), os.Getenv(childDir), life)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	debug.SetGCPercent(400) // simulated disks are made and thrown away by the thousand
	os.Exit(pgtest.Main(m))
}

const (
	segmentBytes = 64 << 10 // small, so that much is rolled and sealed
	writers      = 8
)

// writeForEver opens the store, says so, and writes until it is killed.
func writeForEver(ctx context.Context, dir string, life int) error {
	s, err := disk.Open(ctx, dir, disk.SegmentBytes(segmentBytes))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "open"); err != nil {
		return err
	}
	w := faultlane.Writers{Store: s, Life: life, Count: writers, Ledger: os.Stdout}
	return w.Run(ctx)
}

// child is a process of this binary, or of another that was built of the same tests.
type child struct {
	*exec.Cmd
	out *bufio.Scanner
}

func startChild(t *testing.T, binary, do, dir string, life int) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), childDo+"="+do, childDir+"="+dir, childLife+"="+strconv.Itoa(life))
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &child{Cmd: cmd, out: bufio.NewScanner(stdout)}
}

// kill ends it, and enters what it still said into the ledger.
func (c *child) kill(t *testing.T, l *faultlane.Ledger) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.drain(t, l)
}

// drain enters what it says until it ends, and wants it to have been killed.
func (c *child) drain(t *testing.T, l *faultlane.Ledger) {
	t.Helper()
	for c.out.Scan() {
		enter(t, l, c.out.Text(), "")
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child was not killed: %v", err)
	}
}

// enter enters a line into the ledger. It counts 1 if somebody was refused for this reason.
func enter(t *testing.T, l *faultlane.Ledger, line, reason string) int {
	t.Helper()
	if line == "open" {
		return 0
	}
	if err := l.Line(line); err != nil {
		t.Fatal(err)
	}
	if reason != "" && strings.HasPrefix(line, "refused ") && strings.Contains(line, reason) {
		return 1
	}
	return 0
}

func openStore(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(t.Context(), dir, disk.SegmentBytes(segmentBytes))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func closeStore(t *testing.T, s *disk.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// verify wants the store to be what the ledger says, and undamaged.
func verify(t *testing.T, s *disk.Store, l *faultlane.Ledger, rng *rand.Rand) faultlane.Findings {
	t.Helper()
	if damage := s.Recovery().Damage; len(damage) > 0 {
		t.Fatalf("damage, and nothing did any: %v", damage[0])
	}
	o := faultlane.Oracle{Ledger: l, Random: rng, Queries: 6, Resend: 20}
	f, err := o.Check(t.Context(), s)
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var _ annals.Store = (*disk.Store)(nil)

// ledgerOf enters what writers say into a ledger, and counts those that were refused for a reason.
func ledgerOf(t *testing.T, l *faultlane.Ledger, w *faultlane.Writers, reason string) (refused int) {
	t.Helper()
	var said bytes.Buffer
	w.Ledger = &said
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said.String()) {
		refused += enter(t, l, strings.TrimSpace(line), reason)
	}
	return refused
}
