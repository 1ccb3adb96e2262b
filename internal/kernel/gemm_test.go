package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 77)) }

// eachLevel runs a test once for each instruction set that this processor has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for name, set := range levels() {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(set())
			f(t)
		})
	}
}

// short is a number of trials, or far fewer in short runs, as emulators want.
func short(n int) int {
	if testing.Short() {
		return 1 + n/15
	}
	return n
}

type shape struct{ m, k, n int }

func (s shape) String() string { return fmt.Sprintf("%d×%d×%d", s.m, s.k, s.n) }

// shapes are the corners of the tiles and random ones between.
func shapes(r *rand.Rand, n int) []shape {
	s := []shape{{1, 1, 1}, {1, 384, 48}, {4, 8, 24}, {5, 3, 25}, {3, 7, 47}, {7, 300, 49}, {8, 32, 32}, {13, 32, 13}, {13, 513, 33}, {2, 1000, 7}}
	for range short(n) {
		s = append(s, shape{1 + r.IntN(21), 1 + r.IntN(70), 1 + r.IntN(120)})
	}
	return s
}

// reference multiplies in double precision and says how large the terms were.
func reference(a, w []float32, s shape, e Epilogue) (want, scale []float64) {
	want, scale = make([]float64, s.m*s.n), make([]float64, s.m*s.n)
	for i := range s.m {
		for j := range s.n {
			var sum, size float64
			for q := range s.k {
				x := float64(a[i*s.k+q]) * float64(w[q*s.n+j])
				sum += x
				size += math.Abs(x)
			}
			if e.Bias != nil {
				sum += float64(e.Bias[j])
				size += math.Abs(float64(e.Bias[j]))
			}
			if e.Add != nil {
				sum += float64(e.Add[i*s.n+j])
				size += math.Abs(float64(e.Add[i*s.n+j]))
			}
			want[i*s.n+j], scale[i*s.n+j] = activation(sum, e.Act), size
		}
	}
	return want, scale
}

func activation(x float64, act Activation) float64 {
	switch act {
	case GELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	case Tanh:
		return math.Tanh(x)
	case ReLU:
		if x < 0 {
			return 0
		}
	case Identity:
	}
	return x
}

func compare(t *testing.T, what string, got []float32, want, scale []float64) {
	t.Helper()
	for i := range want {
		g := float64(got[i])
		if math.IsNaN(want[i]) && math.IsNaN(g) || g == want[i] {
			continue
		}
		if d := math.Abs(g - want[i]); !(d <= 2e-6*scale[i]+2e-6*math.Abs(want[i])+2e-6) {
			t.Fatalf("%s: [%d] is %v, want %v", what, i, g, want[i])
		}
	}
}

func transposed(w []float32, k, n int) []float32 {
	o := make([]float32, len(w))
	Transpose(o, w, k, n, k, n)
	return o
}

func TestMulEqualsTheProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(1)
		for i, s := range shapes(r, 300) {
			a, w := values(r, s.m*s.k, i%3), values(r, s.k*s.n, i%2)
			var e Epilogue
			if i%2 == 0 {
				e.Bias = values(r, s.n, 1)
			}
			if i%3 == 0 {
				e.Add = values(r, s.m*s.n, 1)
			}
			e.Act = Activation(i % 4)
			want, scale := reference(a, w, s, e)
			got := values(r, s.m*s.n, i%5)
			Pack(w, s.k, s.n).Mul(got, a, s.m, e)
			compare(t, "Pack "+s.String(), got, want, scale)
			again := make([]float32, len(got))
			PackT(transposed(w, s.k, s.n), s.n, s.k).Mul(again, a, s.m, e)
			if !slices.Equal(bits(got), bits(again)) {
				t.Fatalf("%v: PackT differs from Pack", s)
			}
			if e.Add != nil {
				// In place, as a residual connection is.
				inPlace := slices.Clone(e.Add)
				e.Add = inPlace
				Pack(w, s.k, s.n).Mul(inPlace, a, s.m, e)
				if !slices.Equal(bits(got), bits(inPlace)) {
					t.Fatalf("%v: adding in place differs", s)
				}
			}
		}
	})
}

func bits(x []float32) []uint32 {
	o := make([]uint32, len(x))
	for i, v := range x {
		o[i] = math.Float32bits(v)
	}
	return o
}

