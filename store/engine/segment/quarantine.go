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
func (d *Dir) cut(ctx context.Context, cuts []cut) error {
	for _, c := range cuts {
		name, err := d.quarantine(c)
		if err != nil {
			return fmt.Errorf("putting a torn tail into quarantine: %w", err)
		}
		if err := writeZeros(c.s.file, c.from, c.to); err != nil {
			return fmt.Errorf("cutting %s: %w", c.s.name(), err)
		}
		if err := c.s.file.Sync(); err != nil {
			return fmt.Errorf("cutting %s: %w", c.s.name(), err)
		}
		d.log.WarnContext(ctx, "a torn tail, which was never acknowledged, was cut off",
			"file", c.s.name(), "offset", c.from, "bytes", c.to-c.from, "quarantine", name)
		d.recovery.CutBytes += c.to - c.from
		if d.recovery.QuarantineFile == "" {
			d.recovery.QuarantineFile = name
		}
	}
	return nil
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
	b := make([]byte, c.to-c.from)
	if n, err := c.s.file.ReadAt(b, c.from); n < len(b) && !errors.Is(err, io.EOF) {
		return "", err
	}
	for i := 0; ; i++ {
		name := filepath.Join(quarantineName, fmt.Sprintf("%s-%d-%d.%d", c.s.name(), c.from, d.epoch, i))
		err := d.spending(func() error { return d.copyTo(d.join(name), b) })
		if errors.Is(err, fs.ErrExist) {
			continue // an earlier opening did not get further
		}
		if err == nil {
			err = d.fs.SyncDir(dir)
		}
		return name, err
	}
}

func (d *Dir) copyTo(path string, b []byte) error {
	f, err := d.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.fs.Remove(path))
	}
	return nil
}
