package disk_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(0, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkCPU(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := disk.Open(b.Context(), filepath.Join(b.TempDir(), "store"))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			b.ResetTimer()
			c := cpu()
			var left atomic.Int64
			left.Store(int64(b.N))
			var writing sync.WaitGroup
			for w := range writers {
				name := fmt.Sprint("s-", w)
				data := make([]byte, payloadBytes)
				tags := []string{"x:1"}
				writing.Go(func() {
					for left.Add(-1) >= 0 {
						e := annals.Event{ID: annals.NewID(), Type: "Measured", Stream: name, Tags: tags, Data: data}
						if _, err := s.Append(b.Context(), []annals.Event{e}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			writing.Wait()
			b.StopTimer()
			b.ReportMetric(float64(cpu()-c)/float64(b.N), "cpu-ns/op")
		})
	}
}
