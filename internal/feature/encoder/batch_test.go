package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tandem"
)

func TestBatcher(t *testing.T) {
	t.Parallel()
	e, err := Open(newSmall(4).write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []BatchOptions{{}, {Workers: 3, Rows: 20}, {Workers: 1, Wait: time.Millisecond}, {Workers: 2, Rows: 1}} {
		b := NewBatcher(e, opt)
		ctx, cancel := context.WithCancel(t.Context())
		var running, clients sync.WaitGroup
		running.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for i := range 8 {
			clients.Go(func() {
				v := make([]float32, e.Dim())
				for n := range 40 {
					text := strings.Repeat("the cat ", (i+n)%15) + smallVocab[5+(i*n)%12]
					if err := b.Embed(ctx, text, v); err != nil {
						t.Error(err)
						return
					}
					for j, want := range embed(e, text) {
						if d := math.Abs(float64(v[j] - want)); !(d < 1e-5) {
							t.Errorf("%+v: %q differs by %g from what it is alone", opt, text, d)
							return
						}
					}
				}
			})
		}
		clients.Wait()
		cancel()
		running.Wait()
		if err := b.Embed(t.Context(), "cat", make([]float32, e.Dim())); tandem.CodeOf(err) != tandem.Overloaded {
			t.Errorf("after its end: %v", err)
		}
		if err := b.Embed(t.Context(), "cat", nil); err == nil {
			t.Error("a result without room is accepted")
		}
	}
}

func TestBatcherIsBounded(t *testing.T) {
	t.Parallel()
	e, err := Open(newSmall(4).write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := NewBatcher(e, BatchOptions{Queue: 2})
		waiting, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() {
				if err := b.Embed(waiting, "cat", make([]float32, e.Dim())); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a text nobody computes ends with %v", err)
				}
			})
		}
		synctest.Wait()
		if err := b.Embed(t.Context(), "cat", make([]float32, e.Dim())); tandem.CodeOf(err) != tandem.Overloaded {
			t.Errorf("a full queue gives %v", err)
		}
		clients.Wait() // a minute of the bubble's time later
		// What nobody waits for any more is left out, and the rest served.
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = b.Run(ctx) })
		if err := b.Embed(t.Context(), "cat", make([]float32, e.Dim())); err != nil && tandem.CodeOf(err) != tandem.Overloaded {
			t.Error(err)
		}
		synctest.Wait()
		if err := b.Embed(t.Context(), "cat", make([]float32, e.Dim())); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
	})
}

func TestBatcherWaitsForCompany(t *testing.T) {
	t.Parallel()
	e, err := Open(newSmall(4).write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := NewBatcher(e, BatchOptions{Wait: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		var running, clients sync.WaitGroup
		running.Go(func() { _ = b.Run(ctx) })
		start := time.Now()
		for i := range 3 {
			clients.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				if err := b.Embed(ctx, "cat", make([]float32, e.Dim())); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("served after %v, want with the others after one second", d)
				}
			})
		}
		clients.Wait()
		cancel()
		running.Wait()
	})
}

func TestBatcherAllocatesNothing(t *testing.T) {
	e, err := Open(newSmall(4).write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatcher(e, BatchOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	v := make([]float32, e.Dim())
	if n := testing.AllocsPerRun(50, func() {
		if err := b.Embed(ctx, "the cat sat on the mat.", v); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	cancel()
	running.Wait()
}

// BenchmarkConcurrent is the texts per second of 16 clients on all processors,
// each on its own and through a batcher.
func BenchmarkConcurrent(b *testing.B) {
	dir := realModel(b)
	for _, small := range []bool{false, true} {
		e, err := Open(dir, Options{Int8: small})
		if err != nil {
			b.Fatal(err)
		}
		batcher := NewBatcher(e, BatchOptions{Workers: 2})
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = batcher.Run(ctx) })
		for _, tokens := range []int{8, 16, 32} {
			text := strings.Repeat("card ", tokens-2)
			for name, f := range map[string]func(v []float32) error{
				"alone":   func(v []float32) error { e.EmbedOne(text, v); return nil },
				"batched": func(v []float32) error { return batcher.Embed(ctx, text, v) },
			} {
				b.Run(fmt.Sprintf("int8=%t/tokens=%d/%s", small, tokens, name), func(b *testing.B) {
					b.SetParallelism(8)
					b.RunParallel(func(pb *testing.PB) {
						v := make([]float32, e.Dim())
						for pb.Next() {
							if err := f(v); err != nil {
								b.Error(err)
							}
						}
					})
				})
			}
		}
		cancel()
		running.Wait()
	}
}
