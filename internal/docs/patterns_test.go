package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// functions are the names of the Examples and tests of a package, by its directory; "annals" is the root.
func functions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	if dir == "annals" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", dir, err)
	}
	names := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

var row = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$`)

func TestThePatternsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/patterns.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, rows := map[string]map[string]bool{}, 0
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		asked, where, example, test := m[1], m[2], m[3], m[4]
		if asked == "asked for" {
			continue
		}
		rows++
		if strings.Contains(where, "not yet") {
			continue
		}
		for _, c := range []struct{ cell, prefix string }{{example, "Example"}, {test, "Test"}} {
			dir, name, ok := strings.Cut(strings.Trim(c.cell, "`"), ".")
			if !ok || !strings.HasPrefix(name, c.prefix) {
				t.Errorf("%s: %q is no %s of a package", asked, c.cell, c.prefix)
				continue
			}
			if known[dir] == nil {
				known[dir] = functions(t, dir)
			}
			if !known[dir][name] {
				t.Errorf("%s: there is no %s in %s", asked, name, dir)
			}
		}
	}
	if rows < 50 {
		t.Errorf("the table has %d rows", rows)
	}
}
