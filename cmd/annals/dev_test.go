package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

func TestEveryPrintedLineWorksAndItsAnswerOutlivesAKill(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "it's data") // a name that a shell would tear apart
	first := startDev(t, nil, "--data", data)
	statuses := map[string]string{"/livez'": "204", "/readyz'": "204", "/items'": "200", "/place'": "200", "1001/cancel'": "403", "1002/pay'": "409"}
	posted := map[string]string{}
	for _, l := range first.lines {
		answer := first.paste(l)
		for end, status := range statuses {
			if strings.HasPrefix(l, "curl -si ") && strings.HasSuffix(l, end) {
				delete(statuses, end)
				if !strings.HasPrefix(answer, "HTTP/1.1 "+status) {
					t.Errorf("%s: got %s", l, answer)
				}
			}
		}
		if strings.HasPrefix(l, "curl -s ") && !strings.HasPrefix(answer, `{"`) && !strings.HasPrefix(answer, `[{"`) {
			t.Errorf("%s: got %s", l, answer)
		}
		if strings.Contains(l, " POST ") {
			posted[anyPort.ReplaceAllString(l, "URL")] = answer[strings.Index(answer, "\r\n\r\n"):]
		}
	}
	if len(statuses) > 0 || len(first.lines) < 12 {
		t.Errorf("there were %d lines, and none for %v", len(first.lines), statuses)
	}
	first.paid()
	before := first.answers()
	first.kill()

	second := startDev(t, nil, "--data", data)
	if after := second.answers(); !reflect.DeepEqual(after, before) {
		t.Errorf("before the kill: %v\nafter it: %v", before, after)
	}
	for _, l := range second.lines {
		if strings.Contains(l, " POST ") {
			answer := second.paste(l)
			if want := posted[anyPort.ReplaceAllString(l, "URL")]; !strings.HasSuffix(answer, want) {
				t.Errorf("%s: first %s, then %s", l, want, answer)
			}
		}
	}
	second.signal(os.Interrupt, exitOK)
	command(t, "", "verify", filepath.Join(data, storeName)).is(exitOK).prints(`"clean":true`, `"last":"80"`)
}

// paid waits until the provider has taken the money for order 1005, and the read model shows it.
func (p *process) paid() {
	position := regexp.MustCompile(`"position":"(\d+)","revision":\d+,"id":"[^"]*","type":"OrderPaid"`)
	for {
		history := p.paste("curl -s -H 'Authorization: Bearer demo-clerk' '" + p.url + "/orders/1005/history'")
		if m := position.FindStringSubmatch(history); m != nil {
			p.paste("curl -sf -H 'Authorization: Bearer demo-clerk' -H 'Annals-At-Least: " + m[1] + "' '" + p.url + "/orders'")
			return
		}
	}
}

func TestTheLinesWithoutTheDemoWorkToo(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, args := range [][]string{{"--no-demo"}, {}, {"--no-demo"}} { // the store is somebody's own from the first event on
		p := startDev(t, nil, append(args, "--data", data)...)
		n := 0
		for _, l := range p.lines {
			if answer := p.paste(l); strings.Contains(l, " POST ") {
				n++
				if !strings.HasPrefix(answer, "HTTP/1.1 20") {
					t.Errorf("%s: got %s", l, answer)
				}
			}
		}
		if n != 3 {
			t.Errorf("%d lines were posted: %s", n, p.text)
		}
		p.kill()
	}
	if n := len(command(t, "", "read", filepath.Join(data, storeName)).is(exitOK).objects()); n != 3 {
		t.Errorf("the store has %d events", n)
	}
}

