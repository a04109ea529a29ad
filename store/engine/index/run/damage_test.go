package run_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

// tiny is an index whose file has a few blocks of every kind.
func tiny() *index {
	x := &index{meta: meta(4000, 64_000)}
	x.times = timesOf(x.meta)
	var every, burst []uint32
	for p := uint32(0); p <= 60_000; p++ {
		if p*p*31%1021 < 512 {
			every = append(every, p)
		}
		if p%40 < 3 && p < 2000 {
			burst = append(burst, p)
		}
	}
	for i := range uint64(500) {
		l := list{List: run.List{Term: i * 0x0123456789abcdef, Filter: i%3 == 0}, positions: []uint32{uint32(i * 7)}}
		switch {
		case i%100 == 9:
			l.positions = burst
			l.Numbered, l.Regular, l.FirstRevision, l.LastRevision = true, true, 3, uint64(len(burst)+2)
		case i%10 == 9:
			l.positions = burst[i/10 : i/10+i/10+2]
		case i == 60:
			l.positions = every
			l.Numbered, l.FirstRevision, l.LastRevision = true, 1, 99_999
		case i == 140:
			l.positions = []uint32{0, 60_000}
		}
		x.lists = append(x.lists, l)
	}
	slices.SortFunc(x.lists, func(a, b list) int { return bytes.Compare(bigEndian(a.Term), bigEndian(b.Term)) })
	return x
}

func bigEndian(term uint64) []byte { return binary.BigEndian.AppendUint64(nil, term) }

// wrong looks at everything that a run says: it may be an error, but no other answer than that of the index.
func (x *index) wrong(f io.ReaderAt, size int64) (lie string, failed error) {
	r, err := run.Open(f, size, run.ReadOptions{})
	if err != nil {
		return "", err
	}
	if r.Meta() != x.meta {
		return "what it is about", nil
	}
	for i := range x.lists {
		l := &x.lists[i]
		if may, err := r.MayHave(l.Term); err != nil {
			failed = err
		} else if l.Filter && !may {
			return "the filter", nil
		}
		e, found, err := r.Find(l.Term)
		if err != nil {
			failed = err
			continue
		}
		if !found || e.List != l.List || e.Count != uint32(len(l.positions)) {
			return "a term", nil
		}
		for _, backwards := range []bool{false, true} {
			c := r.Cursor(e, 0, math.MaxUint64, backwards)
			n := 0
			for key := c.Seek(0); key != run.Done; key = c.Seek(key + 1) {
				at, p := n, key
				if backwards {
					at, p = len(l.positions)-1-n, ^key
				}
				if at < 0 || at >= len(l.positions) || p != x.meta.First+uint64(l.positions[at]) {
					return "a position", nil
				}
				n++
			}
			if err := c.Err(); err != nil {
				failed = err
			} else if n != len(l.positions) {
				return "the end of a list", nil
			}
		}
	}
	for at := x.meta.FirstTime; at <= x.meta.LastTime; at += 500_000 {
		last := min(uint64(at/1000)*3+2, x.meta.Last)
		if low, high, err := r.Until(at); err != nil {
			failed = err
		} else if last < low || last > high {
			return "a time", nil
		}
	}
	return lie, failed
}