func TestRangesOfRowsAndColumnsMakeTheWhole(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(2)
		for range short(60) {
			s := shape{1 + r.IntN(20), 1 + r.IntN(400), 1 + r.IntN(300)}
			ldd, lda, lde := s.n+r.IntN(9), s.k+r.IntN(9), s.n+r.IntN(9)
			a, w, add := values(r, s.m*lda, 1), values(r, s.k*s.n, 0), values(r, s.m*lde, 0)
			p, q := Pack(w, s.k, s.n), PackInt8(w, s.k, s.n)
			e := Epilogue{Bias: values(r, s.n, 0), Add: add, AddStride: lde, Act: GELU}
			var rows Rows8
			rows.Reset(s.m, s.k)
			cut := r.IntN(s.m + 1)
			rows.Quantise(a, lda, 0, cut)
			rows.Quantise(a, lda, cut, s.m)
			for name, mul := range map[string]func(dst []float32, i0, i1, from, to int){
				"fp32": func(dst []float32, i0, i1, from, to int) {
					part := e
					part.Add = add[i0*lde:]
					p.MulPart(dst[i0*ldd:], ldd, a[i0*lda:], lda, i1-i0, from, to, part)
				},
				"int8": func(dst []float32, i0, i1, from, to int) {
					q.MulPart(dst, ldd, &rows, i0, i1, from, to, e)
				},
			} {
				const untouched = 12345
				whole, parts := make([]float32, s.m*ldd), make([]float32, s.m*ldd)
				for i := range whole {
					whole[i], parts[i] = untouched, untouched
				}
				mul(whole, 0, s.m, 0, s.n)
				for from := 0; from < s.n; from += 2 * ColumnStep {
					to := min(from+2*ColumnStep, s.n)
					if cut > 0 {
						mul(parts, 0, cut, from, to)
					}
					if cut < s.m {
						mul(parts, cut, s.m, from, to)
					}
				}
				if !slices.Equal(bits(whole), bits(parts)) {
					t.Fatalf("%s %v cut at %d: parts differ from the whole", name, s, cut)
				}
				for i, v := range whole {
					if i%ldd >= s.n && v != untouched {
						t.Fatalf("%s %v: wrote into the gap at %d", name, s, i)
					}
				}
			}
		}
	})
}

func TestPlainProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(3)
		for _, s := range append(shapes(r, 200), shape{32, 32, 32}, shape{128, 32, 128}, shape{128, 128, 32}, shape{9, 0, 9}) {
			ldd, lda, ldb, ldt := s.n+r.IntN(5), s.k+r.IntN(5), s.n+r.IntN(5), s.k+r.IntN(5)
			// As short as they may be: the last row ends with its last number.
			a, b, bt := values(r, (s.m-1)*lda+s.k, 1), values(r, max(0, (s.k-1)*ldb+s.n), 0), make([]float32, (s.n-1)*ldt+s.k)
			denseA, denseB := make([]float32, s.m*s.k), make([]float32, s.k*s.n)
			for i := range s.m {
				copy(denseA[i*s.k:(i+1)*s.k], a[i*lda:])
			}
			for i := range s.k {
				copy(denseB[i*s.n:(i+1)*s.n], b[i*ldb:])
			}
			Transpose(bt, b, s.k, s.n, ldt, ldb)
			for i := range s.k {
				for j := range s.n {
					if math.Float32bits(bt[j*ldt+i]) != math.Float32bits(b[i*ldb+j]) {
						t.Fatalf("%v: transposed [%d,%d] is wrong", s, i, j)
					}
				}
			}
			want, scale := reference(denseA, denseB, s, Epilogue{})
			for name, mul := range map[string]func(dst []float32){
				"MulAB": func(dst []float32) { MulAB(dst, a, b, s.m, s.k, s.n, ldd, lda, ldb) },
				"MulABT": func(dst []float32) {
					MulABT(dst, a, bt, make([]float32, ScratchABT(s.k, s.n)), s.m, s.k, s.n, ldd, lda, ldt)
				},
			} {
				const untouched = 12345
				dst, dense := make([]float32, (s.m-1)*ldd+s.n), make([]float32, s.m*s.n)
				for i := range dst {
					dst[i] = untouched
				}
				mul(dst)
				for i, v := range dst {
					if i%ldd < s.n {
						dense[i/ldd*s.n+i%ldd] = v
					} else if v != untouched {
						t.Fatalf("%s %v: wrote into the gap at %d", name, s, i)
					}
				}
				compare(t, name+" "+s.String(), dense, want, scale)
			}
		}
	})
}

func TestProductsCarryNaNAndInfinity(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		r := random(4)
		for _, s := range shapes(r, 60) {
			a, w := make([]float32, s.m*s.k), make([]float32, s.k*s.n)
			for i := range a {
				a[i] = 1 + r.Float32()
			}
			for i := range w {
				w[i] = 1 + r.Float32()
			}
			bad, where := r.IntN(s.m), r.IntN(s.k)
			for _, v := range []float32{nan, inf, -inf} {
				a[bad*s.k+where] = v
				dst := make([]float32, s.m*s.n)
				Pack(w, s.k, s.n).Mul(dst, a, s.m, Epilogue{})
				dst2 := make([]float32, s.m*s.n)
				MulAB(dst2, a, w, s.m, s.k, s.n, s.n, s.k, s.n)
				var q Rows8
				q.Reset(s.m, s.k)
				q.Quantise(a, s.k, 0, s.m)
				dst3 := make([]float32, s.m*s.n)
				PackInt8(w, s.k, s.n).Mul(dst3, &q, Epilogue{})
				for i := range dst {
					hit := i/s.n == bad
					for name, x := range map[string]float32{"Mul": dst[i], "MulAB": dst2[i]} {
						if hit && v == v && x != v || hit && v != v && x == x || !hit && !(x > 0 && x < 1e9) {
							t.Fatalf("%s %v: [%d] is %v with %v in row %d", name, s, i, x, v, bad)
						}
					}
					if x := dst3[i]; hit == (x == x) {
						t.Fatalf("int8 %v: [%d] is %v with %v in row %d", s, i, x, v, bad)
					}
				}
			}
		}
	})
}

