package annalstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
)

// updateVariable is the environment variable that makes [Golden] write.
const updateVariable = "ANNALS_UPDATE"

// Golden compares the event types of a schema with the files in dir, one for each version of each type that was ever stored,
// and so finds changes of events that old data does not survive before they are deployed. Commit the files. It fails
//
//   - if a field was removed or has another type, while the version is the same: it names the field, and the upcaster that is
//     missing;
//   - if a field was added, or the type or the version is new, and the files do not say so yet: run the test with ANNALS_UPDATE=1,
//     which writes what is missing, but nothing over a change that breaks old data;
//   - if the example in a file cannot be read by today's schema, through its upcasters, or would be stored today with other
//     tags that cannot be made;
//   - if a type has a file and the schema does not know the name any more.
//
// A file may be deleted if no event of this type and version was ever stored.
func Golden[E any](tb testing.TB, schema *annals.Schema[E], dir string) {
	tb.Helper()
	files, err := readGolden(dir)
	if err != nil {
		tb.Errorf("annalstest: golden: %v", err)
		return
	}
	update := os.Getenv(updateVariable) != ""
	for _, et := range schema.EventTypes() {
		now, err := goldenOf(schema, et)
		if err != nil {
			tb.Errorf("annalstest: golden: %s: %v", et.Name, err)
			continue
		}
		name := now.fileName()
		then, known := files[name]
		broken, added := now.differs(then)
		switch {
		case known && len(broken) > 0:
			tb.Errorf("annalstest: golden: %s", missingUpcaster(et, filepath.Join(dir, name), broken))
		case known && len(added) == 0:
		case update:
			if known { // what is stored has the example of before
				now.Example = then.Example
			}
			if err := now.write(dir); err != nil {
				tb.Errorf("annalstest: golden: %v", err)
			}
		case known:
			tb.Errorf("annalstest: golden: %s version %d: %s: stored events have no such field, and get its zero value. If that is right, run the test with %s=1; if not, say annals.Upcast(%d, …)",
				et.Name, et.Version, strings.Join(added, ", "), updateVariable, et.Version)
		default:
			tb.Errorf("annalstest: golden: %s version %d has no file in %s: run the test with %s=1, and commit what it writes", et.Name, et.Version, dir, updateVariable)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := readable(schema, files[name]); err != nil {
			tb.Errorf("annalstest: golden: %s: %v", filepath.Join(dir, name), err)
		}
	}
}

// golden is a file: an event type in one version.
type golden struct {
	Type        string `json:"type"`
	Version     uint16 `json:"version"`
	ContentType string `json:"contentType,omitempty"`
	// Fields are the kinds of the fields by their paths.
	Fields map[string]string `json:"fields"`
	// Example is the stored data of an event with all fields set; Bytes if that is not JSON.
	Example json.RawMessage `json:"example,omitempty"`
	Bytes   []byte          `json:"bytes,omitempty"`
}

// goldenOf describes a type as it is today.
func goldenOf[E any](schema *annals.Schema[E], et annals.EventType) (golden, error) {
	value, ok := reflect.TypeAssert[E](sample(et.Type))
	if !ok {
		return golden{}, fmt.Errorf("%s is not an event of the schema", et.Type)
	}
	e, err := schema.Encode(value)
	if err != nil {
		return golden{}, fmt.Errorf("an event with all fields set: %w", err)
	}
	g := golden{Type: et.Name, Version: et.Version, ContentType: e.ContentType, Fields: map[string]string{}}
	fieldsOf(et.Type, "", g.Fields, nil)
	if e.ContentType == "" && json.Valid(e.Data) {
		g.Example = e.Data
	} else {
		g.Bytes = e.Data
	}
	return g, nil
}

// differs says what old data does not survive, and what it lacks.
func (g golden) differs(then golden) (broken, added []string) {
	for _, path := range slices.Sorted(maps.Keys(then.Fields)) {
		was, is := then.Fields[path], g.Fields[path]
		switch {
		case is == "":
			broken = append(broken, fmt.Sprintf("field %q is gone", path))
		case is != was && (was != kindInteger || is != kindNumber): // every integer is a number
			broken = append(broken, fmt.Sprintf("field %q was %s and is %s", path, was, is))
		case is != was:
			added = append(added, fmt.Sprintf("field %q may now have a fraction", path))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(g.Fields)) {
		if then.Fields[path] == "" {
			added = append(added, fmt.Sprintf("new field %q", path))
		}
	}
	return broken, added
}

func missingUpcaster(et annals.EventType, file string, broken []string) string {
	return fmt.Sprintf(`%s version %d: %s.
Stored events of version %d are not like that. An upcaster is missing: keep the old struct, as %s%d say, and give NewSchema
	annals.Upcast(%d, func(old %s%d) %s { … })
or, if no event of this version was ever stored, delete %s`,
		et.Name, et.Version, strings.Join(broken, ", "), et.Version, lower(et.Type.Name()), et.Version,
		et.Version, lower(et.Type.Name()), et.Version, et.Type.Name(), file)
}

func lower(name string) string {
	if name == "" {
		return "old"
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// readable reports why today's schema cannot make events of a file's example.
func readable[E any](schema *annals.Schema[E], g golden) error {
	data := g.Bytes
	if data == nil {
		data = g.Example
	}
	r := annals.Recorded{Event: annals.Event{Type: g.Type, Version: g.Version, ContentType: g.ContentType, Data: data}, Position: 1}
	entries, err := schema.Decode(nil, r)
	switch {
	case errors.Is(err, annals.ErrDropped) || schema.Skips(err):
		return nil
	case errors.Is(err, annals.ErrUnknownType):
		return fmt.Errorf("events of type %q may be stored, and the schema does not know it: say annals.Renamed, Dropped or Split", g.Type)
	case err != nil:
		return fmt.Errorf("the example cannot be read any more: %w", err)
	}
	for _, e := range entries {
		if schema.TypeName(e.Value) == "" { // it was passed on
			continue
		}
		if _, err := schema.Encode(e.Value); err != nil {
			return fmt.Errorf("the example is read as %s, which is no event: %w: an upcaster has to fill the field", show(e.Value), err)
		}
	}
	return nil
}

// fileName is the file of a type in a version.
func (g golden) fileName() string {
	return fmt.Sprintf("%s.v%d.json", url.PathEscape(g.Type), g.Version)
}

func (g golden) write(dir string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(g); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // test data is for everybody who has the sources
		return err
	}
	return os.WriteFile(filepath.Join(dir, g.fileName()), b.Bytes(), 0o644) //nolint:gosec // as above
}

// readGolden reads the files of a directory, which need not exist.
func readGolden(dir string) (map[string]golden, error) {
	files := map[string]golden{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		var g golden
		if err := json.Unmarshal(b, &g); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, entry.Name()), err)
		}
		if entry.Name() != g.fileName() {
			return nil, fmt.Errorf("%s: it is of %s version %d, whose file is %s", filepath.Join(dir, entry.Name()), g.Type, g.Version, g.fileName())
		}
		files[entry.Name()] = g
	}
	return files, nil
}
