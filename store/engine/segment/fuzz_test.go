package segment_test

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/segment"
)

// content is what the files of a store hold, by name.
func content(tb testing.TB, fs vfs.FS) map[string][]byte {
	tb.Helper()
	list, err := fs.List(storeDir)
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range list {
		f, err := fs.Open(filepath.Join(storeDir, name))
		if err != nil {
			continue // a directory
		}
		size, err := f.Size()
		if err != nil {
			tb.Fatal(err)
		}
		files[name] = make([]byte, size)
		if n, err := f.ReadAt(files[name], 0); int64(n) < size {
			tb.Fatal(err)
		}
		_ = f.Close() // it was only read
	}
	return files
}

// storeOf is a store of so many frames, closed or not.
func storeOf(tb testing.TB, frames int, closed bool) *vfs.Mem {
	tb.Helper()
	mem := vfs.NewMem()
	d, err := segment.Open(context.Background(), mem, storeDir, options(1))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := write(d)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range frames {
		if err := s.append(1+i%3, 100+i*37%500); err != nil {
			tb.Fatal(err)
		}
	}
	end := segment.Abandon
	if closed {
		end = (*segment.Dir).Close
	}
	if err := end(d); err != nil {
		tb.Fatal(err)
	}
	return mem
}

func FuzzDecode(f *testing.F) {
	for name, b := range content(f, storeOf(f, 60, true)) {
		f.Add(b[:min(len(b), 8192)], true)
		f.Add(b[:min(len(b), 8192)], false)
		if !segment.IsSegment(name) {
			continue
		}
		f.Add(b[4096:min(len(b), 8192)], true) // an envelope
		if at := strings.LastIndex(string(b), "ANNLFTR1"); at > 0 {
			f.Add(b[at:], true)
			f.Add(b[len(b)-segment.TrailerBytes:], true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal && len(b) >= 4096 {
			b = append([]byte(nil), b...)
			segment.Reseal(b, [16]byte{}, 4096)
		}
		if differs := segment.DecodeAll(b, [16]byte{}, 4096); differs != "" {
			t.Errorf("a %s was decoded that is not what is encoded again", differs)
		}
	})
}

// Whatever bytes are in the files, opening and reading end, without a panic and without more memory than the files are large.
func FuzzOpen(f *testing.F) {
	open := storeOf(f, 40, false)
	closed := storeOf(f, 40, true)
	files := content(f, open)
	active := ""
	for name, b := range files { // the last segment with a frame
		if segment.IsSegment(name) && len(envelopes(b)) > 0 && name > active {
			active = name
		}
	}
	offs := envelopes(files[active])
	last := offs[len(offs)-1]
	tail := files[active][last : last+1024]
	for what := range byte(4) {
		f.Add(tail, uint32(last), what)
		f.Add(tail, uint32(last+512), what)
		f.Add([]byte("ANNLENV1\xff\xff\xff\xff"), uint32(last), what)
		f.Add([]byte("ANNLENV1\xf8\xff\xff\x07"), uint32(last), what|8)
		f.Add([]byte{0xff}, uint32(20), what)
		f.Add([]byte("ANNLEND1"), uint32(len(files[active])-128), what)
	}
	f.Fuzz(func(t *testing.T, b []byte, off uint32, what byte) {
		base, fs := open, (*vfs.Mem)(nil)
		if what&1 != 0 {
			base = closed
		}
		fs = base.Kill()
		name := active
		if list, err := fs.List(storeDir); err != nil {
			t.Fatal(err)
		} else if what&2 != 0 { // another file
			name = list[int(what>>4)%len(list)]
		}
		size := damage(t, fs, name, b, int64(off), what&8 != 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, o := range []segment.Options{reading(), options(uint64(what))} {
			d, err := segment.Open(t.Context(), fs, storeDir, o)
			if err != nil {
				continue
			}
			head := d.Recovered().Positions
			for _, err := range d.ScanLent(t.Context(), 0, min(head, 1000)) {
				_ = err // damage may be reported, or not
			}
			if _, err := d.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		runtime.ReadMemStats(&after)
		const constant, times = 24 << 20, 100 // of all that is allocated, which is not there at once
		if took := after.TotalAlloc - before.TotalAlloc; took > constant+times*uint64(size) {
			t.Errorf("%d bytes were allocated for files of %d", took, size)
		}
	})
}

// damage writes bytes into a file, in an envelope that verifies if so wanted, and tells how large all files are.
func damage(t *testing.T, fs *vfs.Mem, name string, b []byte, off int64, sealed bool) (total int64) {
	t.Helper()
	for other, c := range content(t, fs) {
		if segment.IsSegment(other) || segment.IsManifest(other) {
			total += int64(len(c))
		}
		if other != name || len(c) == 0 {
			continue
		}
		off %= int64(len(c))
		if b = b[:min(int64(len(b)), int64(len(c))-off)]; sealed && len(b) >= 192 && strings.HasPrefix(string(b), "ANNLENV1") && segment.IsSegment(name) {
			segment.Reseal(b, [16]byte(c[56:72]), off)
		}
		put(t, fs, filepath.Join(storeDir, name), b, int(off))
	}
	return total
}