func TestOneDirectoryIsServedByOneProcess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startDev(t, nil, "--data", data)
	defer p.signal(os.Interrupt, exitOK)
	store := filepath.Join(data, storeName)
	holder := fmt.Sprintf("%s is in use by process %d", store, p.cmd.Process.Pid)
	command(t, "", "dev", "--addr", "127.0.0.1:0", "--data", data).is(exitUnavailable, holder, "stop that process first")
	command(t, "", "append", store, "s", "A", "{}").is(exitUnavailable, holder)

	// What only looks works, and leaves no trace.
	before := files(t, store)
	if n := len(command(t, "", "read", store).is(exitOK).objects()); n != 32 {
		t.Errorf("%d events are read", n)
	}
	command(t, "", "verify", store).is(exitOK).prints(`"records":53`, `"clean":false`, `"damaged":0`)
	if count, problems := kinds(command(t, "", "dump", store).is(exitOK).objects()); count["record"] != 53 || len(problems) > 0 {
		t.Errorf("the dump has %v, with problems %v", count, problems)
	}
	if after := files(t, store); !reflect.DeepEqual(before, after) {
		t.Error("the directory was changed")
	}
	// And sees what comes.
	for _, l := range p.lines {
		if strings.Contains(l, "/items'") {
			p.paste(l)
		}
	}
	command(t, "", "read", store, "--after", "53").is(exitOK).prints(`"position":"54"`, `"type":"ItemAdded"`)
}

