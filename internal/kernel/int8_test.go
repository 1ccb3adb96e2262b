package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// checkInt8 compares the product with what the quantised numbers, read back
// one by one, stand for: the integer part must be exact.
func checkInt8(t *testing.T, a, w []float32, s shape, e Epilogue) {
	t.Helper()
	var q Rows8
	q.Reset(s.m, s.k)
	q.Quantise(a, s.k, 0, s.m)
	p := PackInt8(w, s.k, s.n)
	got := make([]float32, s.m*s.n)
	p.Mul(got, &q, e)
	for i := range s.m {
		for j := range s.n {
			var sum int64
			for x := range s.k {
				weight := int64(p.data[j/panel8*panel8*q.stride+x/4*4*panel8+j%panel8*4+x%4]) - weightMax
				if weight < -weightMax || weight > weightMax || q.data[i*q.stride+x] > actMax {
					t.Fatalf("%v: quantised number out of range", s)
				}
				sum += int64(int32(q.data[i*q.stride+x])-q.zero[i]) * weight
			}
			want := float64(float32(sum) * (q.scale[i] * p.scale[j]))
			size := math.Abs(want)
			if e.Bias != nil {
				want += float64(e.Bias[j])
				size += math.Abs(float64(e.Bias[j]))
			}
			if e.Add != nil {
				want += float64(e.Add[i*s.n+j])
				size += math.Abs(float64(e.Add[i*s.n+j]))
			}
			want = activation(want, e.Act)
			if g := float64(got[i*s.n+j]); !(math.Abs(g-want) <= 1e-6*(size+math.Abs(want)+1)) {
				t.Fatalf("%v: [%d,%d] is %v, want %v", s, i, j, g, want)
			}
		}
	}
}

func TestInt8ProductIsExactInItsIntegers(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(11)
		for i, s := range append(shapes(r, 200), shape{3, 4096, 17}) {
			a, w := values(r, s.m*s.k, i%3), values(r, s.k*s.n, i%2)
			if i%4 == 0 { // all at the ends of the ranges: sums as large as they get
				for x := range a {
					a[x] = 1
				}
				for x := range w {
					w[x] = float32(1 - 2*(i/4%2))
				}
			}
			e := Epilogue{Bias: values(r, s.n, 0), Act: Activation(i % 4)}
			if i%3 == 0 {
				e.Add = values(r, s.m*s.n, 0)
			}
			checkInt8(t, a, w, s, e)
		}
	})
}

func TestQuantisedRowsKeepTheirNumbers(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(12)
		for n := 1; n < 100; n++ {
			x := make([]float32, n)
			shift := r.NormFloat64() * 2
			for i := range x {
				x[i] = float32(r.NormFloat64() + shift)
			}
			var q Rows8
			q.Reset(1, n)
			q.Quantise(x, n, 0, 1)
			var lo, hi float32
			for _, v := range x {
				lo, hi = min(lo, v), max(hi, v)
			}
			for i, v := range x {
				back := float32(int32(q.data[i])-q.zero[0]) * q.scale[0]
				if d := math.Abs(float64(back - v)); d > float64((hi-lo)/actMax)*1.01 {
					t.Fatalf("n %d: %v came back as %v (step %v)", n, v, back, (hi-lo)/actMax)
				}
			}
		}
	})
}

// TestInt8ProductIsNearTheProduct holds the accuracy that the package states
// for numbers as they are in encoders: normal activations, normal weights.
func TestInt8ProductIsNearTheProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		if e := int8Error(random(13), shape{32, 384, 384}); e > 0.03 {
			t.Fatalf("relative error %.4f", e)
		}
	})
}

// int8Error is the root mean square error of the int8 product, relative to
// the product's.
func int8Error(r *rand.Rand, s shape) float64 {
	a, w := make([]float32, s.m*s.k), make([]float32, s.k*s.n)
	for i := range a {
		a[i] = float32(r.NormFloat64())
	}
	for i := range w {
		w[i] = float32(r.NormFloat64()) * 0.05
	}
	want, _ := reference(a, w, s, Epilogue{})
	var q Rows8
	q.Reset(s.m, s.k)
	q.Quantise(a, s.k, 0, s.m)
	got := make([]float32, s.m*s.n)
	PackInt8(w, s.k, s.n).Mul(got, &q, Epilogue{})
	var num, den float64
	for i := range want {
		d := float64(got[i]) - want[i]
		num += d * d
		den += want[i] * want[i]
	}
	return math.Sqrt(num / den)
}
