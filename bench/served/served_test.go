package served

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/store/remote"
)

// serve serves a store until the benchmark ends.
func serve(b *testing.B, store annals.Store) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(server.Config{Stores: map[string]annals.Store{"": store}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	b.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

func open(b *testing.B, addr string) *remote.Store {
	b.Helper()
	s, err := remote.Open(b.Context(), "annals://"+addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func onDisk(b *testing.B) annals.Store {
	b.Helper()
	s, err := disk.Open(b.Context(), filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// callers runs f from so many goroutines.
func callers(b *testing.B, n int, f func() error) {
	b.Helper()
	b.SetParallelism(max(1, n/2)) // for each of two cores
	if n == 1 {
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkUnary(b *testing.B) {
	data := make([]byte, 256)
	for i := range data {
		data[i] = 'x'
	}
	data[0], data[255] = '"', '"'
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("echo/%d", n), func(b *testing.B) {
			conn, err := grpc.NewClient("passthrough:///"+serve(b, memory.New()), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			c, ctx := healthv1.NewHealthClient(conn), b.Context()
			callers(b, n, func() error {
				_, err := c.Check(ctx, &healthv1.HealthCheckRequest{})
				return err
			})
		})
		for name, store := range map[string]func(b *testing.B) annals.Store{
			"append-memory": func(*testing.B) annals.Store { return memory.New() }, "append-disk": onDisk,
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s := open(b, serve(b, store(b)))
				var next atomic.Int64
				ctx := b.Context()
				callers(b, n, func() error {
					e := annals.Event{Type: "Noted", Stream: fmt.Sprintf("s-%d", next.Add(1)), Data: data}
					_, err := s.Append(ctx, []annals.Event{e}, annals.NoStream(e.Stream))
					return err
				})
			})
		}
	}
}

// BenchmarkRead reads 100,000 events of 256 bytes.
func BenchmarkRead(b *testing.B) {
	const events = 100_000
	data := make([]byte, 256)
	store := onDisk(b)
	for range events / 1000 {
		var some []annals.Event
		for range 1000 {
			some = append(some, annals.Event{Type: "Noted", Stream: "s", ContentType: "text/plain", Data: data})
		}
		if _, err := store.Append(b.Context(), some); err != nil {
			b.Fatal(err)
		}
	}
	served := open(b, serve(b, store))
	for name, s := range map[string]annals.Store{"embedded": store, "served": served} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range s.Read(b.Context(), annals.All()) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != events {
					b.Fatalf("%d events", n)
				}
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
