package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// cut removes what is torn. It is kept before it is zeroed, and zeroed before a frame is written after it.
func (d *Dir) cut(ctx context.Context, c cut) error {
	name, err := d.quarantine(c)
	if err != nil {
		return fmt.Errorf("putting a torn tail into quarantine: %w", err)
	}
	if err := writeZeros(c.s.file, c.from, c.to); err != nil {
		return fmt.Errorf("cutting %s: %w", c.s.name(), err)
	}
	if err := c.s.file.Sync(); err != nil {
		d.stop(err) // to sync again would tell nothing
		return fmt.Errorf("cutting %s: %w", c.s.name(), err)
	}
	d.log.WarnContext(ctx, "a torn tail, which was never acknowledged, was cut off",
		"file", c.s.name(), "offset", c.from, "bytes", c.to-c.from, "quarantine", name)
	d.noteCut(c, name)
	return nil
}

func (d *Dir) noteCut(c cut, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recovery.CutBytes += c.to - c.from
	if d.recovery.QuarantineFile == "" {
		d.recovery.QuarantineFile = name
	}
}

// quarantine copies the bytes, durably.
func (d *Dir) quarantine(c cut) (string, error) {
	dir := d.join(quarantineName)
	if err := d.fs.MkdirAll(dir); err != nil {
		return "", err
	}
	if err := d.fs.SyncDir(d.dir); err != nil {
		return "", err
	}
	for i := 0; ; i++ {
		name := filepath.Join(quarantineName, fmt.Sprintf("%s-%d-%d.%d", c.s.name(), c.from, d.epoch, i))
		err := d.spending(func() error { return d.copyTo(d.join(name), c) })
		if errors.Is(err, fs.ErrExist) {
			continue // an earlier opening did not get further
		}
		if err == nil {
			err = d.fs.SyncDir(dir)
		}
		return name, err
	}
}

func (d *Dir) copyTo(path string, c cut) error {
	f, err := d.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), io.NewSectionReader(c.s.file, c.from, c.to-c.from))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.fs.Remove(path))
	}
	return nil
}
