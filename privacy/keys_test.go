package privacy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/snapshot"
	"github.com/annalsdb/annals/store/disk"
)

// master is a master key of this byte.
func master(t *testing.T, b byte, older ...byte) privacy.Master {
	t.Helper()
	var keys [][]byte
	for _, o := range older {
		keys = append(keys, bytes.Repeat([]byte{o}, 32))
	}
	m, err := privacy.NewMaster(bytes.Repeat([]byte{b}, 32), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// openKeys makes the directory if there is none.
func openKeys(t *testing.T, dir string, m privacy.Master) *privacy.Keys {
	t.Helper()
	k, err := privacy.OpenKeys(t.Context(), dir, m)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = privacy.CreateKeys(t.Context(), dir, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// oneKey is a directory of keys with that of the subject s, and the file that it lies in.
func oneKey(t *testing.T) (k *privacy.Keys, made privacy.Key, dir, file string) {
	t.Helper()
	dir = t.TempDir()
	k = openKeys(t, dir, master(t, 1))
	made, err := k.Make(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return k, made, dir, files[0]
}

func TestKeysAreKeptUntilTheyAreErased(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	for name, k := range map[string]privacy.Keystore{"memory": privacy.NewMemory(), "a directory": openKeys(t, dir, master(t, 1))} {
		if _, found, err := k.Key(t.Context(), "s"); found || err != nil {
			t.Errorf("%s: got %v, %v", name, found, err)
		}
		made, err := k.Make(t.Context(), "s")
		again, againErr := k.Make(t.Context(), "s")
		got, found, gotErr := k.Key(t.Context(), "s")
		if err != nil || againErr != nil || gotErr != nil || !found || made != again || made != got || made.Secret == [32]byte{} {
			t.Errorf("%s: got %v %v %v, %v, %v, %v", name, made.ID, again.ID, got.ID, err, againErr, gotErr)
		}
		other, err := k.Make(t.Context(), "t")
		if err != nil || other.Secret == made.Secret {
			t.Errorf("%s: one key for two, %v", name, err)
		}
		if err := k.Erase(t.Context(), "s", other.ID); err != nil { // of another key
			t.Error(err)
		}
		if _, found, err := k.Key(t.Context(), "s"); !found || err != nil {
			t.Errorf("%s: another key is erased: %v", name, err)
		}
		for range 2 {
			if err := k.Erase(t.Context(), "s", made.ID); err != nil {
				t.Error(err)
			}
		}
		if _, found, err := k.Key(t.Context(), "s"); found || err != nil {
			t.Errorf("%s: got %v, %v", name, found, err)
		}
		if next, err := k.Make(t.Context(), "s"); err != nil || next.ID == made.ID || next.Secret == made.Secret {
			t.Errorf("%s: the key is back, %v", name, err)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "new-*")); err != nil || len(names) > 0 {
		t.Errorf("left is %v, %v", names, err)
	}
}

func TestAWrongMasterKeyIsAnErrorAndNotAnErasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := openKeys(t, dir, master(t, 1))
	if _, err := k.Make(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := privacy.OpenKeys(t.Context(), dir, master(t, 2)); !errors.Is(err, privacy.ErrMasterKey) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "check")); err != nil {
		t.Fatal(err)
	}
	if _, err := privacy.OpenKeys(t.Context(), dir, master(t, 2)); err == nil || !strings.Contains(err.Error(), "not copied whole") {
		t.Errorf("got %v", err)
	}
	if _, err := privacy.CreateKeys(t.Context(), dir, master(t, 2)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if _, err := privacy.OpenKeys(t.Context(), t.TempDir(), master(t, 2)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing is there, and is opened: %v", err)
	}
	if _, err := privacy.OpenKeys(t.Context(), "", master(t, 2)); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := privacy.NewMaster(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are a master key", n)
		}
	}
}

func TestADamagedKeyIsAnError(t *testing.T) {
	t.Parallel()
	k, made, _, file := oneKey(t)
	whole, err := os.ReadFile(file)
	if err != nil || bytes.Contains(whole, made.Secret[:]) || strings.Contains(file, "s.key") {
		t.Errorf("%v: the key lies in plain, or says whose it is: %s", err, file)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, found, err := k.Key(t.Context(), "s"); err == nil || found {
			t.Errorf("byte %d is changed: found %v, %v", i, found, err)
		}
	}
	if err := os.WriteFile(file, make([]byte, len(whole)), 0o600); err != nil { // an erasure that was cut off
		t.Fatal(err)
	}
	if _, found, err := k.Key(t.Context(), "s"); err != nil || found {
		t.Errorf("got %v, %v", found, err)
	}
	if next, err := k.Make(t.Context(), "s"); err != nil || next.ID == made.ID {
		t.Errorf("got %v, %v", next.ID, err)
	}
}

func TestMasterKeysAreRotated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := openKeys(t, dir, master(t, 1))
	var made []privacy.Key
	for i := range 5 {
		key, err := k.Make(t.Context(), fmt.Sprint("s", i))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, key)
	}
	if n, err := openKeys(t, dir, master(t, 2, 1)).Rewrap(t.Context()); err != nil || n != 5 {
		t.Errorf("got %d, %v", n, err)
	}
	k = openKeys(t, dir, master(t, 2))
	for i, want := range made {
		if got, found, err := k.Key(t.Context(), fmt.Sprint("s", i)); err != nil || !found || got != want {
			t.Errorf("key %d: %v, %v", i, found, err)
		}
	}
	if _, err := privacy.OpenKeys(t.Context(), dir, master(t, 1)); !errors.Is(err, privacy.ErrMasterKey) {
		t.Errorf("got %v", err)
	}
}

func TestAMasterKeyIsReadFromTheEnvironmentOrAFile(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	name := filepath.Join(t.TempDir(), "master")
	for text, good := range map[string]bool{
		hex.EncodeToString(key): true, base64.StdEncoding.EncodeToString(key) + "\n": true, "": false, "short": false, hex.EncodeToString(key[1:]): false,
	} {
		t.Setenv("TEST_MASTER_KEY", text)
		if m, err := privacy.MasterFromEnv("TEST_MASTER_KEY"); (err == nil) != good || good && m == nil || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v", text, err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := privacy.MasterFromFile(name); (err == nil) != good {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := privacy.MasterFromFile(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestRacersMakeOneKeyAndErasedOnesStayErased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stores := []*privacy.Keys{openKeys(t, dir, master(t, 1)), openKeys(t, dir, master(t, 1))} // as of two processes
	for round := range 20 {
		var all sync.WaitGroup
		made := make([]privacy.Key, 8)
		for i := range made {
			all.Go(func() {
				var err error
				if made[i], err = stores[i%2].Make(t.Context(), "s"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, k := range made {
			if k != made[0] {
				t.Fatalf("round %d: two keys", round)
			}
		}
		all.Go(func() {
			if _, err := stores[0].Rewrap(t.Context()); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := stores[1].Erase(t.Context(), "s", made[0].ID); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if k, found, err := stores[0].Key(t.Context(), "s"); err != nil || found {
			t.Fatalf("round %d: key %x is back, %v", round, k.ID, err)
		}
	}
}

// contents are the bytes of all files in some directories.
func contents(t *testing.T, dirs ...string) []byte {
	t.Helper()
	var all []byte
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			all = append(all, b...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Everything that a program keeps on its disk is searched for what was erased: log, index, snapshots, keys, and the read model in SQLite.
func TestNoByteOfWhatWasErasedIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sub := func(name string) string { return filepath.Join(dir, name) }
	ctx := t.Context()
	base, err := disk.Open(ctx, sub("store"), disk.SegmentBytes(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	keys := openKeys(t, sub("keys"), master(t, 1))
	s := protect(t, base, keys)
	inner, err := snapshot.Open(sub("snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	views, err := sqliteviews.Open(ctx, sub("views.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	log := annals.NewLog[any](s, schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: s.Snapshots(inner), Every: 1}))
	for range 200 { // several segments, so that some are sealed and indexed
		record(t, log, append(ann(), bob()...)...)
	}
	for _, id := range []string{"1", "2"} {
		if _, err := decider.Load(ctx, log, Customer{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	type named struct { // in plain, as rows are
		Name string `json:"name"`
	}
	names := projection.Rows[named, any]{
		Name: "names", By: "customer", Query: annals.Category("customer"),
		Apply: func(_ string, row *named, e annals.Entry[any]) error {
			switch e := e.Value.(type) {
			case Registered:
				row.Name = e.Name.Or("")
			case Forgotten:
				row.Name = ""
			}
			return nil
		},
		Columns: []projection.Column[named]{{Name: "name", Value: func(r named) any { return r.Name }}},
	}
	if err := projection.CatchUp(ctx, log, views, names); err != nil {
		t.Fatal(err)
	}
	if places, err := privacy.Find(ctx, [][]byte{[]byte("MARKER")}, dir); err != nil || len(places) == 0 {
		t.Fatalf("nothing is there to be erased: this test proves nothing: %v, %v", places, err)
	}
	secret, found, err := keys.Key(ctx, "customer-1")
	if err != nil || !found {
		t.Fatal(err)
	}
	raw, err := log.Encode(ctx, []any{Forgotten{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Erase(ctx, "customer-1", "asked", raw); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(ctx, log, views, names); err != nil {
		t.Fatal(err)
	}
	if err := views.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	if places, err := privacy.Find(ctx, [][]byte{[]byte("MARKER")}, dir); err != nil || len(places) > 0 {
		t.Errorf("while all is open, it is in %v, %v", places, err)
	}
	for _, c := range []interface{ Close() error }{views, base} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	backup := t.TempDir() // a copy of everything
	if err := os.CopyFS(filepath.Join(backup, "all"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	bytesOf := contents(t, backup)
	for _, marker := range [][]byte{[]byte("MARKER"), secret.Secret[:], []byte(base64.StdEncoding.EncodeToString([]byte("MARKER"))[:7])} {
		if i := bytes.Index(bytesOf, marker); i >= 0 {
			t.Errorf("there is %q in %q", marker, bytesOf[max(0, i-50):i+50])
		}
	}
	places, err := privacy.Find(ctx, [][]byte{[]byte("MARKER"), []byte("$privacy")}, backup)
	if err != nil || len(places) == 0 || strings.Contains(fmt.Sprint(places), "MARKER") {
		t.Errorf("got %v, %v", places, err)
	}
	base, err = disk.Open(ctx, filepath.Join(backup, "all", "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	log = log.On(protect(t, base, openKeys(t, filepath.Join(backup, "all", "keys"), master(t, 1))))
	if l, err := decider.Load(ctx, log, Customer{ID: "2"}); err != nil || l.State.Name.Or("") != "KEPT-bob" {
		t.Errorf("got %+v, %v", l.State, err)
	}
	if l, err := decider.Load(ctx, log, Customer{ID: "1"}, annals.AsOf(2)); err != nil || !l.State.Name.Erased() {
		t.Errorf("got %+v, %v", l.State, err)
	}
}

// kept are snapshots whose bytes can be looked at.
type kept struct {
	annals.Snapshots
	mu   sync.Mutex
	data []byte
}

func newSnapshots(t *testing.T) *kept {
	t.Helper()
	m, err := snapshot.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	return &kept{Snapshots: m}
}

func (k *kept) Save(ctx context.Context, s annals.Snapshot) error {
	k.mu.Lock()
	k.data = append(k.data, s.Data...)
	k.mu.Unlock()
	return k.Snapshots.Save(ctx, s)
}

func (k *kept) text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return string(k.data)
}
