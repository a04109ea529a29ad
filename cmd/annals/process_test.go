package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is a running `annals dev`.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines []string // that can be pasted
	url   string
	text  string // of the greeting
	talk  lockedBuffer
}

// lockedBuffer is what a process says, while it says it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func environment(more ...string) []string {
	return append(append(os.Environ(), beAnnals+"=1"), more...)
}

// newProcess is the real program on a free port, which is not started yet.
func newProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], append([]string{"dev", "--addr", "127.0.0.1:0"}, args...)...)}
	p.cmd.Env, p.cmd.Stderr = environment(env...), &p.talk
	return p
}

// startDev starts the real program on a free port, and reads its greeting.
func startDev(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := newProcess(t, env, args...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		l := lines.Text()
		p.text += l + "\n"
		if url, ok := strings.CutPrefix(l, "The order service listens on "); ok {
			p.url = url
		}
		if line, ok := strings.CutPrefix(l, "  "); ok {
			p.lines = append(p.lines, line)
		}
		if strings.Contains(l, " dump ") || strings.Contains(l, " read annals://") || strings.Contains(l, " read 'annals://") { // the last line
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return p
		}
	}
	_ = p.cmd.Wait() // it has failed, and says why
	t.Fatalf("dev ended: %s", p.talk.String())
	return nil
}

// signal ends the process, and wants it to end with this code; -1 is to be killed.
func (p *process) signal(s os.Signal, code int) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	p.wait(code)
}

func (p *process) wait(code int) {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("dev ended with code %d, want %d: %s", got, code, p.talk.String())
	}
}

func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL, -1)
}

var (
	anyPort = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	anyDate = regexp.MustCompile(`Date: .*`)
)

// paste runs a line as a shell does, in another directory. What differs from run to run is left out of the answer.
func (p *process) paste(line string) string {
	p.t.Helper()
	sh := exec.CommandContext(p.t.Context(), "sh", "-c", line)
	sh.Env, sh.Dir = environment(), p.t.TempDir()
	b, err := sh.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v: %s", line, err, b)
	}
	return anyDate.ReplaceAllString(anyPort.ReplaceAllString(string(b), "URL"), "Date")
}

// answers are those to the lines that only look.
func (p *process) answers() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	for _, l := range p.lines {
		if strings.HasPrefix(l, "curl ") && !strings.Contains(l, " POST ") {
			all[anyPort.ReplaceAllString(l, "URL")] = p.paste(l)
		}
	}
	return all
}
