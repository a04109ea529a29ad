// Package mutants is the positive control of the tests that prove durability: a list of ways to break a promise, each a
// small change of production code, and how to build with one of them. Production code has no switches for that. The tests
// of this package want every mutant to be caught; a list that has fallen behind the code fails loudly.
package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is the program with one promise broken.
type Mutant struct {
	// Name is that of the plan, such as M1; What says what the program does wrong.
	Name, What string
	Edits      []Edit
	// Package is where the tests are of which at least one must fail; Run picks them, and Args are passed to them.
	Package, Run string
	Args         []string
}

// Edit replaces a text, which occurs exactly once, in a file named from the root of the module.
type Edit struct{ File, Old, New string }

// Find is the mutant with this name.
func Find(name string) (Mutant, error) {
	for _, m := range All() {
		if m.Name == name {
			return m, nil
		}
	}
	return Mutant{}, fmt.Errorf("mutants: there is no %s", name)
}

// Overlay writes the changed files into dir, and gives the name of the file for go's -overlay.
func (m Mutant) Overlay(ctx context.Context, dir string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	changed := map[string]string{}
	for _, e := range m.Edits {
		path := filepath.Join(root, filepath.FromSlash(e.File))
		text, edited := changed[path]
		if !edited {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("mutants: %s: %w", m.Name, err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return "", fmt.Errorf("mutants: %s: %s has %d times, not once:\n%s", m.Name, e.File, n, e.Old)
		}
		changed[path] = strings.Replace(text, e.Old, e.New, 1)
	}
	replaced := map[string]string{}
	for path, text := range changed {
		to := filepath.Join(dir, fmt.Sprintf("%s-%d-%s", m.Name, len(replaced), filepath.Base(path)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("mutants: %w", err)
		}
		replaced[path] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", fmt.Errorf("mutants: %w", err)
	}
	name := filepath.Join(dir, m.Name+".json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		return "", fmt.Errorf("mutants: %w", err)
	}
	return name, nil
}

// BuildTest builds the tests of a package, named from the root of the module, with a mutant in it, and gives the name of the
// program, which is in dir.
func BuildTest(ctx context.Context, dir, name, pkg string) (string, error) {
	m, err := Find(name)
	if err != nil {
		return "", err
	}
	overlay, err := m.Overlay(ctx, dir)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, name+".test")
	if _, err := goTool(ctx, "test", "-c", "-vet=off", "-overlay="+overlay, "-o", program, pkg); err != nil {
		return "", err
	}
	return program, nil
}

// goTool runs the go command in the root of the module.
func goTool(ctx context.Context, args ...string) (output string, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments are those of the list
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mutants: go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("mutants: where the module is: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