func TestARequestUnderWayIsLetFinish(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startDev(t, nil, "--data", data)
	addr := strings.TrimPrefix(p.url, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"product":"tea","count":7,"price":{"amount":1,"currency":"EUR"}}`
	if _, err := fmt.Fprintf(conn, "POST /stock HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer demo-clerk\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(body)); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if l, err := answer.ReadString('\n'); err != nil || !strings.Contains(l, "100 Continue") { // its handler waits for the body
		t.Fatalf("got %q, %v", l, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for { // until nobody is let in any more
		more, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			break
		}
		if err := more.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	if _, err := answer.ReadString('\n'); err != nil { // the end of the 100
		t.Fatal(err)
	}
	response, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Annals-Position") != "54" {
		t.Errorf("got %s at %s", response.Status, response.Header.Get("Annals-Position"))
	}
	p.wait(exitOK)
	command(t, "", "verify", filepath.Join(data, storeName)).is(exitOK).prints(`"clean":true`, `"last":"55"`)
}

func TestAnEphemeralStoreLeavesNothing(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	p := startDev(t, []string{"TMPDIR=" + temp}, "--ephemeral")
	if left, err := os.ReadDir(temp); err != nil || len(left) != 1 {
		t.Errorf("there are %v, %v", left, err)
	}
	p.signal(os.Interrupt, exitOK)
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestDevSaysWhyItCannotStart(t *testing.T) {
	t.Parallel()
	start := func(args ...string) *result { return command(t, "", append([]string{"dev"}, args...)...) }

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start("--data", t.TempDir(), "--addr", l.Addr().String()).is(exitUnavailable, "address already in use", "give another --addr")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start("--data", t.TempDir(), "--addr", "127.0.0.1:99999").is(exitUsage, "want a host and a port")
	start("--data", file).is(exitFailure, "cannot make the data directory", "not a directory")
	start("--data", filepath.Join(file, "below")).is(exitFailure, "cannot make the data directory", "not a directory")

	data := t.TempDir()
	startDev(t, nil, "--data", data).signal(os.Interrupt, exitOK)
	key := filepath.Join(data, keyName)
	change(t, key, func(b []byte) []byte { return b[1:] })
	start("--data", data, "--addr", "127.0.0.1:0").is(exitFailure, "holds 31 bytes, and not a key of 32")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	start("--data", data, "--addr", "127.0.0.1:0").is(exitFailure, "hash.key is missing")

	rotten := t.TempDir()
	startDev(t, nil, "--data", rotten).signal(os.Interrupt, exitOK)
	change(t, filepath.Join(rotten, viewsName), func(b []byte) []byte { return []byte(strings.Repeat("rotten", 2000)) })
	start("--data", rotten, "--addr", "127.0.0.1:0").is(exitFailure, "views.db", "move views.db away")
	if err := os.Remove(filepath.Join(rotten, viewsName)); err != nil {
		t.Fatal(err)
	}
	startDev(t, nil, "--data", rotten).signal(os.Interrupt, exitOK)
}

func TestReadModelsOfAnotherStoreAreRefused(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	startDev(t, nil, "--data", data).signal(os.Interrupt, exitOK)
	if err := os.RemoveAll(filepath.Join(data, storeName)); err != nil {
		t.Fatal(err)
	}
	command(t, "", "dev", "--data", data, "--addr", "127.0.0.1:0", "--no-demo").is(exitFailure, "belongs to another store", "move views.db away")
}

func TestADamagedStoreIsServedAndTakesNoCommands(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{
		`"count":40`, // in the demo, whose end is known from the index all the same
		`"count":12`,
	} {
		data := t.TempDir()
		first := startDev(t, nil, "--data", data)
		for _, count := range []string{"11", "12", "13"} { // they follow the demo
			first.paste("curl -sf -H 'Authorization: Bearer demo-clerk' -H 'Content-Type: application/json' " +
				`-d '{"product":"tea","count":` + count + `}' ` + first.url + "/orders/1005/items")
		}
		first.paste("curl -sf -H 'Authorization: Bearer demo-clerk' -H 'Annals-At-Least: 35' " + first.url + "/orders")
		first.signal(os.Interrupt, exitOK)
		change(t, filepath.Join(data, storeName, "00000001-001.seg"), func(b []byte) []byte {
			b[strings.Index(string(b), lost)] ^= 1
			return b
		})
		before := files(t, filepath.Join(data, storeName))
		p := startDev(t, nil, "--data", data)
		if !strings.Contains(p.text, "It takes no commands: ") || !strings.Contains(p.text, "offset") || strings.Contains(p.text, "POST") {
			t.Errorf("the greeting is %s", p.text)
		}
		if !strings.Contains(p.text, "/orders/1001") {
			t.Errorf("damaged at %s: the demo is not known", lost)
		}
		for l, answer := range p.answers() {
			if strings.HasSuffix(l, "/orders'") && !strings.Contains(answer, `"id":"1005"`) {
				t.Errorf("%s: got %s", l, answer)
			}
		}
		if answer := p.paste("curl -si -X POST -H 'Authorization: Bearer demo-clerk' " + p.url + "/orders/1005/place"); !strings.HasPrefix(answer, "HTTP/1.1 50") {
			t.Errorf("a command: got %s", answer)
		}
		if strings.Contains(p.talk.String(), "AddItem") { // which is how the demo is looked for
			t.Errorf("it was said that a command was given: %s", p.talk.String())
		}
		p.signal(os.Interrupt, exitOK)
		after := files(t, filepath.Join(data, storeName))
		for path := range before {
			if strings.HasSuffix(path, ".seg") && before[path] != after[path] {
				t.Errorf("%s was changed", path)
			}
		}
	}
}

func newDevIn(t *testing.T, data string) *dev {
	t.Helper()
	return &dev{data: data, addr: "127.0.0.1:0", out: t.Output(), logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// opened is a dev that is ready to run.
func opened(t *testing.T, data string) *dev {
	t.Helper()
	d := newDevIn(t, data)
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func closed(t *testing.T, d *dev) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestDevIsAStructThatTestsCanRun(t *testing.T) {
	t.Parallel()
	d := opened(t, t.TempDir())
	defer closed(t, d)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- d.Run(ctx) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL()+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusNoContent {
		t.Errorf("got %s, %v", response.Status, err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Run does not end")
	}
}

// eventsIn are the types and streams of the events in data.
func eventsIn(t *testing.T, data string) (types []string) {
	t.Helper()
	s, err := disk.OpenReadOnly(t.Context(), filepath.Join(data, storeName))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for e, err := range s.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type+" "+e.Stream)
	}
	return types
}
