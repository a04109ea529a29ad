package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startServe starts the real server on a port, and reads where its stores are.
func startServe(t *testing.T, listen string, env []string, args ...string) (p *process, urls []string) {
	t.Helper()
	p = &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], append([]string{"serve", "--listen", listen}, args...)...)}
	p.cmd.Env, p.cmd.Stderr = environment(env...), &p.talk
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		url, _, serves := strings.Cut(lines.Text(), " serves ")
		if serves {
			urls = append(urls, url)
			continue
		}
		if strings.Contains(lines.Text(), " has a first key") {
			continue
		}
		p.url, _, _ = strings.Cut(lines.Text(), "/readyz")
		go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
		return p, urls
	}
	_ = p.cmd.Wait() // it has failed, and says why
	t.Fatalf("serve ended: %s", p.talk.String())
	return nil, nil
}

func TestAServerKeepsWhatItHasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--data", filepath.Join(dir, "one"), "--store", "shop=" + filepath.Join(dir, "two")}
	p, urls := startServe(t, "127.0.0.1:0", nil, args...)
	if len(urls) != 2 || !strings.HasSuffix(urls[1], "/shop") {
		t.Fatalf("it serves %q", urls)
	}
	command(t, "", "append", urls[0], "order-1", "Placed", `{"total":3}`).is(exitOK).prints(`"first":"1"`)
	command(t, "", "append", urls[0], "order-1", "Paid", `{}`, "--expect", "0").is(exitOK)
	command(t, "", "append", urls[0], "order-1", "Paid", `{}`, "--expect", "0").is(exitConflict, "revision 1")
	command(t, "", "append", urls[1], "cart-9", "Filled", `{}`).is(exitOK).prints(`"first":"1"`)
	command(t, "", "read", urls[0]+"/none").is(exitNotFound, "no such store")
	command(t, "", "verify", filepath.Join(dir, "one")).is(exitOK) // beside the server
	p.kill()
	command(t, "", "read", urls[0]).is(exitUnavailable, "annals serve")

	p, _ = startServe(t, strings.TrimPrefix(urls[0], "annals://"), nil, args...)
	if n := len(command(t, "", "read", urls[0]).is(exitOK).objects()); n != 2 {
		t.Errorf("after a kill it has %d events", n)
	}
	command(t, "", "state", urls[0], "order-1").is(exitOK).prints(`"total":3`)
	command(t, "", "why", urls[0], "order-1", "total").is(exitOK).prints("Placed")
	command(t, "", "read", urls[1], "--stream", "cart-9").is(exitOK).prints("Filled")
	a, err := http.Get(p.url + "/readyz")
	if err != nil || a.StatusCode != http.StatusNoContent {
		t.Errorf("it is not ready: %v, %v", a, err)
	}
	a.Body.Close()
	p.signal(syscall.SIGTERM, exitOK)
}

func TestServeRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "store")
	for _, c := range []struct {
		args []string
		said string
	}{
		{[]string{"--listen", "0.0.0.0:0"}, "--insecure"},
		{[]string{"--listen", ":0"}, "--insecure"},
		{[]string{"--listen", "nonsense"}, "want an address and a port"},
		{[]string{"--store", "x"}, "want a name and a directory"},
		{[]string{"--store", "a/b=" + dir}, "want a name and a directory"},
		{[]string{"--store", "a=" + dir, "--store", "a=" + dir}, "twice"},
		{[]string{"--data", ""}, "--data is empty"},
		{[]string{"more"}, "no arguments"},
	} {
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, c.args...)
		command(t, "", args...).is(exitUsage, c.said)
	}
	command(t, "", "dev", "--store", "http://x").is(exitUsage, "want the URL of a server")
	command(t, "", "dev", "--ephemeral", "--store", "annals://127.0.0.1:1").is(exitUnavailable, "annals serve")
	p, _ := startServe(t, "127.0.0.1:0", nil, "--data", data)
	command(t, "", "serve", "--data", data, "--listen", "127.0.0.1:0").is(exitUnavailable, "in use")
	command(t, "", "serve", "--data", data+"2", "--listen", strings.TrimPrefix(p.url, "http://")).is(exitUnavailable)
	p.signal(syscall.SIGTERM, exitOK)
}

func TestTheEnvironmentSetsFlagsAndSystemdIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	told := func() string {
		t.Helper()
		b := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	p, urls := startServe(t, "127.0.0.1:0", []string{"ANNALS_DATA=" + filepath.Join(dir, "env"), "NOTIFY_SOCKET=" + socket})
	if got := told(); got != "READY=1" {
		t.Errorf("systemd is told %q", got)
	}
	command(t, "", "append", urls[0], "a-1", "A", "{}").is(exitOK)
	p.signal(syscall.SIGTERM, exitOK)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("systemd is told %q", got)
	}
	command(t, "", "read", filepath.Join(dir, "env")).is(exitOK).prints(`"stream":"a-1"`)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve")
	cmd.Env = environment("ANNALS_DRAIN=soon")
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(string(out), "ANNALS_DRAIN") {
		t.Errorf("a wrong variable: %v, %s", err, out)
	}
}

