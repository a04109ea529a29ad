package privacy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/snapshot"
)

func TestMarkersAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	const marker = `Ann <"née" & Ößel>`
	escaped, err := json.Marshal("so " + marker + " it is")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"as it is": "x" + marker + "y", "in JSON": string(escaped), "in SQLite's JSON": `"Ann <\"née\" & Ößel>"`}
	for before := range 7 {
		for after := range 4 {
			text := []byte(strings.Repeat("?", before) + marker + strings.Repeat("~", after))
			for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw url": base64.RawURLEncoding} {
				files[fmt.Sprintf("%s %d %d", name, before, after)] = "..." + e.EncodeToString(text) + "..."
			}
		}
	}
	files["across two chunks"] = strings.Repeat(".", 1<<20-5) + marker
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte(strings.ReplaceAll(strings.Join([]string{marker, string(escaped)}, ""), "Ann", "Bob")), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := privacy.Find(t.Context(), [][]byte{[]byte(marker)}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if _, planted := files[filepath.Base(f.File)]; !planted {
			t.Errorf("found where it is not: %+v", f)
		}
		delete(files, filepath.Base(f.File))
	}
	for name := range files {
		t.Errorf("it was not found %q", name)
	}
}

// The file of a snapshot is JSON with the state in base64.
func TestMarkersAreFoundInSnapshotsThatAreNotProtected(t *testing.T) {
	t.Parallel()
	for before := range 3 {
		dir := t.TempDir()
		snapshots, err := snapshot.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		data := []byte(`{"n":"` + strings.Repeat("x", before) + `MARKER-ann"}`)
		if err := snapshots.Save(t.Context(), annals.Snapshot{Key: "k", Position: 1, Data: data}); err != nil {
			t.Fatal(err)
		}
		if found, err := privacy.Find(t.Context(), [][]byte{[]byte("MARKER-ann")}, dir); err != nil || len(found) != 1 {
			t.Errorf("%d bytes before: %+v, %v", before, found, err)
		}
	}
}
