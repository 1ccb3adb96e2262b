package sqlite

import (
	"fmt"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
)

// BenchmarkWrite stores served answers, as a gateway under load would.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, b.TempDir())
			batch := store.Batch{Traces: make([]tandem.Trace, size)}
			n, best := 0, time.Hour
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch.Traces {
					batch.Traces[i] = row(n)
					n++
				}
				begin := time.Now()
				if err := s.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				best = min(best, time.Since(begin))
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "traces/s")
			// On a busy machine the fastest batch tells more than the mean.
			b.ReportMetric(float64(size)/best.Seconds(), "best-traces/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := open(b, b.TempDir())
	var batch store.Batch
	for i := range 20_000 {
		batch.Traces = append(batch.Traces, row(i))
	}
	if err := s.Write(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	b.Run("all", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, err := range s.Traces(b.Context(), store.Query{Task: "support"}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "traces/s")
	})
	b.Run("one", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := s.Trace(b.Context(), batch.Traces[i%len(batch.Traces)].ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("newest50", func(b *testing.B) {
		for b.Loop() {
			for _, err := range s.Traces(b.Context(), store.Query{Newest: true, Limit: 50}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
