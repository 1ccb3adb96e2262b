package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// values mixes ordinary, denormal, huge and zero numbers.
func values(r *rand.Rand, n, offset int) []float32 {
	v := make([]float32, n+offset)
	for i := range v {
		switch r.IntN(12) {
		case 0:
			v[i] = 0
		case 1:
			v[i] = float32(r.NormFloat64()) * 1e-41
		case 2:
			v[i] = float32(r.NormFloat64()) * 1e4
		default:
			v[i] = float32(r.NormFloat64())
		}
	}
	return v[offset:] // offset makes the address unaligned
}

func near(a, b, scale float32) bool {
	if a != a || b != b {
		return a != a && b != b
	}
	return math.Abs(float64(a-b)) <= 1e-5*float64(scale)+1e-30
}

func TestDotAndAxpyEqualTheirTwins(t *testing.T) {
	eachLevel(t, dotAndAxpy)
}

func dotAndAxpy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range short(140) {
		for off := range 3 {
			a, b := values(r, n, off), values(r, n, 1)
			var scale float32 = 1
			for i := range a {
				scale += float32(math.Abs(float64(a[i] * b[i])))
			}
			if got, want := Dot(a, b), dotGo(a, b); !near(got, want, scale) {
				t.Fatalf("n %d: dot %v, want %v", n, got, want)
			}
			y := append([]float32(nil), b...)
			axpyGo(1.5, a, y)
			Axpy(1.5, a, b)
			for i := range y {
				if !near(b[i], y[i], 1+float32(math.Abs(float64(y[i])))+1.5*float32(math.Abs(float64(a[i])))) {
					t.Fatalf("n %d: axpy[%d] %v, want %v", n, i, b[i], y[i])
				}
			}
		}
	}
}

func TestGatherAndScatterEqualTheirTwins(t *testing.T) {
	eachLevel(t, gatherAndScatter)
}

func gatherAndScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for width := Lanes; width <= 264; width += Lanes {
		for _, n := range []int{0, 1, 2, 7, 50} {
			rows := 1 + r.IntN(40)
			w := values(r, rows*width, n%3)
			y := values(r, width, 1)
			idx, val := make([]uint32, n), values(r, n, 0)
			for i := range idx {
				idx[i] = uint32(r.IntN(rows))
			}
			abs := func(v []float32) []float32 {
				o := make([]float32, len(v))
				for i := range v {
					o[i] = float32(math.Abs(float64(v[i])))
				}
				return o
			}
			scale := abs(y)
			gatherGo(scale, abs(w), idx, abs(val))
			want := append([]float32(nil), y...)
			gatherGo(want, w, idx, val)
			got := append([]float32(nil), y...)
			Gather(got, w, idx, val)
			for i := range want {
				if !near(got[i], want[i], scale[i]) {
					t.Fatalf("width %d n %d: gather[%d] %v, want %v", width, n, i, got[i], want[i])
				}
			}
			scale = abs(w)
			scatterGo(scale, abs(y), idx, abs(val))
			want = append([]float32(nil), w...)
			scatterGo(want, y, idx, val)
			Scatter(w, y, idx, val)
			for i := range want {
				if !near(w[i], want[i], scale[i]) {
					t.Fatalf("width %d n %d: scatter[%d] %v, want %v", width, n, i, w[i], want[i])
				}
			}
		}
	}
}

func TestNaNAndInfinityPassThrough(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	w := make([]float32, 16)
	w[3], w[9] = nan, inf
	y := make([]float32, 8)
	Gather(y, w, []uint32{0, 1}, []float32{1, 2})
	if y[3] == y[3] || !math.IsInf(float64(y[1]), 1) || y[0] != 0 {
		t.Fatalf("got %v", y)
	}
	if d := Dot(w[:8], make([]float32, 8)); d == d {
		t.Fatalf("dot with NaN gave %v", d)
	}
}

