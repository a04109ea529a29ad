package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/annalsdb/annals"
)

// Dir is [annals.Snapshots] in a directory, a file for each snapshot. Make one with [Open]. Several processes may use one.
//
// A file appears whole or not at all, and has a checksum, but is not synced: after a power cut it may be missing or damaged,
// which costs a fold and nothing else.
type Dir struct {
	path string
	options
}

var _ annals.Snapshots = (*Dir)(nil)

// Open makes the directory if there is none.
func Open(path string, opts ...Option) (*Dir, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if path == "" { // a variable of a script that is not set must not mean the directory that it runs in
		return nil, &annals.InvalidError{What: "directory of snapshots", Problem: "empty"}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot: open: %w", err)
	}
	return &Dir{path: path, options: o}, nil
}

const (
	extension = ".snap"
	// magic begins a file. The number is the format's.
	magic = "annals snapshot 1\n"
	// checksum is a CRC-32C, little-endian, of what follows it: the Snapshot as JSON.
	checksumBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged matches what [Damaged] is told.
var ErrDamaged = errors.New("snapshot: damaged file")

// Load implements [annals.Snapshots]. A damaged file is removed, reported to [Damaged], and passed over.
func (d *Dir) Load(ctx context.Context, key string, upTo annals.Position) (s annals.Snapshot, found bool, err error) {
	positions, err := d.positions(key)
	if err != nil {
		return s, false, err
	}
	for _, p := range slices.Backward(positions) {
		if p > upTo {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return s, false, err
		}
		file := d.file(key, p)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody else has thrown it away
		}
		if err != nil {
			return s, false, fmt.Errorf("snapshot: load: %w", err)
		}
		s, problem := decode(b)
		if problem == nil && (s.Key != key || s.Position != p) {
			problem = fmt.Errorf("it is of %q at %d", s.Key, s.Position)
		}
		if problem == nil {
			return s, true, nil
		}
		d.report(fmt.Errorf("%w %s: %w", ErrDamaged, file, problem))
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, false, fmt.Errorf("snapshot: remove a damaged file: %w", err)
		}
	}
	return annals.Snapshot{}, false, nil
}

// Save implements [annals.Snapshots].
func (d *Dir) Save(ctx context.Context, s annals.Snapshot) error {
	if err := check(ctx, s); err != nil {
		return err
	}
	b, err := encode(s)
	if err != nil {
		return fmt.Errorf("snapshot: save: %w", err)
	}
	if err := d.write(d.file(s.Key, s.Position), b); err != nil {
		return fmt.Errorf("snapshot: save: %w", err)
	}
	positions, err := d.positions(s.Key)
	if err != nil {
		return err
	}
	for _, p := range positions[:max(0, len(positions)-d.keep)] {
		if err := os.Remove(d.file(s.Key, p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("snapshot: throw an old one away: %w", err)
		}
	}
	return nil
}

// Delete implements [annals.Snapshots].
func (d *Dir) Delete(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(d.keyDir(key)); err != nil {
		return fmt.Errorf("snapshot: delete: %w", err)
	}
	return nil
}

// write makes a file appear whole.
func (d *Dir) write(file string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// keyDir is where the files of a key lie: under a hash, for a key may be no name for a file.
func (d *Dir) keyDir(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:16])
	return filepath.Join(d.path, name[:2], name)
}

func (d *Dir) file(key string, p annals.Position) string {
	return filepath.Join(d.keyDir(key), fmt.Sprintf("%020d%s", p, extension))
}

// positions are those of the files of a key, in order.
func (d *Dir) positions(key string) ([]annals.Position, error) {
	entries, err := os.ReadDir(d.keyDir(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("snapshot: look for files: %w", err)
	}
	var positions []annals.Position
	for _, e := range entries { // sorted by name, and so by number
		name, ok := strings.CutSuffix(e.Name(), extension)
		p, err := strconv.ParseUint(name, 10, 64)
		if ok && err == nil {
			positions = append(positions, annals.Position(p))
		}
	}
	return positions, nil
}

func encode(s annals.Snapshot) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32([]byte(magic), crc32.Checksum(body, castagnoli))
	return append(b, body...), nil
}

func decode(b []byte) (s annals.Snapshot, err error) {
	b, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok || len(b) < checksumBytes {
		return s, errors.New("it does not begin as a snapshot does")
	}
	body := b[checksumBytes:]
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(body, castagnoli) {
		return s, errors.New("its checksum is wrong")
	}
	return s, json.Unmarshal(body, &s)
}
