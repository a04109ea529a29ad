package privacy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"
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
// markers in a copy of a system, erase them, and look. Each marker is told once for a file, with its first place. It is found as it is, as JSON
// writes it in a string, and in base64, where bytes lie within JSON, as in the files of snapshots; but not in what is compressed. Ten bytes
// and more make a marker that is nowhere by chance.
func Find(ctx context.Context, markers [][]byte, dirs ...string) ([]Found, error) {
	longest := 0
	all := make([][][]byte, len(markers))
	for i, m := range markers {
		if len(m) == 0 {
			return nil, fmt.Errorf("privacy: find: marker %d is empty, and so everywhere", i)
		}
		all[i] = forms(m)
		for _, f := range all[i] {
			longest = max(longest, len(f))
		}
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
			places, err := findIn(path, all, longest)
			found = append(found, places...)
			return err
		})
		if err != nil {
			return found, fmt.Errorf("privacy: find: %w", err)
		}
	}
	return found, nil
}

// base64Min is how many characters of base64 are looked for at least: fewer are found anywhere by chance.
const base64Min = 6

// forms are the ways in which a marker may be written.
func forms(marker []byte) [][]byte {
	list := [][]byte{marker}
	if utf8.Valid(marker) {
		for _, escape := range []bool{true, false} {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(escape)
			if err := e.Encode(string(marker)); err == nil {
				list = append(list, bytes.Trim(b.Bytes(), "\"\n"))
			}
		}
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		// The characters depend on how many bytes precede; the first and the last also on what the neighbours are.
		for before, mixed := range []int{0, 2, 3} {
			text := encoding.AppendEncode(nil, append(make([]byte, before), marker...))[mixed:]
			if (before+len(marker))%3 != 0 {
				text = text[:len(text)-1]
			}
			if len(text) >= base64Min {
				list = append(list, text)
			}
		}
	}
	return slices.CompactFunc(list, bytes.Equal)
}

// firstIn is the first place of any of the forms, -1 if there is none.
func firstIn(part []byte, forms [][]byte) int {
	first := -1
	for _, f := range forms {
		if at := bytes.Index(part, f); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

func findIn(path string, markers [][][]byte, longest int) (found []Found, err error) {
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
			if seen[i] {
				continue
			}
			if at := firstIn(part, m); at >= 0 {
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