func TestBadShapesPanicBeforeTouchingMemory(t *testing.T) {
	w, y := make([]float32, 16), make([]float32, 8)
	for name, f := range map[string]func(){
		"row":     func() { Gather(y, w, []uint32{2}, []float32{1}) },
		"huge":    func() { Scatter(w, y, []uint32{math.MaxUint32}, []float32{1}) },
		"width":   func() { Gather(y[:5], w, []uint32{0}, []float32{1}) },
		"lengths": func() { Gather(y, w, []uint32{0}, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestExpAndSoftmax(t *testing.T) {
	for x := float32(-86); x < 87; x += 0.0137 {
		want := math.Exp(float64(x))
		if rel := math.Abs(float64(Exp(x))-want) / want; rel > 3e-7 {
			t.Fatalf("exp(%v) is off by %v", x, rel)
		}
	}
	for x := 1e-37; x < 1e37; x *= 1.0137 {
		want := math.Log(float64(float32(x)))
		if d := math.Abs(float64(Log(float32(x))) - want); d > 3e-7*max(1, math.Abs(want)) {
			t.Fatalf("log(%v) is off by %v", x, d)
		}
	}
	if Log(0) > -87 || Log(1) != 0 {
		t.Fatal("log of 0 or 1")
	}
	if Exp(-1000) != 0 || math.IsInf(float64(Exp(1000)), 0) {
		t.Fatal("exp does not saturate")
	}
	p := []float32{1000, 999, -1000}
	if top := Softmax(p); top != 1000 {
		t.Fatalf("top %v", top)
	}
	if math.Abs(float64(p[0]-0.7310586)) > 1e-6 || p[2] != 0 {
		t.Fatalf("softmax %v", p)
	}
	Softmax(nil)
	softmaxOfOddNumbers(t)
	r := rand.New(rand.NewPCG(7, 8))
	for n := 1; n < 100; n++ {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * 40)
		}
		top := slices.Max(x)
		want := slices.Clone(x)
		inv := 1 / expGo(want, top)
		Softmax(x)
		for i := range x {
			if w := want[i] * inv; !near(x[i], w, w) {
				t.Fatalf("softmax of %d: [%d] %v, want %v", n, i, x[i], w)
			}
		}
	}
}

// softmaxOfOddNumbers holds masks (−∞ gives exactly 0) and NaN, which spoils
// everything, at each place.
func softmaxOfOddNumbers(t *testing.T) {
	t.Helper()
	eachLevel(t, func(t *testing.T) {
		inf, nan := math.Inf(1), math.NaN()
		for n := 2; n < 40; n++ {
			for i := range n {
				x, y := make([]float32, n), make([]float32, n)
				x[i], y[i] = float32(-inf), float32(nan)
				x[(i+1)%n] = -1e30
				Softmax(x)
				if top := Softmax(y); top == top {
					t.Fatalf("n %d: largest %v with NaN at %d", n, top, i)
				}
				for j := range n {
					want := 1 / float64(n-min(n-1, 2))
					if j == i || j == (i+1)%n {
						want = 0
					}
					if n == 2 && j != i {
						want = 1
					}
					if math.Abs(float64(x[j])-want) > 1e-6 || want == 0 && x[j] != 0 || y[j] == y[j] {
						t.Fatalf("n %d, mask %d: [%d] is %v and %v, want %v and NaN", n, i, j, x[j], y[j], want)
					}
				}
			}
		}
	})
}

func TestAddLogEqualsItsTwin(t *testing.T) {
	eachLevel(t, addLog)
}

func addLog(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for n := range 100 {
		p, z := make([]float32, n), values(r, n, 1)
		for i := range p {
			p[i] = float32(math.Exp(-30 * r.Float64()))
			if r.IntN(5) == 0 {
				p[i] = 0
			}
		}
		for _, offset := range []float32{0, 1e-5} {
			want := slices.Clone(z)
			logGo(want, p, 0.7, 0.999, offset)
			AddLog(z, p, 0.7, 0.999, offset)
			for i := range z {
				if !near(z[i], want[i], 100+float32(math.Abs(float64(want[i])))) {
					t.Fatalf("n %d: [%d] %v, want %v", n, i, z[i], want[i])
				}
			}
		}
	}
}

func BenchmarkGather(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	w := make([]float32, 30000*80)
	idx, val, y := make([]uint32, 200), make([]float32, 200), make([]float32, 80)
	for i := range idx {
		idx[i], val[i] = uint32(r.IntN(30000)), 1
	}
	for b.Loop() {
		Gather(y, w, idx, val)
	}
	b.ReportMetric(float64(b.N)*200*80*2/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
