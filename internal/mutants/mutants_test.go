//go:build !race

package mutants

import (
	"strings"
	"sync/atomic"
	"testing"
)

// A promise that no test misses when it is broken is not proved.
func TestEveryMutantIsCaught(t *testing.T) {
	t.Parallel()
	all := All()
	var caught atomic.Int32
	t.Run("mutants", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.Name, func(t *testing.T) {
				t.Parallel()
				overlay, err := m.Overlay(t.Context(), t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{"test", "-vet=off", "-count=1", "-failfast", "-timeout=2m", "-overlay=" + overlay, "-run=" + m.Run, m.Package}, m.Args...)
				out, err := goTool(t.Context(), args...)
				switch {
				case err == nil:
					t.Errorf("a program that %s passes %s", m.What, m.Run)
				case !strings.Contains(out, "--- FAIL"):
					t.Errorf("a program that %s did not fail a test: %v", m.What, err)
				default:
					caught.Add(1)
				}
			})
		}
	})
	t.Logf("lane mutants: mutants=%d caught=%d", len(all), caught.Load())
}
