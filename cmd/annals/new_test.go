package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// inDir runs a program in a directory, and wants it to succeed.
func inDir(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, b)
	}
	return string(b)
}

func TestANewServicePassesItsTestsAndServes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "my shop")
	command(t, "", "new", dir, "--module", "example.com/shop/v2").is(exitOK).prints("files are in "+dir, "cd '"+dir+"' && go test ./... && go run .")
	inDir(t, dir, "go", "vet", "./...")
	if out := inDir(t, dir, "gofmt", "-l", "."); out != "" {
		t.Errorf("not formatted: %s", out)
	}
	inDir(t, dir, "go", "test", "./...")
	inDir(t, dir, "go", "build", "-o", "shop", ".")
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(readme), "# shop\n") {
		t.Errorf("the README begins with %.20q", readme)
	}
	curls := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(string(readme), -1)
	if len(curls) != 2 {
		t.Fatalf("the README has the lines %q", curls)
	}
	var location string
	for range 2 { // it is killed, and goes on
		url, kill := startService(t, dir)
		at := func(line string) string { return strings.ReplaceAll(line, "http://127.0.0.1:8080", url) }
		made := inDir(t, dir, "sh", "-c", at(curls[0]))
		here := regexp.MustCompile(`Location: (\S+)`).FindStringSubmatch(made)
		if !strings.HasPrefix(made, "HTTP/1.1 201") || here == nil || location != "" && here[1] != location {
			t.Fatalf("got %s, and before that %s", made, location)
		}
		location = here[1]
		position := regexp.MustCompile(`Annals-Position: (\d+)`).FindStringSubmatch(made)
		if list := inDir(t, dir, "sh", "-c", at(curls[1])+" -H 'Annals-At-Least: "+position[1]+"'"); strings.Count(list, `"title":"Buy tea"`) != 1 {
			t.Errorf("the list is %s", list)
		}
		if history := inDir(t, dir, "curl", "-s", url+location+"/history"); !strings.Contains(history, `"changes":[{"path":"title","before":"","after":"Buy tea"}]`) {
			t.Errorf("the history is %s", history)
		}
		kill()
	}
}

// startService starts what was built.
func startService(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "shop"), "--addr", "127.0.0.1:0")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	return url, func() {
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
}

func TestNewWritesOverNothingAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "new", full, "--module", "example.com/x").is(exitUsage, full+" is not empty: it has mine")
	file := filepath.Join(full, "mine")
	command(t, "", "new", file, "--module", "example.com/x").is(exitFailure, "cannot write the service", "mine")
	command(t, "", "new", filepath.Join(file, "below"), "--module", "example.com/x").is(exitFailure, "not a directory")
	dir := filepath.Join(t.TempDir(), "new")
	command(t, "", "new", dir).is(exitUsage, "--module is missing")
	command(t, "", "new").is(exitUsage)
	for _, module := range []string{"/abs", "a b", "example.com//x", "-x", "example.com/x/"} {
		command(t, "", "new", dir, "--module", module).is(exitUsage, "is no module path: give one such as example.com/shop")
	}
	command(t, "", "new", dir, "--module", "example.com/x", "--replace", full).is(exitFailure, "the service is in "+dir, "go mod tidy")
	if _, err := os.Stat(filepath.Join(dir, "main.go")); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	empty := t.TempDir()
	command(t, "", "new", empty, "--module", "shop", "--no-tidy").is(exitOK)
	if b, err := os.ReadFile(filepath.Join(empty, "go.mod")); err != nil || !strings.HasPrefix(string(b), "module shop\n\ngo "+goVersion+"\n") {
		t.Errorf("got %s, %v", b, err)
	}
}

// A new service needs the Go that this module needs.
func TestTheVersionOfGoIsThatOfThisModule(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../go.mod")
	if err != nil || !strings.Contains(string(b), "\ngo "+goVersion+"\n") {
		t.Errorf("go.mod does not say go %s: %v", goVersion, err)
	}
}