func TestProductsAllocateNothing(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(5)
		const m, k, n = 13, 70, 101
		a, w, dst, scratch := values(r, m*k, 0), values(r, k*n, 0), make([]float32, m*n), make([]float32, ScratchABT(k, n))
		p, p8, e := Pack(w, k, n), PackInt8(w, k, n), Epilogue{Bias: values(r, n, 0), Add: values(r, m*n, 0), Act: GELU}
		var q Rows8
		q.Reset(m, k)
		if got := testing.AllocsPerRun(5, func() {
			p.Mul(dst, a, m, e)
			q.Reset(m, k)
			q.Quantise(a, k, 0, m)
			p8.Mul(dst, &q, e)
			MulAB(dst, a, w, m, k, n, n, k, n)
			MulABT(dst, a, w, scratch, m, k, n, n, k, k)
			LayerNorm(dst, dst, e.Bias, e.Bias, 1e-5)
		}); got != 0 {
			t.Fatalf("%v allocations", got)
		}
	})
}

func TestShapesThatDoNotFitPanic(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		v := func(n int) []float32 { return make([]float32, n) }
		p, p8 := Pack(v(100*100), 100, 100), PackInt8(v(100*100), 100, 100)
		var q Rows8
		q.Reset(2, 100)
		for name, f := range map[string]func(){
			"weights":    func() { Pack(v(5), 2, 3) },
			"weights 8":  func() { PackInt8T(v(5), 2, 3) },
			"a":          func() { p.Mul(v(200), v(199), 2, Epilogue{}) },
			"dst":        func() { p.Mul(v(199), v(200), 2, Epilogue{}) },
			"bias":       func() { p.Mul(v(200), v(200), 2, Epilogue{Bias: v(99)}) },
			"add":        func() { p.Mul(v(200), v(200), 2, Epilogue{Add: v(199)}) },
			"stride":     func() { p.MulPart(v(200), 99, v(200), 100, 2, 0, 100, Epilogue{}) },
			"column":     func() { p.MulPart(v(200), 100, v(200), 100, 2, 10, 100, Epilogue{}) },
			"columns":    func() { p.MulPart(v(200), 100, v(200), 100, 2, 48, 97, Epilogue{}) },
			"rows":       func() { p.Mul(v(200), v(200), -1, Epilogue{}) },
			"dst 8":      func() { p8.Mul(v(199), &q, Epilogue{}) },
			"rows 8":     func() { p8.MulPart(v(300), 100, &q, 1, 3, 0, 100, Epilogue{}) },
			"column 8":   func() { p8.MulPart(v(300), 100, &q, 0, 2, 16, 100, Epilogue{}) },
			"quantise":   func() { q.Quantise(v(199), 100, 0, 2) },
			"MulAB":      func() { MulAB(v(4), v(4), v(3), 2, 2, 2, 2, 2, 2) },
			"MulABT":     func() { MulABT(v(4), v(4), v(4), v(15), 2, 2, 2, 2, 2, 2) },
			"transpose":  func() { Transpose(v(100), v(99), 10, 10, 10, 10) },
			"transpose2": func() { Transpose(v(99), v(100), 10, 10, 10, 10) },
			"layer norm": func() { LayerNorm(v(9), v(9), v(4), v(4), 1) },
			"conv":       func() { Depthwise3x3(v(35), v(36), v(36), nil, 3, 3, 4) },
			"conv 9":     func() { Depthwise3x3(v(36), v(36), v(35), nil, 3, 3, 4) },
			"conv bias":  func() { Depthwise3x3(v(36), v(36), v(36), v(3), 3, 3, 4) },
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
	})
}

func FuzzMul(f *testing.F) {
	f.Add(uint64(1), uint16(8), uint16(32), uint16(48))
	f.Add(uint64(2), uint16(5), uint16(300), uint16(71))
	f.Fuzz(func(t *testing.T, seed uint64, m, k, n uint16) {
		s := shape{1 + int(m)%40, 1 + int(k)%600, 1 + int(n)%200}
		for _, set := range levels() {
			restore := set()
			r := random(seed)
			a, w := values(r, s.m*s.k, int(seed%3)), values(r, s.k*s.n, 0)
			e := Epilogue{Bias: values(r, s.n, 0), Act: Activation(seed % 4)}
			want, scale := reference(a, w, s, e)
			got := make([]float32, s.m*s.n)
			Pack(w, s.k, s.n).Mul(got, a, s.m, e)
			compare(t, "Mul "+s.String(), got, want, scale)
			want, scale = reference(a, w, s, Epilogue{})
			MulAB(got, a, w, s.m, s.k, s.n, s.n, s.k, s.n)
			compare(t, "MulAB "+s.String(), got, want, scale)
			checkInt8(t, a, w, s, e)
			restore()
		}
	})
}

func floats(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}