// Two order services share a store on a server, and their read models: each sees what was written through the other, and one goes on where the other
// was killed.
func TestSeveralOrderServicesShareAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, urls := startServe(t, "127.0.0.1:0", nil, "--data", filepath.Join(dir, "store"))
	args := []string{"--store", urls[0], "--data", filepath.Join(dir, "shared")}
	one := startDev(t, nil, args...)
	two := startDev(t, nil, args...)
	create := func(p *process) (id, position string) {
		t.Helper()
		status, position, body := p.ask(http.MethodPost, "/orders", "")
		if status != http.StatusCreated {
			t.Fatalf("an order is answered with %d: %s", status, body)
		}
		var created struct{ ID string }
		if err := json.Unmarshal(body, &created); err != nil {
			t.Fatal(err)
		}
		return created.ID, position
	}
	wantOrder := func(p *process, id, position string) {
		t.Helper()
		if status, _, body := p.ask(http.MethodGet, "/orders/"+id, position); status != http.StatusOK || !strings.Contains(string(body), id) {
			t.Errorf("order %s is answered with %d: %s", id, status, body)
		}
	}
	for range 5 {
		id, position := create(one)
		wantOrder(two, id, position)
		id, position = create(two)
		wantOrder(one, id, position)
	}
	one.kill() // its leases run out
	id, position := create(two)
	wantOrder(two, id, position)
	two.signal(syscall.SIGTERM, exitOK)
	server.signal(syscall.SIGTERM, exitOK)
	command(t, "", "verify", filepath.Join(dir, "store")).is(exitOK)
}

// ask sends a request of customer 1, which waits for a position.
func (p *process) ask(method, path, atLeast string) (status int, position string, answer []byte) {
	p.t.Helper()
	body := ""
	if method == http.MethodPost {
		body = "{}"
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer demo-customer-1")
	r.Header.Set("Content-Type", "application/json")
	if atLeast != "" {
		r.Header.Set("Annals-At-Least", atLeast)
		r.Header.Set("Prefer", "wait=20")
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return a.StatusCode, a.Header.Get("Annals-Position"), b
}

func TestAServerWithKeysWantsOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys.json")
	p, urls := startServe(t, "127.0.0.1:0", nil, "--data", filepath.Join(dir, "store"), "--auth-keys", file)
	command(t, "", "read", urls[0]).is(exitDenied, "unauthenticated", tokenVariable)
	a, err := http.Get(p.url + "/readyz")
	if err != nil || a.StatusCode != http.StatusNoContent {
		t.Errorf("it is not ready: %v, %v", a, err)
	}
	a.Body.Close()
	added := command(t, "", "key", "add", file, "clerk", "--may", "read,append", "--prefix", "order-").is(exitOK).objects()[0]
	secret, _ := added["secret"].(string)
	id, _ := added["id"].(string)
	t.Setenv(tokenVariable, secret)
	for end := time.Now().Add(10 * time.Second); ; { // it is noticed within a second
		if r := command(t, "", "append", urls[0], "order-1", "Placed", "{}"); r.code == exitOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the key is never known")
		}
	}
	command(t, "", "append", urls[0], "cart-1", "Filled", "{}").is(exitDenied, "forbidden")
	command(t, "", "read", urls[0], "--category", "order").is(exitOK).prints("Placed")
	command(t, "", "read", urls[0]).is(exitDenied, "forbidden")
	command(t, "", "key", "ls", file, "-o", "table").is(exitOK).prints("bootstrap", "clerk", "order-…", "good")
	if r := command(t, "", "key", "ls", file).is(exitOK); strings.Contains(r.out, secret) || strings.Contains(r.out, `"hash":"a`) {
		t.Errorf("the list tells %s", r.out)
	}
	command(t, "", "key", "revoke", file, id).is(exitOK)
	command(t, "", "key", "revoke", file, "nobody").is(exitNotFound, "nobody")
	for end := time.Now().Add(5 * time.Second); command(t, "", "read", urls[0], "--category", "order").code != exitDenied; {
		if time.Now().After(end) {
			t.Fatal("the key is good still")
		}
	}
	command(t, "", "key", "ls", file, "-o", "table").is(exitOK).prints("revoked")
	p.signal(syscall.SIGTERM, exitOK)
	command(t, "", "key", "add", file, "x", "--may", "fly").is(exitUsage, "read, append and admin")
	command(t, "", "key", "add", file, "x", "--store", "a", "--all-stores").is(exitUsage, "one of")
	command(t, "", "key", "add", filepath.Join(dir, "none"), "x").is(exitUsage, "no such file")
	command(t, "", "serve", "--tls-cert", "x", "--data", filepath.Join(dir, "s")).is(exitUsage, "go together")
	command(t, "", "serve", "--tls-cert", "x", "--tls-key", "y", "--data", filepath.Join(dir, "s")).is(exitUsage, "certificate")
	command(t, "", "serve", "--client-ca", "x", "--data", filepath.Join(dir, "s")).is(exitUsage, "--client-ca needs")
	command(t, "", "serve", "--auth-keys", dir, "--data", filepath.Join(dir, "s")).is(exitUsage, "file of keys")
	command(t, "", "serve", "--listen", "0.0.0.0:0", "--auth-keys", file, "--data", filepath.Join(dir, "s")).is(exitUsage, "--tls-cert")
}
