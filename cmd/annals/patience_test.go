package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// request asks the server as a clerk, with these headers in pairs, and is the status and the body of the answer.
func request(t *testing.T, method, url, body string, headers ...string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer demo-clerk")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestWaitsEndWhenDevStopsAndCommandsAreLetFinish(t *testing.T) {
	t.Parallel()
	d := opened(t, t.TempDir()) // whose read model nobody keeps, so that waits for it last
	defer closed(t, d)
	for _, position := range []string{"32", "1000"} { // of the log, and one that is far off
		stopping, stop := context.WithCancel(t.Context())
		handler := d.handler(stopping, bodyTimeout)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stop() // while the request is under way
			handler.ServeHTTP(w, r)
		}))
		defer server.Close()
		start := time.Now()
		status, answer := request(t, http.MethodGet, server.URL+"/orders", "", "Annals-At-Least", position, "Prefer", "wait=30")
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"retryable":true`) {
			t.Errorf("a wait for %s: got %d, %s", position, status, answer)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a wait for %s took %v", position, took)
		}
		const add = `{"product":"tea","count":7,"price":{"amount":1,"currency":"EUR"}}`
		status, answer = request(t, http.MethodPost, server.URL+"/stock", add, "Content-Type", "application/json", "Annals-At-Least", position)
		if status != http.StatusOK {
			t.Errorf("a command: got %d, %s", status, answer)
		}
	}
}

func TestABodyThatDoesNotEndHoldsNobody(t *testing.T) {
	t.Parallel()
	d := opened(t, t.TempDir())
	defer closed(t, d)
	server := httptest.NewServer(d.handler(t.Context(), 50*time.Millisecond))
	defer server.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST /stock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer demo-clerk\r\nContent-Type: application/json\r\n"+
		"Content-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusBadRequest {
		t.Errorf("got %s", response.Status)
	}
}

// deadlines are those that are set for reading.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestABodyThatHasEndedIsNoLongerLimited(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{"{}": 2, "": 0} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		limitBodies(time.Minute, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(w, r)
		if len(w.set) != want || want > 0 && (w.set[0].IsZero() || !w.set[1].IsZero()) {
			t.Errorf("with the body %q the deadlines are %v", body, w.set)
		}
	}
}
