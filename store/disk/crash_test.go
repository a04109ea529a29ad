package disk_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// The test binary executes itself, to have a process that can be killed.
const (
	childDir = "ANNALS_DISK_TEST_CHILD_DIR"
	childDo  = "ANNALS_DISK_TEST_CHILD_DO"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(context.Background(), dir, os.Getenv(childDo)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	childWriters = 8
	childHolds   = 10 // events
)

// child opens the store and says so. To write is to write until it is killed, and to say what was acknowledged; to hold
// is to write a little, and to wait until its input ends.
func child(ctx context.Context, dir, do string) error {
	s, err := disk.Open(ctx, dir, disk.SegmentBytes(256<<10))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "open"); err != nil {
		return err
	}
	if do == "hold" {
		for range childHolds {
			if err := acknowledge(ctx, s, childAppend(0)); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, os.Stdin)
		return errors.Join(err, s.Close())
	}
	var writing sync.WaitGroup
	for w := range childWriters {
		writing.Go(func() {
			for {
				if err := acknowledge(ctx, s, childAppend(w)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		})
	}
	writing.Wait()
	return errors.New("nobody killed the writers")
}

// acknowledge appends and says where the events are. A short line is written in one piece.
func acknowledge(ctx context.Context, s annals.Store, es []annals.Event) error {
	r, err := s.Append(ctx, es)
	if err != nil {
		return err
	}
	for i, e := range es {
		if _, err := fmt.Fprintf(os.Stdout, "acked %d %s %s\n", r.First+annals.Position(i), e.ID, e.Stream); err != nil {
			return err
		}
	}
	return nil
}

func childAppend(w int) []annals.Event {
	es := make([]annals.Event, 1+w%3)
	for i := range es {
		id := annals.NewID()
		stream := fmt.Sprint("w-", w)
		es[i] = annals.Event{ID: id, Type: "Written", Stream: stream, Tags: []string{annals.Tag("w", fmt.Sprint(w))}, Data: content(id)}
	}
	return es
}

// content is the data of the event with this id, of some random size.
func content(id annals.ID) []byte {
	b := make([]byte, binary.BigEndian.Uint16(id[10:])%3000)
	for i := range b {
		b[i] = id[i%16] + byte(i/16)
	}
	return b
}

func startChild(t *testing.T, dir, do string) (cmd *exec.Cmd, in io.Closer, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childDo+"="+do)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = bufio.NewScanner(stdout)
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("the child said %q, %v", out.Text(), out.Err())
	}
	return cmd, stdin, out
}

func TestEveryAcknowledgedEventOutlivesKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	type ack struct{ id, stream string }
	acked := map[annals.Position]ack{}
	for round := range 20 {
		cmd, _, out := startChild(t, dir, "write")
		for n := 0; out.Scan(); n++ {
			var p annals.Position
			var a ack
			if _, err := fmt.Sscanf(out.Text(), "acked %d %s %s", &p, &a.id, &a.stream); err != nil {
				t.Fatalf("the child said %q: %v", out.Text(), err)
			}
			if acked[p].id != "" {
				t.Fatalf("position %d was acknowledged twice", p)
			}
			acked[p] = a
			if n == 20+round*7 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		s := start(t, dir)
		revisions := map[string]annals.Revision{}
		found := 0
		got, err := read(t, s, annals.All())
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			a, wasAcked := acked[e.Position]
			if wasAcked {
				found++
			}
			if wasAcked && (e.ID.String() != a.id || e.Stream != a.stream) {
				t.Errorf("position %d is %s in %s, and was acknowledged as %+v", e.Position, e.ID, e.Stream, a)
			}
			if e.Position != annals.Position(i+1) || e.Revision != revisions[e.Stream] || string(e.Data) != string(content(e.ID)) {
				t.Errorf("event %d is damaged: position %d, revision %d", i, e.Position, e.Revision)
			}
			revisions[e.Stream]++
		}
		if found != len(acked) {
			t.Fatalf("round %d: %d events were acknowledged, %d are there", round, len(acked), found)
		}
		closed(t, s)
	}
	t.Logf("%d acknowledged events outlived 20 kills", len(acked))
}

func TestASecondProcessIsLockedOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, in, _ := startChild(t, dir, "hold")
	_, err := disk.Open(t.Context(), dir)
	if !errors.Is(err, disk.ErrLocked) || !strings.Contains(fmt.Sprint(err), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("got %v, want ErrLocked and the process %d", err, cmd.Process.Pid)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

func TestATornTailIsCutAndKeptInQuarantine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, _, out := startChild(t, dir, "hold")
	var last string
	for range childHolds {
		out.Scan()
		last = strings.Fields(out.Text())[2]
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	id, err := annals.ParseID(last)
	if err != nil {
		t.Fatal(err)
	}
	change(t, dir, string(id[:]), func(b []byte) { clear(b[40:64]) }) // as if the frame had not been written to its end
	s := start(t, dir)
	r := s.Recovery()
	if r.Clean || r.CutBytes == 0 || len(r.Damage) > 0 || r.Positions != childHolds-1 {
		t.Errorf("the recovery says %+v; want it to have cut the last of %d frames", r, childHolds)
	}
	if b, err := os.ReadFile(filepath.Join(dir, r.QuarantineFile)); err != nil || int64(len(b)) < r.CutBytes {
		t.Errorf("in quarantine are %d bytes, %v; want those that were cut", len(b), err)
	}
	got, err := read(t, s, annals.All())
	if err != nil || annals.Position(len(got)) != r.Positions {
		t.Errorf("read %d events, %v; want %d", len(got), err, r.Positions)
	}
	if next := put(t, s, annals.Event{Type: "A"}); next.First != r.Positions+1 {
		t.Errorf("the next event is at %d, want %d", next.First, r.Positions+1)
	}
}