func TestEveryFlippedBitIsFoundAndNeverBelieved(t *testing.T) {
	t.Parallel()
	x := tiny()
	file := x.build(t, true)
	if lie, err := x.wrong(bytes.NewReader(file), int64(len(file))); err != nil || lie != "" {
		t.Fatalf("the file itself: %v, %s", err, lie)
	}
	kinds := map[byte]bool{}
	for at := blockBytes - 8; at < len(file); at += blockBytes {
		kinds[file[at]] = true
	}
	if len(kinds) != 8 {
		t.Fatalf("%d blocks of %d kinds, want all 8", len(file)/blockBytes, len(kinds))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	whole := open(t, file, run.ReadOptions{})
	damaged := slices.Clone(file)
	for bit := 0; bit < len(file)*8; bit += flipStride {
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := check(t, damaged); !errors.Is(err, run.ErrDamaged) {
			t.Fatalf("bit %d: got %v, want ErrDamaged", bit, err)
		}
		if rnd.IntN(500) == 0 {
			lie, err := x.wrong(bytes.NewReader(damaged), int64(len(damaged)))
			if lie != "" {
				t.Fatalf("bit %d: %s is wrong", bit, lie)
			}
			if err != nil && !errors.Is(err, run.ErrDamaged) {
				t.Fatalf("bit %d: got %v, want ErrDamaged", bit, err)
			}
		}
		damaged[bit/8] = file[bit/8]
	}
	must(t, whole.Check(t.Context()))
}

func check(t *testing.T, file []byte) error {
	t.Helper()
	r, err := run.Open(bytes.NewReader(file), int64(len(file)), run.ReadOptions{})
	if err != nil {
		return err
	}
	return r.Check(t.Context())
}

func TestBlocksInOtherPlacesAreFoundAndNeverBelieved(t *testing.T) {
	t.Parallel()
	x := tiny()
	file := x.build(t, true)
	n := len(file) / blockBytes
	y := tiny()
	y.meta.LastSeq++
	other := y.build(t, true) // the same terms, of another run
	at := func(b []byte, i int) []byte { return b[i*blockBytes : (i+1)*blockBytes] }
	for i := range n {
		for j := range n + 1 {
			from := at(other, i)
			switch {
			case i == j:
				continue
			case j < n:
				from = at(file, j)
			case i == n-1:
				continue // the trailer says what the file is about
			}
			damaged := slices.Clone(file)
			copy(at(damaged, i), from)
			if bytes.Equal(damaged, file) {
				continue
			}
			if j < n {
				copy(at(damaged, j), at(file, i))
			}
			if err := check(t, damaged); !errors.Is(err, run.ErrDamaged) {
				t.Fatalf("block %d from %d: got %v, want ErrDamaged", i, j, err)
			}
			if lie, err := x.wrong(bytes.NewReader(damaged), int64(len(file))); lie != "" {
				t.Fatalf("block %d from %d: %s is wrong, %v", i, j, lie, err)
			}
		}
	}
}

func TestAFileThatIsCutOffIsDamaged(t *testing.T) {
	t.Parallel()
	x := tiny()
	file := x.build(t, true)
	for size := 0; size < len(file); size += 512 {
		if _, err := run.Open(bytes.NewReader(file[:size]), int64(size), run.ReadOptions{}); !errors.Is(err, run.ErrDamaged) {
			t.Errorf("the first %d bytes: got %v, want ErrDamaged", size, err)
		}
		if _, err := run.Open(bytes.NewReader(file[:size]), int64(len(file)), run.ReadOptions{}); !errors.Is(err, run.ErrDamaged) {
			t.Errorf("the first %d bytes, said to be all: got %v, want ErrDamaged", size, err)
		}
	}
	for _, size := range []int64{-1, math.MaxInt64, math.MaxInt64 / blockBytes * blockBytes} {
		if _, err := run.Open(bytes.NewReader(file), size, run.ReadOptions{}); !errors.Is(err, run.ErrDamaged) {
			t.Errorf("size %d: got %v, want ErrDamaged", size, err)
		}
	}
	// Cut off while it is open.
	f := &failing{file: file, fails: func(int64) bool { return false }}
	r, err := run.Open(f, int64(len(file)), run.ReadOptions{})
	must(t, err)
	f.file = file[:blockBytes/2]
	if _, _, err := r.Find(x.lists[0].Term); !errors.Is(err, run.ErrDamaged) {
		t.Errorf("cut off while it was open: got %v, want ErrDamaged", err)
	}
}

// failing cannot be read at some offsets.
type failing struct {
	file  []byte
	fails func(off int64) bool
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.fails(off) {
		return 0, syscall.EIO
	}
	return bytes.NewReader(f.file).ReadAt(b, off)
}

func TestWhatCannotBeReadIsNotDamaged(t *testing.T) {
	t.Parallel()
	x := tiny()
	file := x.build(t, true)
	for bad := range int64(len(file) / blockBytes) {
		broken := true
		f := &failing{file: file, fails: func(off int64) bool { return broken && off == bad*blockBytes }}
		lie, err := x.wrong(f, int64(len(file)))
		if !errors.Is(err, syscall.EIO) || errors.Is(err, run.ErrDamaged) || lie != "" {
			t.Errorf("block %d: got %v, %s, want EIO", bad, err, lie)
		}
		r, err := run.Open(f, int64(len(file)), run.ReadOptions{})
		if err == nil {
			_, _ = r.MayHave(x.lists[0].Term)
			for i := range x.lists {
				_, _, _ = r.Find(x.lists[i].Term)
			}
			broken = false
			verify(t, rand.New(rand.NewPCG(1, 2)), x, r) // and then it can be
		}
	}
}

func TestANewerFormatIsRefusedByName(t *testing.T) {
	t.Parallel()
	file := tiny().build(t, false)
	trailer := len(file) - blockBytes
	file[trailer+8] = 7
	if err := check(t, file); !errors.Is(err, run.ErrDamaged) {
		t.Errorf("a number whose checksum is wrong: got %v, want ErrDamaged", err)
	}
	run.Reseal(file, true)
	var newer *run.NewerFormatError
	err := check(t, file)
	if !errors.Is(err, run.ErrNewerFormat) || !errors.As(err, &newer) || newer.Format != 7 || newer.Known != 0 || errors.Is(err, run.ErrDamaged) {
		t.Errorf("got %v, want ErrNewerFormat with 7 and 0", err)
	}
	file[trailer+8] = 0
	file[trailer+2000] = 1
	run.Reseal(file, true)
	if err := check(t, file); !errors.Is(err, run.ErrDamaged) {
		t.Errorf("reserved bytes that are not zero: got %v, want ErrDamaged", err)
	}
}

// Checksums may be right where a program wrote what is wrong.
func TestACheckFindsWhatDoesNotFitTogether(t *testing.T) {
	t.Parallel()
	x := tiny()
	whole := x.build(t, true)
	trailer := len(whole) - blockBytes
	at := func(kind byte) int { // the first block of a kind
		for i := 0; ; i += blockBytes {
			if whole[i+blockBytes-8] == kind {
				return i
			}
		}
	}
	if check(t, whole) != nil {
		t.Fatal("the file itself")
	}
	for name, change := range map[string]func(file []byte){
		"a fingerprint":                func(f []byte) { clear(f[at(5)+24 : at(5)+400]) },
		"the terms of a filter":        func(f []byte) { f[at(5)+16]++ },
		"a time":                       func(f []byte) { f[at(7)+7] = 0x40 },
		"a time before the one before": func(f []byte) { copy(f[at(7)+8:], f[at(7):at(7)+7]); f[at(7)+8]-- },
		"the first term of a block":    func(f []byte) { f[at(1)+7] ^= 0x80 },
		"a term":                       func(f []byte) { f[at(1)+8+8*5+7] ^= 0x80 },
		"a node above terms":           func(f []byte) { f[at(3)+12]++ },
		"a node above positions":       func(f []byte) { f[at(4)]++ },
		"a node above filters":         func(f []byte) { f[at(6)+12]++ },
		"the last position of a group": func(f []byte) { f[at(2)+8]++ },
		"the index of the first":       func(f []byte) { f[at(2)+4]++ },
		"the position before":          func(f []byte) { f[at(2)]++ },
		"how many terms":               func(f []byte) { f[trailer+160]++ },
		"how many positions":           func(f []byte) { f[trailer+168]++ },
		"how many terms in filters":    func(f []byte) { f[trailer+176]-- },
		"how many blocks of terms":     func(f []byte) { f[trailer+192]-- },
		"how many filters":             func(f []byte) { f[trailer+204]-- },
		"another list's tree":          func(f []byte) { f[at(1)+blockBytes-8] = 9 },
	} {
		file := slices.Clone(whole)
		change(file)
		if bytes.Equal(file, whole) {
			t.Errorf("%s was not changed", name)
		}
		run.Reseal(file, true)
		if err := check(t, file); !errors.Is(err, run.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
	file := slices.Clone(whole)
	file[at(7)]++ // fits together, and is not what was written
	run.Reseal(file, false)
	if err := check(t, file); !errors.Is(err, run.ErrDamaged) {
		t.Errorf("the checksum of all: got %v, want ErrDamaged", err)
	}
}

// The golden file is the alarm: if it changes, what is on somebody's disk is another format.
func TestTheFormatHasNotChanged(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "run.hex")
	got := squeezed(hex.Dump(tiny().build(t, true)))
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(got), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got != string(want) {
		t.Error("the bytes of a run changed")
	}
}

// squeezed leaves lines out that repeat the one before but for the offset, as hexdump does.
func squeezed(dump string) string {
	var b strings.Builder
	previous, starred := "", false
	for line := range strings.Lines(dump) {
		if len(line) > 8 && line[8:] == previous {
			if !starred {
				b.WriteString("*\n")
			}
			starred = true
			continue
		}
		starred = false
		b.WriteString(line)
		previous = line[8:]
	}
	return b.String()
}
