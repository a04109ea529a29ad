package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the README shows is what is compiled here.
func TestTheReadmeShowsThisProgram(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	program := read("main.go")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../../README.md"), -1)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d blocks of Go, want the domain and how it is used", len(blocks))
	}
	if !strings.Contains(program, blocks[0][1]) {
		t.Error("the domain in the README is not the one in main.go")
	}
	squeezed := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for line := range strings.Lines(blocks[1][1]) {
		line, _, _ = strings.Cut(line, "  //")
		line = strings.TrimSuffix(strings.TrimSpace(line), ")")
		if !strings.Contains(squeezed(program), squeezed(line)) {
			t.Errorf("the README uses it so, and main.go does not: %s", line)
		}
	}
}
