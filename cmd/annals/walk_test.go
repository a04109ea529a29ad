package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const walkThrough = "../../examples/orders/README.md"

var (
	consoles = regexp.MustCompile("(?s)```console\n(.*?)```")
	// What differs from run to run.
	varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// What the order service's README shows is what happens. With ANNALS_UPDATE in the environment, it is written anew.
func TestTheWalkThroughShowsWhatHappens(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(walkThrough)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	p := startDev(t, nil, "--data", data)
	defer p.signal(syscall.SIGTERM, exitOK)
	run := func(line string) string {
		line = strings.ReplaceAll(line, "http://127.0.0.1:8080", p.url)
		line = strings.ReplaceAll(line, "go run ./cmd/annals", quote(os.Args[0]))
		line = strings.ReplaceAll(line, "annals-data/store", quote(filepath.Join(data, storeName)))
		sh := exec.CommandContext(t.Context(), "sh", "-c", line)
		sh.Env, sh.Dir = environment(), t.TempDir()
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		if out := string(out); out != "" {
			return strings.TrimRight(out, "\n") + "\n"
		}
		return ""
	}
	lines := 0
	now := consoles.ReplaceAllStringFunc(string(text), func(block string) string {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(consoles.FindStringSubmatch(block)[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				lines++
				b.WriteString(line + run(strings.TrimSpace(command)))
			}
		}
		return b.String() + "```"
	})
	if lines < 15 {
		t.Errorf("there are %d commands", lines)
	}
	if varying.ReplaceAllString(now, "X") == varying.ReplaceAllString(string(text), "X") {
		return
	}
	if os.Getenv("ANNALS_UPDATE") == "" {
		t.Fatalf("%s shows something else than happens; with ANNALS_UPDATE=1 it is written anew:\n%s", walkThrough, now)
	}
	if err := os.WriteFile(walkThrough, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}
