package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/annalsdb/annals"
)

// errLeaseLost is the cause of a run that ended since another process has the projection now.
var errLeaseLost = errors.New("projection: another process runs it now")

// leaseNote says which process runs a projection, and until when it may be taken to be alive. It only keeps processes out of one another's
// way: that nothing is applied twice, by a process that was paused and wakes up late or whose clock is wrong, rests on the checkpoint, which
// every batch compares.
type leaseNote struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

func leaseKey(id string) string { return "lease/" + id }

// newHolder names this runner.
func newHolder() string {
	host, _ := os.Hostname() // it is only shown
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), annals.NewID())
}

// acquire waits until the lease is this runner's.
func (j *job[E]) acquire(ctx context.Context) error {
	said := false
	for {
		holder, err := j.claimLease(ctx)
		if holder == "" && err == nil {
			return nil
		}
		if err != nil && !temporary(err) {
			return err
		}
		if !said && err == nil {
			said = true
			j.logger.InfoContext(ctx, "projection stands by: another process runs it", slog.String("holder", holder))
		}
		j.state(StateStandby)
		select {
		case <-time.After(min(lookEvery, j.runner.Lease)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claimLease takes the lease, or makes it longer; it tells who has it otherwise.
func (j *job[E]) claimLease(ctx context.Context) (holder string, err error) {
	now := time.Now()
	err = changeNote(ctx, j.runner.Views, leaseKey(j.id), func(old []byte) ([]byte, error) {
		var l leaseNote
		if old != nil {
			if err := json.Unmarshal(old, &l); err != nil {
				return nil, err
			}
		}
		if holder = ""; l.Holder != j.runner.holder && l.Until.After(now) {
			holder = l.Holder
			return old, nil
		}
		return json.Marshal(leaseNote{Holder: j.runner.holder, Until: now.Add(j.runner.Lease)})
	})
	if err != nil {
		return "", fmt.Errorf("projection: %s: lease: %w", j.id, err)
	}
	return holder, nil
}

// hold keeps the lease until ctx ends, and calls lost once it is another's.
func (j *job[E]) hold(ctx context.Context, lost func()) {
	tick := time.NewTicker(j.runner.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if holder, err := j.claimLease(ctx); err == nil && holder != "" {
			lost()
			return
		}
	}
}

// giveUpLease lets another process run the projection at once.
func (j *job[E]) giveUpLease(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := changeNote(ctx, j.runner.Views, leaseKey(j.id), func(old []byte) ([]byte, error) {
		var l leaseNote
		if old != nil {
			if err := json.Unmarshal(old, &l); err != nil {
				return nil, err
			}
		}
		if l.Holder != j.runner.holder {
			return old, nil
		}
		return nil, nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		j.logger.WarnContext(ctx, "the lease of a projection was not given back, and will run out", slog.Any("error", err))
	}
}
