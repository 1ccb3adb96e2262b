package kernel

import (
	"fmt"
	"testing"
)

// encoderShapes are the products of MiniLM-L6: tokens × inputs × outputs.
func encoderShapes() []shape {
	var s []shape
	for _, t := range []int{8, 16, 32, 128} {
		s = append(s, shape{t, 384, 384}, shape{t, 384, 1536}, shape{t, 1536, 384})
	}
	return append(s, shape{1, 384, 384}, shape{13, 384, 384})
}

func rate(b *testing.B, flops int) {
	b.ReportMetric(float64(b.N)*float64(flops)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkMul(b *testing.B) {
	for _, s := range encoderShapes() {
		r := random(1)
		a, w, dst := floats(r, s.m*s.k), floats(r, s.k*s.n), make([]float32, s.m*s.n)
		p := Pack(w, s.k, s.n)
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			for b.Loop() {
				p.Mul(dst, a, s.m, Epilogue{})
			}
			rate(b, 2*s.m*s.k*s.n)
		})
	}
}

func BenchmarkMulInt8(b *testing.B) {
	for _, s := range encoderShapes() {
		r := random(1)
		a, w, dst := floats(r, s.m*s.k), floats(r, s.k*s.n), make([]float32, s.m*s.n)
		p := PackInt8(w, s.k, s.n)
		var q Rows8
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			for b.Loop() {
				q.Reset(s.m, s.k)
				q.Quantise(a, s.k, 0, s.m)
				p.Mul(dst, &q, Epilogue{})
			}
			rate(b, 2*s.m*s.k*s.n)
		})
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, t := range []int{8, 16, 32, 128} {
		r := random(1)
		const heads, width = 12, 384
		q, k, v := floats(r, t*width), floats(r, t*width), floats(r, t*width)
		scores, scratch, out := make([]float32, t*t), make([]float32, ScratchABT(32, t)), make([]float32, t*width)
		b.Run(fmt.Sprint("QKt ", t), func(b *testing.B) {
			for b.Loop() {
				for h := range heads {
					MulABT(scores, q[h*32:], k[h*32:], scratch, t, 32, t, t, width, width)
				}
			}
			rate(b, 2*t*t*width)
		})
		b.Run(fmt.Sprint("softmax ", t), func(b *testing.B) {
			for b.Loop() {
				for range heads {
					for i := range t {
						Softmax(scores[i*t : (i+1)*t])
					}
				}
			}
			rate(b, t*t*heads)
		})
		b.Run(fmt.Sprint("PV ", t), func(b *testing.B) {
			for b.Loop() {
				for h := range heads {
					MulAB(out[h*32:], scores, v[h*32:], t, t, 32, width, t, width)
				}
			}
			rate(b, 2*t*t*width)
		})
	}
}

func BenchmarkElementwise(b *testing.B) {
	r := random(1)
	x := floats(r, 40*1536)
	y := make([]float32, len(x))
	g := floats(r, 384)
	for name, f := range map[string]func(){
		"gelu":      func() { copy(y, x); Gelu(y) },
		"tanh":      func() { copy(y, x); Tanhs(y) },
		"layernorm": func() { LayerNorm(y, x, g, g, 1e-12) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.N)*float64(len(x))/b.Elapsed().Seconds()/1e9, "Gnumbers/s")
		})
	}
	src, w := floats(r, 28*28*64), floats(r, 9*64)
	b.Run("depthwise 28×28×64", func(b *testing.B) {
		for b.Loop() {
			Depthwise3x3(y[:28*28*64], src, w, nil, 28, 28, 64)
		}
		rate(b, 2*9*28*28*64)
	})
}
