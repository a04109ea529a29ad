package privacy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Found is a place where a marker lies in plain.
type Found struct {
	File   string
	Offset int64
	// Marker is the place of the marker among those that were looked for.
	Marker int
}

// findChunk is how much of a file is looked at at once.
const findChunk = 1 << 20

// Find searches the bytes of all files in the directories, whatever they are, for markers: to prove that what was erased is nowhere, plant
// markers in a copy of a system, erase them, and look. Each marker is told once for a file, with its first place.
func Find(ctx context.Context, markers [][]byte, dirs ...string) ([]Found, error) {
	longest := 0
	for i, m := range markers {
		if len(m) == 0 {
			return nil, fmt.Errorf("privacy: find: marker %d is empty, and so everywhere", i)
		}
		longest = max(longest, len(m))
	}
	var found []Found
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			places, err := findIn(path, markers, longest)
			found = append(found, places...)
			return err
		})
		if err != nil {
			return found, fmt.Errorf("privacy: find: %w", err)
		}
	}
	return found, nil
}

func findIn(path string, markers [][]byte, longest int) (found []Found, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	seen := make([]bool, len(markers))
	buf := make([]byte, findChunk+longest)
	var from int64 // of buf in the file
	kept := 0      // bytes at its beginning that were looked at before
	for {
		n, err := io.ReadFull(f, buf[kept:])
		part := buf[:kept+n]
		for i, m := range markers {
			if at := bytes.Index(part, m); at >= 0 && !seen[i] {
				seen[i] = true
				found = append(found, Found{File: path, Offset: from + int64(at), Marker: i})
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		kept = longest - 1 // a marker may lie across
		from += int64(len(part) - kept)
		copy(buf, part[len(part)-kept:])
	}
}
